"""HTTP to the outside: one client with bounds on time and size, for addresses of ours and for those that users give."""

import asyncio
import contextlib
import io
import logging
import random
import time
from asyncio import sleep
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from shared.outbound_response import (
    ERRORS,
    AddressRefused,
    Answer,
    NoAnswer,
    OutboundError,
    ResponseTooLarge,
    ServerEvent,
    failure,
)
from shared.resolver import PublicResolver, check_literal

__all__ = [
    "AddressRefused",
    "Answer",
    "NoAnswer",
    "OutboundError",
    "ResponseTooLarge",
    "Retry",
    "ServerEvent",
    "close",
    "request",
]

log = logging.getLogger(__name__)

CONNECT = 10.0
"""Seconds in which a connection must be made, the look-up of the name included."""

SILENCE = 60.0
"""Seconds in which a server must send something."""

REDIRECTS = 5
ATTEMPTS = 3
LONGEST_WAIT = 10.0
"""Seconds to wait at most before a repeat. A server that asks for more is not asked again: its response is returned."""

_PAUSE = 0.5
_SLOWEST = 50_000  # bytes a second that a server must take of a body
_PIECE = 256 * 1024
_BUSY = {429, 502, 503, 504}
_MOVED = {301, 302, 303, 307, 308}
_HARMLESS = {"accept", "accept-language", "content-type", "range", "user-agent"}
"""The headers that another server may see. A list of those that it may not see would never be complete."""

_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[bool, aiohttp.ClientSession]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Retry:
    """An attempt that failed, why, and the seconds before the next one."""

    attempt: int
    reason: str
    seconds: float


@contextlib.asynccontextmanager
async def request(
    method: str,
    url: str,
    *,
    limit: int,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    user_given: bool = False,
    repeatable: bool = False,
    silence: float = SILENCE,
    on_retry: Callable[[Retry], None] | None = None,
) -> AsyncGenerator[Answer]:
    """Send a request. At the end of the block, also when its task is cancelled, the connection is closed or given back.

    `limit` is the number of bytes of the body that may be read. `user_given` refuses hosts that are not public, unless
    RUNYARD_PRIVATE_HOSTS names them. `repeatable` says that a repeat does no harm: then a lost connection and the
    statuses 429, 502, 503 and 504 lead to two more attempts, after `Retry-After`; `on_retry` is called before each of
    them. Any other status is the caller's.
    Redirects are followed, to another server without the headers that it should not see. `AddressRefused`, `NoAnswer`.
    """
    call = _Call(method.upper(), _parsed(url), dict(headers or {}), body, user_given, silence)
    answer = await _follow(call, limit, repeatable, on_retry or _ignore)
    try:
        yield answer
    finally:
        answer.close()


async def close() -> None:
    """Close this loop's connections."""
    for session in _sessions.pop(asyncio.get_running_loop(), {}).values():
        await session.close()


