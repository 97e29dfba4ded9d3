"""Health of the gateway and of the services that it needs."""

import time
from datetime import UTC, datetime

from fastapi import Response

from shared.health import CONTAINERS, FILES, RECORDS, Checks
from shared.http.bodies import ResponseBody
from shared.http.routes import options, router

VERSION = "1.1.0"

STARTED = time.monotonic()

routes = router("/health", "health")
checks = Checks({"database": RECORDS, "storage": FILES, "external_services": CONTAINERS})


class Health(ResponseBody):
    """`database` is connected when the records can be read."""

    status: str
    timestamp: datetime
    database: str
    version: str = VERSION


class Ready(ResponseBody):
    """Each part is "ok" or "unavailable"."""

    ready: bool
    checks: dict[str, str]


class Live(ResponseBody):
    """`uptime` in seconds."""

    alive: bool
    uptime: int


@routes.get("", responses={503: {"model": Health}})
@options(counted=False)
async def health(response: Response) -> Health:
    """Check that the records can be read; 503 when they cannot."""
    connected = all((await checks.results("database")).values())
    response.status_code = 200 if connected else 503
    return Health(
        status="healthy" if connected else "unhealthy",
        timestamp=datetime.now(UTC),
        database="connected" if connected else "disconnected",
    )


@routes.get("/ready", responses={503: {"model": Ready}})
@options(counted=False)
async def readiness(response: Response) -> Ready:
    """Check each service that a run needs; 503 when one does not respond."""
    results = await checks.results()
    ready = all(results.values())
    response.status_code = 200 if ready else 503
    return Ready(ready=ready, checks={name: "ok" if passed else "unavailable" for name, passed in results.items()})


@routes.get("/live")
@options(counted=False)
async def liveness() -> Live:
    """Confirm that this process responds."""
    return Live(alive=True, uptime=uptime())


def uptime() -> int:
    """Return the seconds since this process started."""
    return int(time.monotonic() - STARTED)
