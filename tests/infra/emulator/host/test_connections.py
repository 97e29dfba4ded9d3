"""Connections of slow clients, and connections during a stop of the server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from infra.emulator.host.connections import ConnectionLimits
from infra.emulator.host.wire import listen, serving

HEADER = b"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 4\r\n\r\n"
ENDLESS = 600.0
"""Seconds that never pass in a test: what ends sooner has ended for another reason."""


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Respond with the body of the request, or not at all when the client has disconnected."""
    if scope["path"] == "/early":  # answered before the body is there
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"soon"})
        return
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            headers = [(b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return


class Client:
    """One connection, over which a test sends bytes as slowly as it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.reader, self.writer = reader, writer

    async def asks(self, text: bytes) -> bytes:
        """Send a whole request with this body of four bytes; returns the body of its response."""
        self.writer.write(HEADER + text)
        return (await self.answer())[-4:]

    async def answer(self) -> bytes:
        """One response with a body of four bytes, or all that is left when the server closes the connection."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 30)
        return head + await self.reader.read(4)

    async def rest(self) -> bytes:
        """Everything until the server closes the connection; it resets one on which more arrives then."""
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := await asyncio.wait_for(self.reader.read(65_536), 30):
                received += part
        return received


class Server:
    """A server that the test stops."""

    def __init__(self, limits: ConnectionLimits):
        self.listener = listen(0)
        self.port: int = self.listener.getsockname()[1]
        self._clients: list[Client] = []
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._serve(limits))

    async def _serve(self, limits: ConnectionLimits) -> None:
        async with serving(echo, self.listener, drain_seconds=30, limits=limits):
            await self._stop.wait()

    def stop(self) -> None:
        self._stop.set()

    async def ended(self) -> None:
        self.stop()
        for client in self._clients:
            client.writer.close()
        await asyncio.wait_for(self._task, 30)

    async def connect(self) -> Client:
        self._clients.append(Client(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self._clients[-1]


@contextlib.asynccontextmanager
async def served(**seconds: float) -> AsyncIterator[Server]:
    """A server with these time limits; the others never pass."""
    limits = dict.fromkeys(("header", "body", "last_request"), ENDLESS)
    server = Server(ConnectionLimits(**{**limits, **seconds}))
    yield server
    await server.ended()


async def test_a_connection_accepted_before_the_stop_may_still_send_its_first_request():
    async with served() as server:
        new, begun, idle = [await server.connect() for _ in range(3)]
        begun.writer.write(HEADER[:10])
        assert await idle.asks(b"idle") == b"idle"  # so the others, which connected before, are accepted too
        server.stop()
        assert await idle.rest() == b""  # the stop has closed it, so it has come to the others
        assert await new.asks(b"new?") == b"new?"
        begun.writer.write(HEADER[10:] + b"more")
        assert (await begun.answer()).endswith(b"more")
        assert await new.rest() == await begun.rest() == b""


async def test_a_silent_connection_delays_a_stop_only_a_little():
    async with served(last_request=0.05) as server:
        silent, idle = [await server.connect() for _ in range(2)]
        assert await idle.asks(b"idle") == b"idle"
        server.stop()
        assert await silent.rest() == b""


@pytest.mark.parametrize("sent", [b"", b"POST", HEADER[:-1], HEADER[:-2] + b"x: " + b"y" * 1000])
async def test_a_header_that_does_not_end_is_refused(sent: bytes):
    async with served(header=0.2) as server:
        slow = await server.connect()
        slow.writer.write(sent)
        assert (await slow.rest()).startswith(b"HTTP/1.1 408 ")


async def test_pieces_of_a_header_do_not_extend_its_time():
    async with served(header=0.3) as server:
        slow = await server.connect()
        slow.writer.write(HEADER[:-2] + b"x: ")

        async def trickle() -> None:
            for _ in range(1000):
                slow.writer.write(b"x")
                await asyncio.sleep(0.01)

        trickling = asyncio.create_task(trickle())
        assert (await slow.rest()).startswith(b"HTTP/1.1 408 ")
        trickling.cancel()


async def test_the_header_of_a_later_request_has_the_same_limit():
    async with served(header=0.5) as server:
        slow = await server.connect()
        assert await slow.asks(b"once") == b"once"
        slow.writer.write(HEADER[:10])
        assert (await slow.rest()).startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_does_not_come_is_refused():
    async with served(body=0.2) as server:
        slow = await server.connect()
        slow.writer.write(HEADER + b"x")
        assert (await slow.rest()).startswith(b"HTTP/1.1 408 ")


async def test_a_header_that_is_too_large_is_refused():
    async with served() as server:
        large = await server.connect()
        large.writer.write(HEADER[:-2] + b"x: " + b"y" * 100_000)
        assert (await large.rest()).startswith(b"HTTP/1.1 431 ")


async def test_the_size_of_a_header_counts_anew_for_each_request():
    async with served() as server:
        client = await server.connect()
        for _ in range(5):
            client.writer.write(HEADER[:-2] + b"x: " + b"y" * 50_000 + b"\r\n\r\nmore")
            assert (await client.answer()).endswith(b"more")


async def test_the_rest_of_a_body_that_comes_behind_its_answer_is_no_header():
    async with served() as server:
        client = await server.connect()
        for _ in range(3):
            client.writer.write(b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
            assert (await client.answer()).endswith(b"soon")
            client.writer.write(b"x" * 1_000_000)
            await asyncio.sleep(0.1)  # so that its last piece comes alone
            assert await client.asks(b"next") == b"next"


async def test_empty_lines_do_not_keep_a_connection_open():
    async with served(header=0.5) as server:
        idle = await server.connect()
        assert await idle.asks(b"once") == b"once"
        idle.writer.write(b"\r\n")
        assert (await idle.rest()).startswith(b"HTTP/1.1 408 ")
