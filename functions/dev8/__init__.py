"""The Dev8 API: development environments in containers, with an editor in the browser and files that stay."""

from typing import Any

from starlette.requests import Request

from functions.dev8 import activity, environments, health, settle, timers
from functions.dev8.access import CALLERS, REPORTERS
from shared.http.api import Api, Cors
from shared.http.errors import ApiError
from shared.settings import settings
from shared.slices import Slice

TITLES = {
    400: "Invalid request",
    401: "Unauthorized",
    404: "Resource not found",
    405: "Method not allowed",
    413: "Request too large",
    500: "Internal server error",
    503: "Service unavailable",
}
CODES = {"BAD_REQUEST": "INVALID_REQUEST", "INTERNAL_ERROR": "SERVICE_ERROR", "SERVICE_UNAVAILABLE": "SERVICE_ERROR"}
"""The documented names of some codes."""


def error_body(request: Request, error: ApiError) -> dict[str, Any]:
    """Return the body of an error: a title, the details, and the code."""
    return {
        "error": TITLES.get(error.status, "Request failed"),
        "message": _message(error),
        "code": CODES.get(error.code, error.code),
    }


def _message(error: ApiError) -> str:
    """Return what is wrong, in sentences that begin with the member: `cpuCores must be between 1 and 4`."""
    if not isinstance(error.details, list):
        return error.message
    wrong = [
        f"{each['field']} {each['message']}".replace("Field required", "is required").replace("Input should", "should")
        for each in error.details
    ]
    return "; ".join(wrong)


api = Api(
    "dev8",
    "Dev8 Agent",
    health.VERSION,
    [health.routes, environments.routes, activity.routes],
    description="Creates, watches and stops development environments that run in containers.",
    render=error_body,
    guards=[REPORTERS, CALLERS],
    cors=Cors(
        [origin.strip() for origin in settings().dev8_cors_origins.split(",") if origin.strip()],
        credentials=True,
        methods=("GET", "POST", "PUT", "DELETE", "OPTIONS"),
        headers=("Content-Type", "Authorization"),
        max_age=3600,
    ),
    method_not_allowed=True,
)
SLICE = Slice(
    api=api,
    blueprints=[settle.bp],
    every_minute=[timers.stop_idle, timers.settle_interrupted, timers.compare],
)
