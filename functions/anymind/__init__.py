"""The Anymind API: agents that are uploaded as archives, built and executed."""

from typing import Any

from starlette.requests import Request

from functions.anymind import agents, api_keys, auth, deletion, health, logs, runtime, timers, uploads
from functions.anymind.access import GUARDS
from functions.anymind.build_job import AnymindBuild
from functions.anymind.execution_job import AnymindExecution
from shared.http.api import Api, Cors
from shared.http.errors import ApiError
from shared.http.ratelimit import RateLimit
from shared.settings import settings
from shared.slices import Slice

config = settings()


def error_body(request: Request, error: ApiError) -> dict[str, Any]:
    """Return the JSON body of an error."""
    return {"detail": error.message}


api = Api(
    "anymind",
    "Anymind",
    health.VERSION,
    [auth.routes, api_keys.routes, agents.routes, uploads.routes, runtime.routes, logs.routes, health.routes],
    description="Agents, uploaded as archives, that are built and executed in containers.",
    guards=GUARDS,
    limit=RateLimit("anymind", config.anymind_rate_minute, 0) if config.anymind_rate_minute else None,
    render=error_body,
    cors=Cors.of(config.anymind_cors_origins, credentials=True),
    method_not_allowed=True,
    not_found="Not Found",
)
SLICE = Slice(
    api=api,
    blueprints=[deletion.bp],
    job_kinds=[AnymindBuild(), AnymindExecution()],
    every_minute=[deletion.continue_deletions],
    every_hour=[timers.purge_lockouts],
)
