"""What the API is, and whether it runs."""

import time

from shared.health import RECORDS, Checks
from shared.http.bodies import ResponseBody
from shared.http.errors import Unavailable
from shared.http.routes import router

SERVICE, VERSION = "dev8-agent", "1.0.0"
STARTED = time.monotonic()

routes = router("", "health")
checks = Checks({"records": RECORDS})


class Service(ResponseBody):
    """The service, and where its parts are."""

    service: str = SERVICE
    version: str = VERSION
    status: str = "running"
    endpoints: dict[str, str] = {"health": "/health", "api": "/api/v1"}


class Health(ResponseBody):
    """`uptime` is how long this process has run, such as `2h15m30s`."""

    status: str = "healthy"
    uptime: str
    service: str = SERVICE
    version: str = VERSION


class Probed(ResponseBody):
    """The state of the service in one word."""

    status: str


@routes.get("/")
async def describe_service() -> Service:
    """Describe the service."""
    return Service()


@routes.get("/health")
async def check_health() -> Health:
    """Confirm that the service runs, and say for how long."""
    return Health(uptime=duration(time.monotonic() - STARTED))


@routes.get("/ready", responses={503: {"description": "The records cannot be reached"}})
async def check_readiness() -> Probed:
    """Check that the records can be reached; 503 when they cannot."""
    if not (await checks.results())["records"]:
        raise Unavailable("the records cannot be reached", headers={"Retry-After": "5"})
    return Probed(status="ready")


@routes.get("/live")
async def check_liveness() -> Probed:
    """Confirm that this process responds."""
    return Probed(status="alive")


def duration(seconds: float) -> str:
    """Return whole seconds as Go writes a duration: `45s`, `2m0s`, `2h15m30s`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    return text + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"
