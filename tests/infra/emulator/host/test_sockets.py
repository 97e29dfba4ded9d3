"""WebSockets that are forwarded to another service."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_sockets
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request as Handshake
from websockets.http11 import Response
from websockets.typing import Subprotocol

from infra.emulator.processes import free_ports
from tests.infra.emulator.host.harness import ServedApp, eventually, write_app

APP = """
@app.route(route="gateway/ws", methods=["GET"])
async def plain(req: Request) -> Response:
    return Response("use a WebSocket", status_code=426)
"""


KNOWN = Subprotocol("json.webpubsub.azure.v1")


class SocketService:
    """The service behind the proxy: answers each frame with what it received, and obeys commands."""

    def __init__(self) -> None:
        self.closed: list[tuple[int | None, str | None]] = []

    def check(self, connection: ServerConnection, request: Handshake) -> Response | None:
        if "token=bad" in request.path:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "no such token")
        return None

    async def handle(self, connection: ServerConnection) -> None:
        assert connection.request
        headers = connection.request.headers
        await connection.send(f"{connection.request.path} {connection.subprotocol} {headers.get('x-user')}")
        try:
            async for message in connection:
                if message == "close":
                    await connection.close(4001, "as asked")
                elif message == "vanish":
                    connection.transport.abort()
                else:
                    await connection.send(message)
        except ConnectionClosed:
            pass
        self.closed.append((connection.close_code, connection.close_reason))


@pytest.fixture(scope="module")
async def service() -> AsyncIterator[tuple[SocketService, int]]:
    service = SocketService()
    async with serve_sockets(
        service.handle,
        "127.0.0.1",
        0,
        process_request=service.check,
        select_subprotocol=lambda _, offered: KNOWN if KNOWN in offered else None,
        max_size=None,
    ) as server:
        yield service, next(iter(server.sockets)).getsockname()[1]


@pytest.fixture(scope="module")
async def served(
    tmp_path_factory: pytest.TempPathFactory, service: tuple[SocketService, int]
) -> AsyncIterator[ServedApp]:
    folder: Path = tmp_path_factory.mktemp("sockets")
    app = write_app(folder / "app", APP, host_json={"extensions": {"http": {"routePrefix": ""}}})
    options = ["--socket", f"/gateway/ws=ws://127.0.0.1:{service[1]}/client/hubs/gateway"]
    options += ["--socket", f"/dead/ws=ws://127.0.0.1:{free_ports(1)[0]}/client/hubs/dead"]
    served = ServedApp(app, folder / "state", options, None)
    await served.start()
    yield served
    await served.stop()


def open_socket(served: ServedApp, path: str, *subprotocols: str, headers: dict[str, str] | None = None) -> connect:
    return connect(
        f"ws://127.0.0.1:{served.port}{path}",
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        additional_headers=headers,
        max_size=None,
        proxy=None,
    )


async def greeted(socket: ClientConnection) -> str:
    return str(await socket.recv())


async def test_frames_are_forwarded_unchanged_in_both_directions(served: ServedApp):
    async with open_socket(served, "/gateway/ws") as socket:
        await greeted(socket)
        for frame in ("text", "ü" * 70_000, b"\x00\xff", b"x" * 1_000_000, "", b""):
            await socket.send(frame)
            assert await socket.recv() == frame


async def test_path_query_subprotocol_and_headers_are_forwarded(served: ServedApp):
    path = "/gateway/ws?access_token=a%20b&id=7"
    async with open_socket(served, path, "other", "json.webpubsub.azure.v1", headers={"x-user": "me"}) as socket:
        expected = "/client/hubs/gateway?access_token=a%20b&id=7 json.webpubsub.azure.v1 me"
        assert await greeted(socket) == expected
        assert socket.subprotocol == "json.webpubsub.azure.v1"


async def test_the_service_closes_with_its_code_and_reason(served: ServedApp):
    async with open_socket(served, "/gateway/ws") as socket:
        await greeted(socket)
        await socket.send("close")
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (4001, "as asked")


async def test_the_client_closes_with_its_code_and_reason(served: ServedApp, service: tuple[SocketService, int]):
    async with open_socket(served, "/gateway/ws") as socket:
        await greeted(socket)
        await socket.close(4002, "done here")
    await eventually(lambda: (4002, "done here") in service[0].closed)


async def test_a_lost_client_leaves_no_connection(served: ServedApp, service: tuple[SocketService, int]):
    async with open_socket(served, "/gateway/ws") as socket:
        await greeted(socket)
        before = len(service[0].closed)
        socket.transport.abort()
        await eventually(lambda: len(service[0].closed) > before)


async def test_a_lost_service_closes_the_client(served: ServedApp):
    async with open_socket(served, "/gateway/ws") as socket:
        await greeted(socket)
        await socket.send("vanish")
        with pytest.raises(ConnectionClosed):
            await socket.recv()


@pytest.mark.parametrize(
    ("path", "status"), [("/gateway/ws?token=bad", 401), ("/dead/ws", 502), ("/elsewhere", 404), ("/gateway/wsx", 404)]
)
async def test_refused_upgrades(served: ServedApp, path: str, status: int):
    with pytest.raises(InvalidStatus) as refused:
        async with open_socket(served, path):
            pass
    assert refused.value.response.status_code == status


async def test_plain_http_on_a_socket_path_goes_to_the_functions(served: ServedApp):
    answer = await served.http.get("/gateway/ws")
    assert (answer.status_code, answer.text) == (426, "use a WebSocket")


async def test_none_of_this_logs_an_error(served: ServedApp):
    assert "Traceback" not in served.log
