"""What a server outside says: a response that is bounded in time and size, and the errors in place of one.

No message holds more of an address than scheme, host and path: keys stand in queries, headers and user names.
"""

import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from aiohttp.http_exceptions import HttpProcessingError

from shared.resolver import NotPublic

ERRORS = (aiohttp.ClientError, HttpProcessingError, NotPublic, OSError, ValueError)
"""Whatever a request or the reading of its response may raise. OSError includes TimeoutError."""

_LINE_END = re.compile(rb"\r\n|\r|\n")


class OutboundError(Exception):
    """A request without a usable response; the message names scheme, host and path, and says why."""


class AddressRefused(OutboundError):
    """The address (or a header) is not valid, users may not give it, or redirects lead to such a one or never end."""


class NoAnswer(OutboundError):
    """No response came, or not all of it. The server may have acted on the request all the same.

    `lost` when the connection failed, rather than the server was silent.
    """

    lost = False


class ResponseTooLarge(OutboundError):
    """The response is longer than the limit."""


@dataclass(frozen=True)
class ServerEvent:
    """A server-sent event; `id` and `retry` (milliseconds) are the last ones that the server has sent so far."""

    data: str
    event: str = "message"
    id: str = ""
    retry: int | None = None


class Answer:
    """A response whose body is read once: whole, by chunk, by line or by event.

    Reading raises `NoAnswer` when the server breaks off or is silent, and `ResponseTooLarge` beyond the limit.
    """

    def __init__(self, response: aiohttp.ClientResponse, call: str, limit: int):
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response, self._call, self._left = response, call, limit

    def close(self) -> None:
        """Close the connection, unless the response was read to its end."""
        self._response.close()

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body as it comes, decompressed."""
        while chunk := await self._next():
            yield chunk

    async def _next(self) -> bytes:
        try:
            chunk = await self._response.content.readany()
        except ERRORS as error:
            problem = failure(self._call, error)
        else:
            self._left -= len(chunk)
            if self._left >= 0:
                return chunk
            problem = ResponseTooLarge(f"{self._call}: the response is longer than the limit")
        self.close()
        raise problem  # outside of the handler, so that no trace shows an error of aiohttp with its address

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def json(self) -> Any:
        """The whole body, decoded from JSON; `NoAnswer` when it is something else."""
        body = await self.read()
        try:
            return orjson.loads(body)
        except ValueError:
            problem = NoAnswer(f"{self._call}: the response is not JSON")
        raise problem  # outside of the handler: the decoder's error holds the body

    async def lines(self) -> AsyncGenerator[str]:
        """The lines of the body without their ends (CRLF, CR or LF), each as soon as it is complete."""
        held: list[bytes] = []
        after_cr = False
        async for chunk in self.chunks():
            rest = chunk[1:] if after_cr and chunk.startswith(b"\n") else chunk
            after_cr = chunk.endswith(b"\r")
            *whole, rest = _LINE_END.split(rest)
            for piece in whole:
                yield b"".join([*held, piece]).decode(errors="replace")
                held.clear()
            held.append(rest)
        if last := b"".join(held):
            yield last.decode(errors="replace")

    async def events(self) -> AsyncGenerator[ServerEvent]:
        """The server-sent events of the body. One that the end of the body cuts off is dropped."""
        kind = last_id = ""
        retry: int | None = None
        data: list[str] = []
        mark = "\ufeff"  # allowed before the first line
        async for line in self.lines():
            name, _, value = line.removeprefix(mark).partition(":")
            mark, value = "", value.removeprefix(" ")
            if not line:
                if data:
                    yield ServerEvent("\n".join(data), kind or "message", last_id, retry)
                kind, data = "", []
            elif name == "data":
                data.append(value)
            elif name == "event":
                kind = value
            elif name == "id" and "\0" not in value:
                last_id = value
            elif name == "retry" and value.isascii() and value.isdigit():
                retry = int(value)


def failure(call: str, error: Exception) -> AddressRefused | NoAnswer:
    """The error of ours for one of `ERRORS`, whose own message may hold the whole address."""
    match error:
        case NotPublic():
            return AddressRefused(f"{call}: {error}")
        case aiohttp.ClientConnectorDNSError():
            reason = "its host is not known"
        case aiohttp.ClientSSLError():
            reason = "its TLS certificate or protocol is not accepted"
        case aiohttp.ConnectionTimeoutError():
            return NoAnswer(f"{call}: no connection came about in time")
        case TimeoutError():
            return NoAnswer(f"{call}: the server was silent for too long")
        case aiohttp.InvalidURL() | ValueError():
            return AddressRefused(f"{call}: the address or a header is not valid")
        case aiohttp.ClientConnectorError():
            reason = "no connection is accepted"
        case aiohttp.ClientResponseError() | HttpProcessingError():
            reason = "the response is not HTTP"
        case _:
            reason = "the connection broke off"
    lost = NoAnswer(f"{call}: {reason}")
    lost.lost = True
    return lost
