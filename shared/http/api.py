"""One documented API: a FastAPI app with its own prefix, error shape, envelope, guards and limits."""

import asyncio
import json
import logging
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.convertors import PathConvertor
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import tables
from shared.http import pages
from shared.http.admission import Admission, Guard, limit_body
from shared.http.errors import (
    HANDLED,
    ApiError,
    BadRequest,
    MethodNotAllowed,
    NotFound,
    api_error,
    invalid_request,
    reason,
)
from shared.http.idempotency import serve_once
from shared.http.openapi import describe
from shared.http.ratelimit import RateLimit
from shared.http.requests import check_query
from shared.http.routes import Envelope, Route
from shared.settings import settings

log = logging.getLogger(__name__)

Render = Callable[[Request, ApiError], Any]
"""(request, error) -> the JSON body of an error."""

ResponseHeaders = Callable[[Request], Mapping[str, str]]
"""(request) -> headers for its response; `request.state` has `request_id` and `started`."""

_ENCODED_SLASH = re.compile("%2f", re.IGNORECASE)
_JSON = re.compile(r"application/([\w.+-]+\+)?json\b", re.IGNORECASE)
_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_VALID_PART = re.compile(rb"limit=0*[1-9][0-9]{0,11}|offset=[0-9]{1,12}|(?!limit=|offset=).*", re.DOTALL)
_LOOPBACK = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?"


