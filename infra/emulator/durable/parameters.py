"""Parsing of bodies and query parameters of the management API."""

import base64
import json
from datetime import UTC, datetime

from starlette.requests import Request

from infra.emulator.durable.protocol import TIME
from infra.emulator.durable.rows import InstanceQuery

TOKEN = "x-ms-continuation-token"


class RequestRefused(Exception):
    """The request is answered with an error: status and message."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


async def json_body(request: Request) -> str | None:
    """The body as JSON text, None when it is empty. Raises RequestRefused when it is not JSON."""
    body = await request.body()
    if not body.strip():
        return None
    try:
        json.loads(body)
        return body.decode()
    except ValueError:
        raise RequestRefused(400, "Only application/json request content is supported") from None


def unquoted(body: str | None) -> tuple[str | None, bool]:
    """The JSON text of an input, and whether it was sent as the SDK does: as JSON text inside a JSON string."""
    inner = json.loads(body) if body is not None else None
    if isinstance(inner, str):
        try:
            json.loads(inner)
            return inner, True
        except ValueError:
            pass  # a plain string, sent by another client than the SDK
    return body, False


def patience(request: Request) -> tuple[float, float] | None:
    """How long to wait for the end of a started instance, and between polls, in seconds; None for no wait."""
    parameters = request.query_params
    if "timeout" not in parameters:
        return None
    try:
        return float(parameters["timeout"]), float(parameters.get("pollingInterval", "1"))
    except ValueError as error:
        raise RequestRefused(400, f"not a number of seconds: {error}") from None


def flag(request: Request, name: str, *, default: bool = False) -> bool:
    """A query parameter that is `true` or `false`."""
    value = request.query_params.get(name)
    return default if value is None else value.lower() == "true"


def query(request: Request) -> InstanceQuery:
    """The filters and the page of a query for instances."""
    parameters = request.query_params
    after = ("", "")
    try:
        if token := request.headers.get(TOKEN):
            created, _, id = base64.urlsafe_b64decode(token).decode().partition(" ")
            after = (created, id)
        return InstanceQuery(
            created_from=_moment(parameters.get("createdTimeFrom")),
            created_to=_moment(parameters.get("createdTimeTo")),
            statuses=tuple(filter(None, parameters.get("runtimeStatus", "").split(","))),
            prefix=parameters.get("instanceIdPrefix", ""),
            after=after,
            top=max(1, int(parameters.get("top") or 100)),
        )
    except ValueError as error:
        raise RequestRefused(400, f"not a valid query: {error}") from None


def _moment(text: str | None) -> str:
    if not text:
        return ""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).strftime(TIME)
