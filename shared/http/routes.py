"""Routes of an API: FastAPI routes with typed options, wrapped in the envelope of their API."""

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import cache
from inspect import signature
from threading import RLock
from typing import Any, Protocol, TypeVar, get_args

from fastapi import APIRouter
from fastapi.params import Depends
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path

from shared.http.requests import MAX_MEMBERS, BoundedRequest

MAX_BODY = 10 * 1024 * 1024
"""Bytes of a request body; a longer one gets 413."""

_ANALYSIS = RLock()

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class RouteOptions:
    """The options of a route.

    `max_body` is in bytes, `max_members` the members and elements of a JSON body. `counted`: its requests count for the
    rate limit. `idempotent`: it accepts an `Idempotency-Key` (None: every POST with status 201 does). `enveloped`: its
    responses get the API's envelope.
    """

    max_body: int = MAX_BODY
    max_members: int = MAX_MEMBERS
    counted: bool = True
    idempotent: bool | None = None
    enveloped: bool = True


def options(
    *,
    max_body: int = MAX_BODY,
    max_members: int = MAX_MEMBERS,
    counted: bool = True,
    idempotent: bool | None = None,
    enveloped: bool = True,
) -> Callable[[F], F]:
    """Set the options of a route; this decorator goes between the route's own decorator and the handler."""

    def mark(handler: F) -> F:
        handler.__dict__["route_options"] = RouteOptions(max_body, max_members, counted, idempotent, enveloped)
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
    """One route; each becomes a Function of its own.

    FastAPI analyses a route when it is declared, which takes a millisecond or more: for hundreds of routes that is most
    of a cold start. So the analysis waits until the first request, or the description, needs its result.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **given: Any):
        self._given: dict[str, Any] = given
        self.path, self.endpoint = path, endpoint
        self.name = given.get("name") or endpoint.__name__
        self.status_code = given.get("status_code")
        methods: Iterable[str] = given.get("methods") or ["GET"]
        self.methods = {method.upper() for method in methods}
        self.dependencies = [*(given.get("dependencies") or [])]
        self.path_regex, self.path_format, self.param_convertors = compile_path(path)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute that only the analysis sets."""
        with _ANALYSIS:  # the description is built in a thread, beside requests
            given = self.__dict__.pop("_given", None)
            if given is not None:
                super().__init__(self.path, self.endpoint, **given)
            if name not in self.__dict__:
                raise AttributeError(name)
            return self.__dict__[name]

    def depends_on(self, wanted: Callable[..., Any]) -> bool:
        """Whether the handler, or a dependency of it, depends on this function."""
        given = any(each.dependency and _depends_on(each.dependency, wanted) for each in self.dependencies)
        return given or _depends_on(self.endpoint, wanted)

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
            bounded.max_members = self.options.max_members
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


@cache  # the routes share most of their dependencies
def _depends_on(call: Callable[..., Any], wanted: Callable[..., Any]) -> bool:
    """Whether a function is the wanted one or depends on it, read from signatures alone."""
    if call is wanted:
        return True
    for parameter in signature(call).parameters.values():
        for part in (*get_args(parameter.annotation)[1:], parameter.default):
            if isinstance(part, Depends) and part.dependency and _depends_on(part.dependency, wanted):
                return True
    return False


def router(prefix: str, tag: str, **given: Any) -> APIRouter:
    """Return a router for one resource; `given` are further arguments of APIRouter."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=Route, **given)
