"""Routes of an API: FastAPI routes with typed options, wrapped in the envelope of their API."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from shared.http.requests import BoundedRequest

MAX_BODY = 10 * 1024 * 1024
"""Bytes of a request body; a longer one gets 413."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class RouteOptions:
    """The options of a route.

    `max_body` is in bytes. `counted`: its requests count for the rate limit. `idempotent`: it accepts an
    `Idempotency-Key` (None: every POST with status 201 does). `enveloped`: its responses get the API's envelope.
    """

    max_body: int = MAX_BODY
    counted: bool = True
    idempotent: bool | None = None
    enveloped: bool = True


def options(
    *, max_body: int = MAX_BODY, counted: bool = True, idempotent: bool | None = None, enveloped: bool = True
) -> Callable[[F], F]:
    """Set the options of a route; this decorator goes between the route's own decorator and the handler."""

    def mark(handler: F) -> F:
        handler.__dict__["route_options"] = RouteOptions(max_body, counted, idempotent, enveloped)
        return handler

    return mark


class Envelope(Protocol):
    """The JSON in which an API wraps the data of every successful response."""

    def wrap(self, request: Request, status: int, data: bytes) -> bytes:
        """Return the whole body for the data, which is JSON; `request.state` has `request_id` and `started`."""
        ...

    def schema(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON schema of the whole body for the schema of the data."""
        ...


class Route(APIRoute):
    """One route; each becomes a Function of its own."""

    @property
    def options(self) -> RouteOptions:
        """The handler's options."""
        return getattr(self.endpoint, "route_options", RouteOptions())

    @property
    def idempotent(self) -> bool:
        """Whether the route accepts an `Idempotency-Key`."""
        given = self.options.idempotent
        return "POST" in (self.methods or ()) and self.status_code == 201 if given is None else given

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler, whose JSON is then wrapped in the API's envelope."""
        parse = super().get_route_handler()

        async def handle(request: Request) -> Response:
            bounded = BoundedRequest(request.scope, request.receive)
            if self.body_field and getattr(request.app, "lenient_body", False):
                bounded = await bounded.with_body()
            return await parse(bounded)

        async def enveloped(request: Request) -> Response:
            response = await handle(request)
            envelope: Envelope | None = getattr(request.app, "envelope", None)
            # FastAPI returns values as a plain Response; a handler's own response is of a subclass and is not wrapped.
            if envelope and type(response) is Response and response.media_type == "application/json":
                response.body = envelope.wrap(request, response.status_code, bytes(response.body))
                response.headers["content-length"] = str(len(response.body))
            return response

        return enveloped if self.options.enveloped else handle


def router(prefix: str, tag: str, **given: Any) -> APIRouter:
    """Return a router for one resource; `given` are further arguments of APIRouter."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=Route, **given)
