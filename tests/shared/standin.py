"""A server on loopback that does what a script says, byte by byte: also what no proper server does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Received:
    """A request; names of headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Connection:
    """What a script answers with."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client has closed the connection."""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes = b"", status: int = 200, *headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}", *headers]
        await self.send("\r\n".join([*lines, "", ""]).encode() + body)

    async def stall(self) -> None:
        """Send nothing until the client closes the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        self.gone.set()


Script = Callable[[Received, Connection], Awaitable[None]]


@dataclass
class StandIn:
    """The running server: its address and what it has seen."""

    port: int = 0
    received: list[Received] = field(default_factory=list[Received])
    connections: list[Connection] = field(default_factory=list[Connection])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def standing_in(script: Script) -> AsyncIterator[StandIn]:
    """A server that runs the script for each request, and keeps a connection until either side closes it."""
    standin, tasks = StandIn(), set[asyncio.Task[None]]()

    async def serve(connection: Connection) -> None:
        try:
            while request := await _read(connection.reader):
                standin.received.append(request)
                await script(request, connection)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            connection.gone.set()
            connection.writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        standin.connections.append(connection)
        tasks.add(asyncio.create_task(serve(connection)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    standin.port = server.sockets[0].getsockname()[1]
    try:
        yield standin
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, target, headers, body)
