"""Whether this API responds."""

from shared.http.bodies import ResponseBody
from shared.http.routes import options, router

VERSION = "1.0.0"

routes = router("", "health")


class Health(ResponseBody):
    """The process responds."""

    status: str = "healthy"


class Greeting(ResponseBody):
    """What this API is."""

    message: str
    version: str = VERSION


@routes.get("/")
@options(counted=False)
async def get_root() -> Greeting:
    """The name of this API and its version."""
    return Greeting(message="Agent Management API")


@routes.get("/health")
@options(counted=False)
async def get_health() -> Health:
    """Confirm that this API responds."""
    return Health()
