"""Whether the gateway and what it stands on can be reached."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from starlette.responses import JSONResponse, Response

from functions.gateway.records import Answer
from shared import blobs, containers, tables
from shared.api_keys import clients
from shared.http.api import router
from shared.jobs import ARTIFACTS

log = logging.getLogger(__name__)

VERSION = "1.1.0"
LIMIT = 2.0
"""Seconds that a check may take."""

EXTERNAL_EVERY = 10.0
"""Seconds for which an answer of the container service is good: anybody may ask, and its calls are limited."""

NOBODY = "00000000-0000-7000-8000-000000000000"
"""An id that no record has: reading it costs one call, which fails only when the store is away."""

STARTED = time.monotonic()
UNCOUNTED = {"x-uncounted": True}

routes = router("/health", "health")
_external: tuple[bool, float] = (False, 0.0)


class Health(Answer):
    """`database` is connected when the records can be read."""

    status: str
    timestamp: datetime
    database: str
    version: str = VERSION


class Ready(Answer):
    """Each part is "ok" or "unavailable"."""

    ready: bool
    checks: dict[str, str]


class Live(Answer):
    """`uptime` in seconds."""

    alive: bool
    uptime: int


@routes.get("", response_model=Health, responses={503: {"model": Health}}, openapi_extra=UNCOUNTED)
async def health() -> Response:
    """Say whether the gateway and its records can be reached; 503 when not."""
    connected = await succeeds("database", database)
    answer = Health(
        status="healthy" if connected else "unhealthy",
        timestamp=datetime.now(UTC),
        database="connected" if connected else "disconnected",
    )
    return JSONResponse(answer.model_dump(mode="json"), 200 if connected else 503)


@routes.get("/ready", response_model=Ready, responses={503: {"model": Ready}}, openapi_extra=UNCOUNTED)
async def readiness() -> Response:
    """Say whether everything is there that a run needs; 503 when not."""
    checks = {"database": database, "storage": storage, "external_services": external_services}
    results = await asyncio.gather(*(succeeds(name, check) for name, check in checks.items()))
    answer = Ready(
        ready=all(results),
        checks={name: "ok" if result else "unavailable" for name, result in zip(checks, results, strict=True)},
    )
    return JSONResponse(answer.model_dump(), 200 if answer.ready else 503)


@routes.get("/live", openapi_extra=UNCOUNTED)
async def liveness() -> Live:
    """Say that this process answers."""
    return Live(alive=True, uptime=uptime())


def uptime() -> int:
    """Seconds since this process began to serve."""
    return int(time.monotonic() - STARTED)


async def succeeds(name: str, check: Callable[[], Awaitable[None]]) -> bool:
    """Whether a check passes within its time."""
    try:
        async with asyncio.timeout(LIMIT):
            await check()
    except Exception as error:  # whatever it is, the part cannot be used
        log.warning("check of %s failed: %s: %s", name, type(error).__name__, error)
        return False
    return True


async def database() -> None:
    """Read a record."""
    try:
        await clients.get(NOBODY)
    except tables.NotFound:
        pass


async def storage() -> None:
    """Look for a file."""
    try:
        await blobs.info(ARTIFACTS, NOBODY)
    except blobs.BlobNotFound:
        pass


async def external_services() -> None:
    """Ask the container service for a group; raises when it does not answer, or did not lately."""
    global _external
    reached, until = _external
    if time.monotonic() > until:
        reached = False
        try:
            await containers.state("health")
            reached = True
        finally:
            _external = reached, time.monotonic() + EXTERNAL_EVERY
    if not reached:
        raise ConnectionError("the container service did not answer lately")
