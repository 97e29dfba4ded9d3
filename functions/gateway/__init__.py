"""The gateway API: prompts and code run in containers."""

from typing import Any

from starlette.requests import Request

from functions.gateway import (
    alerts,
    artifacts,
    auth,
    cleanup,
    clients,
    dashboard,
    health,
    metrics,
    models,
    runs,
    system,
    timers,
    updates,
    ws,
)
from functions.gateway.job import GatewayRun
from functions.gateway.raise_alert import fault
from shared.api_keys import CLIENT_KEYS
from shared.http.api import Api
from shared.http.errors import ApiError
from shared.http.ratelimit import RateLimit
from shared.settings import settings
from shared.slices import Slice

config = settings()


def error_body(request: Request, error: ApiError) -> dict[str, Any]:
    """Return the JSON body of an error: its message and the members of its details."""
    return {"error": error.message, **(error.details if isinstance(error.details, dict) else {})}


api = Api(
    "gateway",
    "Gateway",
    health.VERSION,
    [
        auth.routes,
        clients.routes,
        runs.routes,
        artifacts.of_run,
        artifacts.routes,
        models.routes,
        alerts.routes,
        dashboard.routes,
        health.routes,
        system.routes,
        metrics.routes,
        ws.routes,
    ],
    description="Runs prompts and code in containers; manages runs, clients, artifacts and alerts.",
    guards=[CLIENT_KEYS],
    limit=RateLimit("gateway", config.rate_minute, config.rate_second)
    if config.rate_minute or config.rate_second
    else None,
    render=error_body,
)
SLICE = Slice(
    api=api,
    blueprints=[ws.bp, cleanup.bp],
    job_kinds=[GatewayRun()],
    dialogue=ws.handle_event,
    every_minute=[timers.watch_stores],
    deferred=[updates.close_connections],
    on_fault=fault,
)
