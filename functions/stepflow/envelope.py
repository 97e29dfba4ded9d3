"""The envelope of the StepFlow API: what every response is wrapped in."""

from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

from shared.http.errors import ApiError


class StepFlowEnvelope:
    """`{"success": true, "data": ..., "error": null, "timestamp": "..."}`."""

    def wrap(self, request: Request, status: int, data: bytes) -> bytes:
        """The whole body, from the data as JSON."""
        return b'{"success":true,"data":%b,"error":null,"timestamp":"%b"}' % (data, _now().encode())

    def schema(self, data: dict[str, Any]) -> dict[str, Any]:
        """The JSON schema of the whole body, from that of the data."""
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


def failure(request: Request, error: ApiError) -> dict[str, Any]:
    """The envelope of an error; `data` holds what its details tell in members of their own."""
    data = error.details if isinstance(error.details, dict) else None
    return {"success": False, "data": data, "error": error.message, "timestamp": _now()}


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
