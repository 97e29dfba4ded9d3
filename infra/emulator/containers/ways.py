"""The ways out of containers: an HTTP proxy on a Unix socket, which lets an image's requests to its own URLs pass.

The process of a group that carries its connections here (`network.py`) sends one line first, which names the group and
the port. Every request is then parsed, checked and sent anew, so that nothing but whole, allowed requests gets through.
"""

import asyncio
import contextlib
import functools
import os
import re
import socket
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import NotRequired, TypedDict
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp import web
from multidict import CIMultiDictProxy
from yarl import URL

HOP = {
    "connection", "expect", "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
    "trailer", "transfer-encoding", "upgrade",
}  # fmt: skip
"""Headers that belong to one connection."""
PLAIN = re.compile(r"(/[\w.~!$&'()*+,;=:@%-]*)+(\?[\w.~!$&'()*+,;=:@%/?-]*)?", re.ASCII)
LONGEST_PREFACE = 200
SOCKET = "ways"
"""The name of the Unix socket in the folder of the service."""


class WayOut(TypedDict):
    """A URL of this machine which containers of an image may call."""

    url: str  # http://127.0.0.1:PORT/path/ or ws://…: every path that begins with this one
    query: NotRequired[str]  # a parameter that every request must have, such as the signature of a link


def port(way: WayOut) -> int:
    """The port of a way. Raises ValueError for an address that is not one of this machine."""
    parts = urlsplit(way["url"])
    if parts.hostname != "127.0.0.1" or parts.port is None or not parts.path:
        raise ValueError(f"A way out is not of the form http://127.0.0.1:PORT/path: {way['url']}")
    return parts.port


def allowed(way: WayOut, scheme: str, target: str) -> bool:
    """Whether a request with this request target (path and query) takes this way."""
    base = urlsplit(way["url"])
    path, _, query = target.partition("?")
    if base.scheme != scheme or not PLAIN.fullmatch(target) or not path.startswith(base.path):
        return False
    decoded = unquote(path)
    while decoded != (again := unquote(decoded)):
        decoded = again
    if "//" in decoded or "\\" in decoded or any(part in (".", "..") for part in decoded.split("/")):
        return False
    names = [part.partition("=")[0] for part in query.split("&")]
    return "query" not in way or way["query"] in names


class WaysOut:
    """Serves the ways out of all groups at the Unix socket `path`; `ways` returns those of one group by its name."""

    def __init__(self, path: Path, ways: Callable[[str], list[WayOut]]):
        self.path, self.ways = path, ways
        self.server: asyncio.Server | None = None

    async def open(self) -> None:
        self.session = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        )
        self.path.unlink(missing_ok=True)
        # The path of a Unix socket is short, but the folder of this one may be deep.
        folder, listener = os.open(self.path.parent, os.O_RDONLY), socket.socket(socket.AF_UNIX)
        try:
            listener.bind(f"/proc/self/fd/{folder}/{self.path.name}")
        finally:
            os.close(folder)
        loop = asyncio.get_running_loop()
        self.server = await loop.create_unix_server(lambda: Preface(self.requests), sock=listener, backlog=512)

    async def close(self) -> None:
        if self.server:
            self.server.close()
            await self.session.close()

    def requests(self, preface: str) -> asyncio.Protocol:
        """What handles the requests of a connection that began with this line."""
        group, _, number = preface.partition(" ")
        ways = [way for way in self.ways(group) if port(way) == int(number)]
        handler = functools.partial(self.answer, ways, int(number))
        return web.Server(handler, handler_cancellation=True, auto_decompress=False)()

    async def answer(self, ways: list[WayOut], number: int, request: web.BaseRequest) -> web.StreamResponse:
        """Send a request to the service of its way, and its answer back."""
        target = request.raw_path
        scheme = "ws" if request.headers.get("Upgrade", "").lower() == "websocket" else "http"
        if not any(allowed(way, scheme, target) for way in ways):
            text = "Containers cannot reach this address of the machine.\n"
            return web.Response(status=HTTPStatus.FORBIDDEN, text=text)
        url = URL(f"{scheme}://127.0.0.1:{number}{target}", encoded=True)
        try:
            return await (self.socket(request, url) if scheme == "ws" else self.send(request, url))
        except aiohttp.ClientError as error:
            return web.Response(status=HTTPStatus.BAD_GATEWAY, text=f"The service does not answer: {error}\n")

    async def send(self, request: web.BaseRequest, url: URL) -> web.StreamResponse:
        body = request.content if request.body_exists else None
        sent = self.session.request(
            request.method, url, headers=end_to_end(request.headers), data=body, allow_redirects=False
        )
        async with sent as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            response.headers.extend(end_to_end(answer.headers))
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    async def socket(self, request: web.BaseRequest, url: URL) -> web.StreamResponse:
        """Carry the frames of a WebSocket in both directions."""
        wanted = [one.strip() for one in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if one.strip()]
        async with self.session.ws_connect(url, protocols=wanted, max_msg_size=0) as service:
            client = web.WebSocketResponse(protocols=[service.protocol] if service.protocol else [], max_msg_size=0)
            await client.prepare(request)
            copies = {asyncio.create_task(frames(client, service)), asyncio.create_task(frames(service, client))}
            _, rest = await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            for copy in rest:
                copy.cancel()
            await client.close(code=service.close_code or aiohttp.WSCloseCode.GOING_AWAY)
            return client


Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def frames(source: Socket, target: Socket) -> None:
    with contextlib.suppress(ConnectionError):
        async for message in source:
            if message.type is aiohttp.WSMsgType.TEXT:
                await target.send_str(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                await target.send_bytes(message.data)


def end_to_end(headers: "CIMultiDictProxy[str]") -> list[tuple[str, str]]:
    """The headers that are not of one connection only."""
    named = {word.strip().lower() for value in headers.getall("Connection", []) for word in value.split(",")}
    return [(name, value) for name, value in headers.items() if name.lower() not in HOP | named]


class Preface(asyncio.Protocol):
    """Reads the first line of a connection, and hands the rest to the protocol that `choose` returns for it."""

    def __init__(self, choose: Callable[[str], asyncio.Protocol]):
        self.choose, self.received = choose, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        line, end, rest = self.received.partition(b"\n")
        if not end and len(line) < LONGEST_PREFACE:
            return
        assert isinstance(self.transport, asyncio.Transport)
        try:
            protocol = self.choose(line.decode())
        except (KeyError, ValueError):  # its group has been removed meanwhile
            self.transport.abort()
            return
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        if rest:
            protocol.data_received(rest)
