"""One documented API: a FastAPI app with its own prefix, error shape, envelope, guards and limits."""

import logging
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import tables
from shared.http import pages
from shared.http.admission import Admission, Guard, limited
from shared.http.errors import RAISED, ApiError, BadRequest, InvalidRequest, MethodNotAllowed, NotFound, api_error
from shared.http.idempotency import serve_once
from shared.http.openapi import describe
from shared.http.ratelimit import RateLimit
from shared.http.routes import Envelope, Route
from shared.settings import settings

log = logging.getLogger(__name__)

Render = Callable[[Request, ApiError], Any]
"""(request, error) -> the JSON body of an error."""

_ENCODED_SLASH = re.compile("%2f", re.IGNORECASE)
_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_GOOD_PART = re.compile(rb"limit=0*[1-9][0-9]{0,11}|offset=[0-9]{1,12}|(?!limit=|offset=).*", re.DOTALL)
_LOCATIONS = ("body", "query", "path", "header")


@dataclass(frozen=True)
class Cors:
    """What browsers may do from other origins; `max_age` in seconds."""

    origins: Sequence[str]
    credentials: bool = False
    methods: Sequence[str] = ("*",)
    headers: Sequence[str] = ("*",)
    max_age: int = 600

    @classmethod
    def of_settings(cls) -> "Cors | None":
        """All that `RUNYARD_CORS_ORIGINS` allows; None where the platform answers preflight requests."""
        origins = settings().cors_origins
        return cls(origins.split(",")) if origins else None

    def middleware(self) -> Middleware:
        """What answers preflight requests and adds the headers."""
        return Middleware(
            CORSMiddleware,
            allow_origins=list(self.origins),
            allow_credentials=self.credentials,
            allow_methods=list(self.methods),
            allow_headers=list(self.headers),
            expose_headers=["*"],
            max_age=self.max_age,
        )


def message_only(request: Request, error: ApiError) -> Any:
    """The plainest shape of an error: `{"error": "why"}`."""
    return {"error": error.message}


