"""The two routes that lead to an API's WebSocket."""

from fastapi import APIRouter
from starlette.responses import Response

from shared import realtime
from shared.http.bodies import ResponseBody
from shared.http.errors import UpgradeRequired
from shared.http.routes import router


class SocketAddress(ResponseBody):
    """Where to open the WebSocket."""

    url: str


def socket_routes(hub: str, *, message: str = "Upgrade Required") -> APIRouter:
    """`GET /ws`, which a front door passes to Web PubSub, and `GET /realtime`, which names the address behind it.

    `message` is the error's at `/ws`; `{url}` in it is filled in.
    """
    routes = router("", "real time")

    @routes.get("/ws", status_code=426, responses={426: {"description": "Open a WebSocket at the named address"}})
    async def explain_socket() -> Response:
        """Say that this address speaks WebSocket, and which does on this deployment."""
        url = realtime.client_url(hub)
        raise UpgradeRequired(message.format(url=url), details={"url": url}, headers={"Upgrade": "websocket"})

    @routes.get("/realtime")
    async def get_socket_address() -> SocketAddress:
        """The address of the WebSocket."""
        return SocketAddress(url=realtime.client_url(hub))

    return routes
