"""What is around every answer of the assistant: envelope, errors, headers."""

import time
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from functions.ownpilot.core.entry import iso
from shared.http.errors import ApiError


class OwnpilotEnvelope:
    """`{"success": true, "data": ..., "meta": {"requestId", "timestamp", "processingTime"}}`; the time is in ms."""

    def wrap(self, request: Request, status: int, data: bytes) -> bytes:
        """Return the whole body; `data` is JSON already."""
        beside = orjson.dumps(getattr(request.state, "beside", {}))[1:-1]
        return b'{"success":true,"data":%b,%b"meta":%b}' % (
            data, beside and beside + b",", orjson.dumps(_meta(request)),
        )  # fmt: skip

    def schema(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON schema of the whole body; `data` is the schema of the data."""
        meta = {"requestId": "string", "timestamp": "string", "processingTime": "number"}
        return {
            "type": "object",
            "required": ["success", "data", "meta"],
            "properties": {
                "success": {"type": "boolean"},
                "data": data,
                "meta": {
                    "type": "object",
                    "required": [*meta],
                    "properties": {name: {"type": kind} for name, kind in meta.items()},
                },
            },
        }


def beside_data(request: Request, **members: Any) -> None:
    """Put members into the envelope too, beside `data`: some clients read them there."""
    request.state.beside = members


class ExecutionFailed(ApiError):
    """500: what was to be carried out has ended with a failure; `data` tells what came of it all the same."""

    code = "EXECUTION_ERROR"

    def __init__(self, message: str, data: dict[str, Any]):
        super().__init__(message)
        self.data = data


def encoded(data: bytes) -> Response:
    """Return data that is JSON already as the response of a route; it gets the envelope."""
    return Response(data, media_type="application/json")


def error_body(request: Request, error: ApiError) -> dict[str, Any]:
    """Return the body of an error; `details` and `data` are there when the error has some."""
    shown: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.details is not None:
        shown["details"] = error.details
    data = {"data": error.data} if isinstance(error, ExecutionFailed) else {}
    return {"success": False, **data, "error": shown, "meta": _meta(request)}


def headers(request: Request) -> dict[str, str]:
    """Return the headers of every answer: request id, time, and what browsers may do with it."""
    return {
        "X-Request-ID": request.state.request_id,
        "X-Response-Time": f"{_milliseconds(request):.2f}ms",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "SAMEORIGIN",
        "Referrer-Policy": "no-referrer",
    }


def _meta(request: Request) -> dict[str, Any]:
    return {
        "requestId": request.state.request_id,
        "timestamp": iso(datetime.now(UTC)),
        "processingTime": round(_milliseconds(request), 2),
    }


def _milliseconds(request: Request) -> float:
    return (time.perf_counter() - request.state.started) * 1000