@dataclass(frozen=True)
class _Call:
    """One request. `checked`: only hosts that users may give are allowed."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | None
    checked: bool
    silence: float

    def __str__(self) -> str:
        port = "" if self.url.is_default_port() else f":{self.url.port}"
        return f"{self.method} {self.url.scheme}://{self.url.host_subcomponent}{port}{self.url.raw_path}"

    def redirected(self, status: int, location: str) -> "_Call":
        """The call to which a response leads. A server of ours, too, may lead out of itself to public hosts only."""
        call = replace(self, url=_parsed(location, self))
        if status == 303 or (status in (301, 302) and self.method == "POST"):
            bare = {name: value for name, value in self.headers.items() if not name.lower().startswith("content-")}
            call = replace(call, method="HEAD" if self.method == "HEAD" else "GET", headers=bare, body=None)
        if call.url.origin() != self.url.origin():
            kept = {name: value for name, value in call.headers.items() if name.lower() in _HARMLESS}
            call = replace(call, checked=True, headers=kept)
        return call


def _parsed(text: str, base: _Call | None = None) -> URL:
    """An address with a host, or one relative to that of a call; `AddressRefused`."""
    with contextlib.suppress(ValueError):
        url = URL(text) if base is None else base.url.join(URL(text))
        if url.scheme in ("http", "https") and url.raw_host and url.port:
            return url
    which = "the address" if base is None else f"{base}: the address to which it redirects"
    raise AddressRefused(f"{which} is not a valid one of http or https")


def _ignore(_: Retry) -> None:
    """Do nothing."""


async def _follow(call: _Call, limit: int, repeatable: bool, on_retry: Callable[[Retry], None]) -> Answer:
    for _ in range(REDIRECTS + 1):
        response = await _attempts(call, repeatable, on_retry)
        location = response.headers.get("Location")
        if response.status not in _MOVED or location is None:
            return Answer(response, str(call), limit)
        response.close()
        call = call.redirected(response.status, location)
    raise AddressRefused(f"{call}: it redirects more than {REDIRECTS} times")


async def _attempts(call: _Call, repeatable: bool, on_retry: Callable[[Retry], None]) -> aiohttp.ClientResponse:
    attempt = 1
    while True:
        last = not repeatable or attempt == ATTEMPTS
        wait = _PAUSE * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311
        try:
            response = await _once(call)
        except NoAnswer as error:
            if last or not error.lost:
                raise
            reason = str(error)
        else:
            wait = _retry_after(response.headers.get("Retry-After", ""), wait)
            if last or response.status not in _BUSY or wait > LONGEST_WAIT:
                return response
            response.close()
            reason = f"{call}: status {response.status}"
        log.info("%s: attempt %d failed, another one follows in %.1f s", call, attempt, wait)
        on_retry(Retry(attempt, reason, wait))
        await sleep(wait)
        attempt += 1


def _retry_after(text: str, otherwise: float) -> float:
    """The seconds that a header asks for, as a number or as a date."""
    if text.isascii() and text.isdigit():
        return float(text)
    with contextlib.suppress(ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return otherwise


async def _once(call: _Call) -> aiohttp.ClientResponse:
    body = call.body or b""
    # aiohttp's own timeouts leave out a server that takes no more of the body, and one whose headers never end.
    patience = CONNECT + call.silence + len(body) / _SLOWEST
    try:
        if call.checked:
            check_literal(call.url.raw_host or "", call.url.port or 0)
        async with asyncio.timeout(patience):
            return await _session(call.checked).request(
                call.method,
                call.url,
                headers=call.headers,
                # aiohttp sends large content in pieces only when it is a stream.
                data=io.BytesIO(body) if len(body) > _PIECE else call.body,
                timeout=aiohttp.ClientTimeout(connect=CONNECT, sock_read=call.silence),
                allow_redirects=False,
            )
    except ERRORS as error:
        problem = failure(str(call), error)
    raise problem  # outside of the handler, so that no trace shows an error of aiohttp with its address


class _Connector(aiohttp.TCPConnector):
    """Closes connections at once, where aiohttp waits until the server has taken what is left of a body."""

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        transport = protocol.transport
        super()._release(key, protocol, should_close=should_close)
        if transport is not None and transport.is_closing():
            transport.abort()


def _session(checked: bool) -> aiohttp.ClientSession:
    """The session of this event loop for addresses of ours, or the one for addresses to check.

    They share no connections: one that was made to a private host must not serve an address that a user gives.
    """
    sessions = _sessions.setdefault(asyncio.get_running_loop(), {})
    if checked not in sessions:
        # Many servers close an idle connection after 5 s. Closing it before that keeps requests from closed ones.
        connector = _Connector(
            limit=0, keepalive_timeout=3, use_dns_cache=False, resolver=PublicResolver() if checked else None
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "runyard"},
            trust_env=False,  # a proxy would look up the name itself
        )
        # aiohttp repeats some requests after a lost connection; here the caller decides.
        session._retry_connection = False  # pyright: ignore[reportPrivateUsage]
        sessions[checked] = session
    return sessions[checked]
