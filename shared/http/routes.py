"""Routes of an API: FastAPI's, with typed options, inside the envelope of their API."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

MAX_BODY = 10 * 1024 * 1024
"""Bytes of a request body; more is answered with 413."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class RouteOptions:
    """What is particular to a route: `max_body` in bytes; `counted` by the rate limit; whether it takes an
    `Idempotency-Key` (None: every POST that answers 201 does); `enveloped` in the API's envelope."""

    max_body: int = MAX_BODY
    counted: bool = True
    idempotent: bool | None = None
    enveloped: bool = True


def options(
    *, max_body: int = MAX_BODY, counted: bool = True, idempotent: bool | None = None, enveloped: bool = True
) -> Callable[[F], F]:
    """Give the handler below it options other than the usual ones; stands under the decorator of the route."""

    def mark(handler: F) -> F:
        handler.__dict__["route_options"] = RouteOptions(max_body, counted, idempotent, enveloped)
        return handler

    return mark


class Envelope(Protocol):
    """What an API wraps the data of every successful response in."""

    def wrap(self, request: Request, status: int, data: bytes) -> bytes:
        """The whole body, from the data as JSON; `request.state` has `request_id` and `started`."""
        ...

    def schema(self, data: dict[str, Any]) -> dict[str, Any]:
        """The JSON schema of the whole body, from that of the data."""
        ...


class Route(APIRoute):
    """One route; each becomes a Function of its own."""

    @property
    def options(self) -> RouteOptions:
        """The handler's options."""
        return getattr(self.endpoint, "route_options", RouteOptions())

    @property
    def idempotent(self) -> bool:
        """Whether a repeat under the same `Idempotency-Key` gets the first response again."""
        given = self.options.idempotent
        return "POST" in (self.methods or ()) and self.status_code == 201 if given is None else given

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The usual handler; JSON that FastAPI has made of a returned value goes into the API's envelope."""
        handle = super().get_route_handler()

        async def enveloped(request: Request) -> Response:
            response = await handle(request)
            envelope: Envelope | None = getattr(request.app, "envelope", None)
            # FastAPI serializes values into a plain Response; a response that a handler made itself is of a subclass.
            if envelope and type(response) is Response and response.media_type == "application/json":
                response.body = envelope.wrap(request, response.status_code, bytes(response.body))
                response.headers["content-length"] = str(len(response.body))
            return response

        return enveloped if self.options.enveloped else handle


def router(prefix: str, tag: str, **given: Any) -> APIRouter:
    """The routes of one resource; `given` as for APIRouter."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=Route, **given)
