"""Whether the gateway answers."""

from datetime import UTC, datetime

from starlette.responses import JSONResponse, Response

from functions.gateway.models import Answer
from functions.gateway.store import clients
from shared import tables
from shared.http.api import router

VERSION = "1.1.0"

NOBODY = "00000000-0000-7000-8000-000000000000"
"""An id that no record has: reading it costs one call, which fails only when the store is away."""

routes = router("/health", "health")


class Health(Answer):
    """`database` is connected when the records can be read."""

    status: str
    timestamp: datetime
    database: str
    version: str = VERSION


@routes.get("", responses={503: {"model": Health}})
async def health() -> Response:
    """Say whether the gateway and its records can be reached; 503 when not."""
    connected = True
    try:
        await clients.get(NOBODY)
    except tables.NotFound:
        pass
    except tables.Unavailable:
        connected = False
    answer = Health(
        status="healthy" if connected else "unhealthy",
        timestamp=datetime.now(UTC),
        database="connected" if connected else "disconnected",
    )
    return JSONResponse(answer.model_dump(mode="json"), 200 if connected else 503)
