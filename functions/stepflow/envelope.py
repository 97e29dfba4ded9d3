"""The envelope of the StepFlow API, the JSON object around the data of every response."""

from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

from shared.http.errors import ApiError


class StepFlowEnvelope:
    """`{"success": true, "data": ..., "error": null, "timestamp": "..."}`."""

    def wrap(self, request: Request, status: int, data: bytes) -> bytes:
        """Return the whole body; `data` is JSON already."""
        return b'{"success":true,"data":%b,"error":null,"timestamp":"%b"}' % (data, _now().encode())

    def schema(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON schema of the whole body; `data` is the schema of the data."""
        return {
            "type": "object",
            "required": ["success", "data", "error", "timestamp"],
            "properties": {
                "success": {"type": "boolean"},
                "data": data,
                "error": {"type": ["string", "null"]},
                "timestamp": {"type": "string", "format": "date-time"},
            },
        }


def error_body(request: Request, error: ApiError) -> dict[str, Any]:
    """Return the body of an error; its `data` holds the error's details if these are an object, else null."""
    data = error.details if isinstance(error.details, dict) else None
    return {"success": False, "data": data, "error": error.message, "timestamp": _now()}


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
