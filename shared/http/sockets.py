"""The two routes with which clients find an API's WebSocket."""

from fastapi import APIRouter
from starlette.responses import Response

from shared import realtime
from shared.http.bodies import ResponseBody
from shared.http.errors import UpgradeRequired
from shared.http.routes import router


class SocketAddress(ResponseBody):
    """The address at which to open the WebSocket."""

    url: str


def socket_routes(hub: str, *, message: str = "Upgrade Required") -> APIRouter:
    """Return `GET /ws`, which a front door forwards to Web PubSub, and `GET /realtime`, which shows its address.

    `message` is the error of `/ws` without a front door; `{url}` in it is replaced.
    """
    routes = router("", "real time")

    @routes.get("/ws", status_code=426, responses={426: {"description": "Open a WebSocket at the address in `url`"}})
    async def require_websocket() -> Response:
        """Refuse plain HTTP with 426; the error names the address of the WebSocket."""
        url = realtime.client_url(hub)
        raise UpgradeRequired(message.format(url=url), details={"url": url}, headers={"Upgrade": "websocket"})

    @routes.get("/realtime")
    async def get_socket_address() -> SocketAddress:
        """The address of the WebSocket."""
        return SocketAddress(url=realtime.client_url(hub))

    return routes