@dataclass(frozen=True)
class Cors:
    """What browsers may do from other origins: those listed, and those that `origin_regex` matches as a whole.

    `*` in the list stands for all origins. `max_age` is in seconds.
    """

    origins: Sequence[str]
    origin_regex: str | None = None
    credentials: bool = False
    methods: Sequence[str] = ("*",)
    headers: Sequence[str] = ("*",)
    max_age: int = 600

    @classmethod
    def of(cls, origins: str, *, origin_regex: str | None = None, credentials: bool = False) -> "Cors":
        """Return what a setting allows: origins separated by commas."""
        return cls([origin.strip() for origin in origins.split(",") if origin.strip()], origin_regex, credentials)

    @classmethod
    def of_settings(cls, *, credentials: bool = False) -> "Cors":
        """Return what `RUNYARD_CORS_ORIGINS` allows, and pages of this machine."""
        return cls.of(settings().cors_origins, origin_regex=_LOOPBACK, credentials=credentials)

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin may call."""
        listed = "*" in self.origins or origin in self.origins
        return listed or bool(self.origin_regex and re.fullmatch(self.origin_regex, origin))

    def middleware(self) -> Middleware:
        """Return the middleware that handles preflight requests and adds the headers."""
        return Middleware(
            CORSMiddleware,
            allow_origins=list(self.origins),
            allow_origin_regex=self.origin_regex,
            allow_credentials=self.credentials,
            allow_methods=list(self.methods),
            allow_headers=list(self.headers),
            expose_headers=["*"],
            max_age=self.max_age,
        )


def message_only(request: Request, error: ApiError) -> Any:
    """Return the simplest body of an error: `{"error": "message"}`."""
    return {"error": error.message}


class _Unhandled:
    """Turns exceptions without a handler into a 500 in the API's shape, and logs them within the invocation.

    Counts every response in `response_counts`, by method, route and status; adds the headers of every response.
    """

    def __init__(
        self,
        app: ASGIApp,
        error: Callable[[Request, ApiError], Response],
        response_counts: Counter[Any],
        headers: ResponseHeaders | None,
    ):
        self.app, self.error, self.response_counts, self.headers = app, error, response_counts, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False
        path: str = getattr(scope.get("runyard.route"), "path", "")

        async def watch(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self.response_counts[scope["method"], path, message["status"]] += 1
                if self.headers:
                    MutableHeaders(scope=message).update(self.headers(Request(scope)))
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            if started:
                raise
            await self.error(Request(scope), ApiError("Internal server error"))(scope, receive, watch)


class Api(FastAPI):
    """Serves `routers` below `/<prefix>`, and the pages of `shared.http.pages` at paths that none of them has.

    - `description` says what the API is for, in Markdown.
    - `render` gives errors their shape, `envelope` wraps the data of every other JSON response; `headers` are those
      of every response.
    - `guards` authenticate the caller before the body of a route that depends on one is read; `limit` is the rate limit
      of each caller, known by the id that its guard returned, or by address.
    - `cors` is what browsers may do from other origins, by default what the settings allow.
    - `lenient_body`: an absent body counts as an empty JSON object.
    - `lenient_paging`: an invalid `limit` or `offset` is replaced by the default, instead of 400.
    - `method_not_allowed`: a known path with an unknown method gets 405 with `Allow`, instead of 404.
    - `not_found` is the message for unknown paths; `{method}` and `{path}` in it are replaced.
    """

    def __init__(
        self,
        prefix: str,
        title: str,
        version: str,
        routers: Sequence[APIRouter],
        *,
        description: str = "",
        render: Render = message_only,
        envelope: Envelope | None = None,
        headers: ResponseHeaders | None = None,
        guards: Sequence[Guard] = (),
        limit: RateLimit | None = None,
        cors: Cors | None = None,
        lenient_body: bool = False,
        lenient_paging: bool = False,
        method_not_allowed: bool = False,
        not_found: str = "Resource not found",
    ):
        self.prefix, self.envelope, self.lenient_body = prefix, envelope, lenient_body
        self._render, self._not_found = render, not_found
        self._lenient_paging, self._method_not_allowed = lenient_paging, method_not_allowed
        self._admission = Admission(guards, limit)
        self.response_counts: Counter[tuple[str, str, int]] = Counter()
        self._description_json: asyncio.Task[bytes] | None = None
        cors = cors or Cors.of_settings()
        super().__init__(
            title=title,
            version=version,
            description=description,
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            servers=[{"url": f"/{prefix}"}],
            root_path_in_servers=False,
            telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
            middleware=[
                *([] if settings().platform_cors else [cors.middleware()]),
                Middleware(_Unhandled, error=self.error, response_counts=self.response_counts, headers=headers),
            ],
        )
        # Extended, not included: an included router's routes would not carry their whole path.
        self.own_routes = [route for part in routers for route in part.routes if isinstance(route, Route)]
        taken = {route.path.rstrip("/") for route in self.own_routes}
        self.own_routes += [page for page in pages.of_every_api() if page.path.rstrip("/") not in taken]
        self.router.routes.extend(self.own_routes)
        for kind in HANDLED:
            self.add_exception_handler(kind, self._raised)
        self.add_exception_handler(RequestValidationError, self._invalid)

    def build_middleware_stack(self) -> ASGIApp:
        """Build FastAPI's stack around `_serve`: the host has found the route, so FastAPI need not search for it."""
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
        check_query(scope["query_string"])
        values = _values(scope, route)
        if any(not values[name] and isinstance(kind, PathConvertor) for name, kind in route.param_convertors.items()):
            # The host lets a catch-all match nothing.
            raise NotFound(self._not_found.format(method=request.method, path=self._path(request)))
        scope.update(route=route, endpoint=route.endpoint, path_params=values)
        if self._lenient_paging:
            scope["query_string"] = _without_bad_paging(scope["query_string"])
        # Before FastAPI reads the body: a wrong body must not hide a missing key or a reached limit.
        send, caller = await self._admission.admit(request, send, route)
        body = limit_body(request, route.options.max_body)
        key = request.headers.get("idempotency-key")
        if key is None or not route.idempotent:
            await route.handle(scope, body, send)
            return
        # The query too: it may say whose record is made.
        query = [item for item in request.query_params.multi_items() if item[0] != "api_key"]
        owner = json.dumps([self.prefix, caller, request.method, scope["path"], query])
        await serve_once(owner, key, body, send, lambda receive, send: route.handle(scope, receive, send))

    def _path(self, request: Request) -> str:
        """Return the path of a request below this API's prefix."""
        return request.scope["path"].removeprefix(f"/{self.prefix}") or "/"

    def _unknown(self, request: Request) -> ApiError:
        """Return the error for a path, or a method of a path, without a Function."""
        path = self._path(request)
        # To the host an encoded slash is part of a name; the decoded path could match another route.
        if self._method_not_allowed and b"%2f" not in request.scope["raw_path"].lower():
            matching = [route for route in self.own_routes if route.path_regex.match(path)]
            if methods := sorted({method for route in matching for method in route.methods or ()}):
                return MethodNotAllowed("Method Not Allowed", headers={"Allow": ", ".join(methods)})
        return NotFound(self._not_found.format(method=request.method, path=path))

    def error(self, request: Request, error: ApiError) -> Response:
        """Return the response for an error, in the shape of this API."""
        return JSONResponse(self._render(request, error), error.status, error.headers)

    async def _raised(self, request: Request, error: Exception) -> Response:
        if isinstance(error, tables.StorageUnavailable):
            log.error("%s %s: the storage service is unavailable: %s", request.method, request.url.path, error)
        return self.error(request, api_error(error))

    async def _invalid(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = error.errors()
        if found[0]["type"] == "json_invalid" or found[0]["loc"] == ("body",):
            return self.error(request, BadRequest(_unreadable(request, found[0])))
        return self.error(request, invalid_request(found))

    async def description_json(self) -> bytes:
        """Return the OpenAPI document as JSON. It is built once, beside other requests, as that takes seconds."""
        building = self._description_json
        if building is None or (building.done() and (building.cancelled() or building.exception())):
            build = asyncio.to_thread(lambda: bytes(JSONResponse(self.openapi()).body))
            building = self._description_json = asyncio.create_task(build)
        return await asyncio.shield(building)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document of this API; it is built once."""
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


def _unreadable(request: Request, error: dict[str, Any]) -> str:
    """Return why a body cannot be read as a JSON object."""
    content_type = request.headers.get("content-type", "")
    if error["type"] == "json_invalid":
        return f"The body is not valid JSON: {error['ctx']['error']} at character {error['loc'][-1]}"
    if error["type"] == "missing":
        return "The request needs a JSON body"
    if error["type"] == "value_error":
        return f"The body {reason(error)}"
    if not _JSON.match(content_type):
        return f"Content-Type must be application/json{f', not {content_type[:100]}' if content_type else ''}"
    return "The body must be a JSON object"


def _values(scope: Scope, route: APIRoute) -> dict[str, str]:
    """Return the host's values for the parameters of a route; the host decodes all but encoded slashes."""
    given: dict[str, str] = scope["runyard.values"]
    values = {name: given.get(name, "") for name in route.param_convertors}
    if b"%2f" not in scope["raw_path"].lower():
        return values
    return {name: _ENCODED_SLASH.sub("/", value) for name, value in values.items()}


def _without_bad_paging(query: bytes) -> bytes:
    """Return the query without an invalid `limit` or `offset`."""
    return b"&".join(part for part in query.split(b"&") if _VALID_PART.fullmatch(part))
