"""Admission: authentication, rate limit and size limit, applied before the body of a request is read."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive, Send

from shared.http.errors import Forbidden, TooManyRequests, Unauthorized
from shared.http.ratelimit import RateLimit, address_of
from shared.http.routes import Route


@dataclass(frozen=True)
class Guard:
    """A way to authenticate callers.

    `identify` is the dependency that the routes take; it returns an object with an `id`, or raises `Unauthorized` or
    `Forbidden`. `schemes` are its security schemes for OpenAPI, by name.
    """

    identify: Callable[[Request], Awaitable[Any]]
    schemes: Mapping[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    def covers(self, route: Route) -> bool:
        """Whether a route depends on this guard."""
        return route.depends_on(self.identify)


class Admission:
    """The guards and the rate limit of one API; a route is covered by the first guard it depends on."""

    def __init__(self, guards: Sequence[Guard], limit: RateLimit | None):
        self._guards, self._limit = guards, limit
        self._known: dict[int, Guard | None] = {}

    def guard_of(self, route: Route) -> Guard | None:
        """Return the guard of a route; None for a public route."""
        key = id(route)  # routes cannot be hashed; their ids stay unique while the API lives
        if key not in self._known:
            self._known[key] = next((guard for guard in self._guards if guard.covers(route)), None)
        return self._known[key]

    async def admit(self, request: Request, send: Send, route: Route) -> tuple[Send, str]:
        """Authenticate the caller and count the request.

        Returns a `send` that adds the headers of the rate limit, and the caller's id, "" for a public route. Raises
        `Unauthorized`, `Forbidden`, `TooManyRequests`.
        """
        caller, refusal = "", None
        if guard := self.guard_of(route):
            try:
                caller = (await guard.identify(request)).id
            except (Unauthorized, Forbidden) as error:
                refusal = error  # raised after counting: otherwise keys could be guessed without limit
        headers: dict[str, str] = {}
        if self._limit and route.options.counted:
            verdict = await self._limit.count(caller or address_of(request))
            headers = verdict.headers
            if not verdict.allowed:
                raise TooManyRequests("Rate limit exceeded", headers=headers)
        if refusal:
            refusal.headers |= headers
            raise refusal
        return _with_headers(send, headers), caller


def _with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    if not headers:
        return send

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers)
        await send(message)

    return with_headers


def limit_body(request: Request, limit: int) -> Receive:
    """Return the request's `receive`; it raises 413 once the body is known to be longer than `limit` bytes."""
    what = "File" if request.headers.get("content-type", "").startswith("multipart/") else "Body"
    # Not an ApiError: while it reads a body, FastAPI passes on HTTPException only.
    too_large = HTTPException(413, f"{what} too large")
    if int(request.headers.get("content-length", 0)) > limit:
        raise too_large
    size = 0

    async def receive() -> Message:
        nonlocal size
        message = await request.receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise too_large
        return message

    return receive
