"""Server-sent events: frames, and the response that streams them."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
from starlette.responses import StreamingResponse

MEDIA_TYPE = "text/event-stream"


def frame(event: str, data: Any) -> bytes:
    """Return one event: its name, and JSON in one line."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), orjson.dumps(data))


def event_stream(frames: AsyncIterator[bytes]) -> StreamingResponse:
    """Return the response that sends frames as they come, past proxies that would collect them."""
    return StreamingResponse(
        frames, media_type=MEDIA_TYPE, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    )
