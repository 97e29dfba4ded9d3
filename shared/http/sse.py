"""Server-sent events: frames, and the response that streams them."""

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import StreamingResponse

MEDIA_TYPE = "text/event-stream"


def frame(event: str, data: Any) -> bytes:
    """Return one event: its name, and JSON in one line. The JSON may hold whatever a client sent, large numbers too."""
    return f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def event_stream(frames: AsyncIterator[bytes]) -> StreamingResponse:
    """Return the response that sends frames as they come, past proxies that would collect them."""
    return StreamingResponse(
        frames, media_type=MEDIA_TYPE, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    )
