"""The gateway API: prompts and code run in containers."""

from functions.gateway import (
    alerts,
    artifacts,
    auth,
    catalogue,
    cleanup,
    clients,
    dashboard,
    health,
    metrics,
    runs,
    socket,
    system,
    upkeep,
)
from shared.access import current_client
from shared.http.api import Api
from shared.http.ratelimit import RateLimit
from shared.settings import settings

config = settings()
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
        catalogue.routes,
        alerts.routes,
        dashboard.routes,
        health.routes,
        system.routes,
        metrics.routes,
        socket.routes,
    ],
    guard=current_client,
    limit=RateLimit("gateway", config.rate_minute, config.rate_second)
    if config.rate_minute or config.rate_second
    else None,
    render=lambda status, message: {"error": message},
)
blueprints = [socket.bp, cleanup.bp, upkeep.bp]

__all__ = ["api", "blueprints"]