class _LastResort:
    """Answers 500 in the API's shape for what no handler took, and logs it while the invocation is still open.

    Counts every response in `answered`.
    """

    def __init__(self, app: ASGIApp, error: Callable[[Request, ApiError], Response], answered: Counter[Any]):
        self.app, self.error, self.answered = app, error, answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False
        path: str = getattr(scope.get("runyard.route"), "path", "")

        async def watch(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self.answered[scope["method"], path, message["status"]] += 1
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            if started:
                raise
            await self.error(Request(scope), ApiError("Internal server error"))(scope, receive, watch)


class Api(FastAPI):
    """Serves `routers` below `/<prefix>`.

    - `render` gives errors their shape, `envelope` wraps the data of every other JSON response.
    - `guards` find out who calls, before the body of a route that depends on one is read; `limit` is the rate limit of
      each caller, by the id that its guard found, or by address.
    - `cors` says what browsers may do from other origins, by default what the settings say.
    - `lenient_paging`: a `limit` or `offset` that is no number in range means the default, instead of 400.
    - `tells_methods`: a known path with another method answers 405 with `Allow`, instead of 404.
    - `not_found` is the message for unknown paths; `{method}` and `{path}` in it are filled in.
    """

    def __init__(
        self,
        prefix: str,
        title: str,
        version: str,
        routers: Sequence[APIRouter],
        *,
        render: Render = message_only,
        envelope: Envelope | None = None,
        guards: Sequence[Guard] = (),
        limit: RateLimit | None = None,
        cors: Cors | None = None,
        lenient_paging: bool = False,
        tells_methods: bool = False,
        not_found: str = "Resource not found",
    ):
        self.prefix, self.envelope = prefix, envelope
        self._render, self._not_found = render, not_found
        self._lenient_paging, self._tells_methods = lenient_paging, tells_methods
        self._admission = Admission(guards, limit)
        self.answered: Counter[tuple[str, str, int]] = Counter()
        cors = cors or Cors.of_settings()
        super().__init__(
            title=title,
            version=version,
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            servers=[{"url": f"/{prefix}"}],
            root_path_in_servers=False,
            telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
            middleware=[
                *([cors.middleware()] if cors else []),
                Middleware(_LastResort, error=self.error, answered=self.answered),
            ],
        )
        # Extended, not included: an included router's routes would not carry their whole path.
        for part in (*routers, pages.routes):
            self.router.routes.extend(part.routes)
        self.own_routes = [route for route in self.router.routes if isinstance(route, Route)]
        for kind in RAISED:
            self.add_exception_handler(kind, self._raised)
        self.add_exception_handler(RequestValidationError, self._invalid)

    def build_middleware_stack(self) -> ASGIApp:
        """The usual stack, around the route of this Function in place of a search through all routes."""
        router, self.router = self.router, self._serve  # type: ignore[assignment]
        try:
            return super().build_middleware_stack()
        finally:
            self.router = router

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the one route that the host has matched, with the host's values for its parameters."""
        request = Request(scope, receive)
        given = request.headers.get("x-request-id", "")
        request.state.request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
        request.state.started = time.perf_counter()
        route: Route | None = scope.get("runyard.route")
        if route is None:
            raise self._unknown(request)
        scope.update(route=route, endpoint=route.endpoint, path_params=_values(scope, route))
        if self._lenient_paging:
            scope["query_string"] = _without_bad_paging(scope["query_string"])
        # Before the body, which FastAPI would read first: a wrong one must hide neither a missing key nor the limit.
        send, caller = await self._admission.admit(request, send, route)
        body = limited(request, route.options.max_body)
        key = request.headers.get("idempotency-key")
        if key is None or not route.idempotent:
            await route.handle(scope, body, send)
            return
        where = f"{self.prefix} {caller} {request.method} {scope['path']}"
        await serve_once(where, key, body, send, lambda receive, send: route.handle(scope, receive, send))

    def _unknown(self, request: Request) -> ApiError:
        """The error for a path, or a method of it, that no Function has."""
        path = request.scope["path"].removeprefix(f"/{self.prefix}") or "/"
        # The host takes an encoded slash for a part of a name: decoded, the path would be another one.
        if self._tells_methods and b"%2f" not in request.scope["raw_path"].lower():
            matching = [route for route in self.own_routes if route.path_regex.match(path)]
            if methods := sorted({method for route in matching for method in route.methods or ()}):
                return MethodNotAllowed("Method Not Allowed", headers={"Allow": ", ".join(methods)})
        return NotFound(self._not_found.format(method=request.method, path=path))

    def error(self, request: Request, error: ApiError) -> Response:
        """An error as this API answers it."""
        return JSONResponse(self._render(request, error), error.status, error.headers)

    async def _raised(self, request: Request, error: Exception) -> Response:
        if isinstance(error, tables.StorageUnavailable):
            log.error("%s %s: the storage service is unavailable: %s", request.method, request.url.path, error)
        return self.error(request, api_error(error))

    async def _invalid(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = error.errors()
        details = [{"field": _field(each["loc"]), "message": str(each["msg"])} for each in found]
        first = details[0]
        message = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
        if found[0]["type"] == "json_invalid":
            return self.error(request, BadRequest(message))
        return self.error(request, InvalidRequest(message, details=details))

    def openapi(self) -> dict[str, Any]:
        """The description of this API, made once."""
        if not self.openapi_schema:
            sample = Request({"type": "http", "headers": [], "state": {"request_id": "", "started": 0.0}})
            self.openapi_schema = describe(
                super().openapi(),
                self.own_routes,
                error=self._render(sample, BadRequest("why")),
                envelope=self.envelope,
                guard_of=self._admission.guard_of,
            )
        return self.openapi_schema


def _field(location: Sequence[Any]) -> str:
    return ".".join(str(part) for part in location if part not in _LOCATIONS)


def _values(scope: Scope, route: APIRoute) -> dict[str, str]:
    """The host's values for the parameters of a route. The host decodes them, but for encoded slashes."""
    given: dict[str, str] = scope["runyard.values"]
    values = {name: given.get(name, "") for name in route.param_convertors}
    if b"%2f" not in scope["raw_path"].lower():
        return values
    return {name: _ENCODED_SLASH.sub("/", value) for name, value in values.items()}


def _without_bad_paging(query: bytes) -> bytes:
    """The query without a `limit` or an `offset` that is no number in range."""
    return b"&".join(part for part in query.split(b"&") if _GOOD_PART.fullmatch(part))
