"""One documented API: a FastAPI app with its own prefix, error shape and OpenAPI page."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import tables
from shared.http.errors import ApiError, TooManyRequests, Unauthorized
from shared.http.idempotency import serve_once
from shared.http.openapi import describe
from shared.http.ratelimit import RateLimit, address_of
from shared.settings import settings

log = logging.getLogger(__name__)

MAX_JSON_BODY = 10 * 1024 * 1024
"""Bytes of a request body; more is answered with 413. A route may set `x-max-body-size` in its `openapi_extra`."""

Render = Callable[[int, str], Any]
"""(status, message) -> the JSON body of an error."""


def router(prefix: str, tag: str) -> APIRouter:
    """The routes of one resource."""
    return APIRouter(prefix=prefix, tags=[tag])


class _LastResort:
    """Answers 500 in the API's shape for what nobody caught, and logs it while the invocation is still open.

    Counts every answer in `answered`.
    """

    def __init__(self, app: ASGIApp, render: Render, answered: Counter[tuple[str, str, int]]):
        self.app, self.render, self.answered = app, render, answered

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
            await JSONResponse(self.render(500, "Internal server error"), 500)(scope, receive, watch)


def _depends_on(dependant: Dependant, call: Callable[..., Any]) -> bool:
    return dependant.call is call or any(_depends_on(part, call) for part in dependant.dependencies)


def _limited(request: Request, limit: int) -> Receive:
    """The request's `receive`, which raises 413 as soon as the body is known to be longer than `limit` bytes."""
    what = "File" if request.headers.get("content-type", "").startswith("multipart/") else "Body"
    if int(request.headers.get("content-length", 0)) > limit:
        raise HTTPException(413, f"{what} too large")
    size = 0

    async def receive() -> Message:
        nonlocal size
        message = await request.receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise HTTPException(413, f"{what} too large")
        return message

    return receive


def _idempotent(route: APIRoute) -> bool:
    default = "POST" in (route.methods or ()) and route.status_code == 201
    return (route.openapi_extra or {}).get("x-idempotent", default)


class Api(FastAPI):
    """Serves `routers` below `/<prefix>`.

    `render` gives errors their shape. `guard` is the dependency that finds out who calls; it runs before the body of a
    route that depends on it is read, and answers something with an `id`. `limit` is the rate limit of each caller, by
    that id, or by address. A route's `openapi_extra` may say `x-max-body-size` (bytes), `x-uncounted` (no rate limit)
    and `x-idempotent`: whether it takes an `Idempotency-Key`, as every POST does that answers 201.
    """

    def __init__(
        self,
        prefix: str,
        title: str,
        version: str,
        routers: Sequence[APIRouter],
        *,
        render: Render,
        guard: Callable[[Request], Awaitable[Any]] | None = None,
        limit: RateLimit | None = None,
        validation_status: int = 400,
        not_found: str = "Resource not found",
    ):
        self.prefix, self._render, self._not_found, self._guard = prefix, render, not_found, guard
        self._limit = limit
        self.answered: Counter[tuple[str, str, int]] = Counter()
        super().__init__(
            title=title,
            version=version,
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            servers=[{"url": f"/{prefix}"}],
            root_path_in_servers=False,
            telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
            middleware=self._middleware(),
        )
        # Extended, not included: an included router's routes would not carry their whole path.
        for part in routers:
            self.router.routes.extend(part.routes)
        pages = APIRouter(include_in_schema=False)
        pages.add_api_route("/docs", self._docs, methods=["GET"], name="docs")
        pages.add_api_route("/openapi.json", self._schema, methods=["GET"], name="openapi")
        self.router.routes.extend(pages.routes)
        self._validation_status = validation_status
        self.add_exception_handler(ApiError, self._api_error)
        self.add_exception_handler(tables.NotFound, self._no_record)
        self.add_exception_handler(tables.PreconditionFailed, self._changed)
        self.add_exception_handler(tables.Unstorable, self._unstorable)
        self.add_exception_handler(tables.Unavailable, self._unavailable)
        self.add_exception_handler(RequestValidationError, self._invalid)
        self.add_exception_handler(HTTPException, self._http_error)

    def _middleware(self) -> list[Middleware]:
        stack = [Middleware(_LastResort, render=self._render, answered=self.answered)]
        origins = settings().cors_origins
        if origins:
            stack.insert(
                0,
                Middleware(
                    CORSMiddleware, allow_origins=origins.split(","), allow_methods=["*"], allow_headers=["*"],
                    expose_headers=["*"],
                ),
            )  # fmt: skip
        return stack

    def build_middleware_stack(self) -> ASGIApp:
        """The usual stack, around the route of this Function in place of a second search through all routes."""
        router, self.router = self.router, self._pinned  # type: ignore[assignment]
        try:
            return super().build_middleware_stack()
        finally:
            self.router = router

    async def _pinned(self, scope: Scope, receive: Receive, send: Send) -> None:
        route: APIRoute | None = scope.get("runyard.route")
        child = route.matches(scope)[1] if route else None
        if not route or not child:  # no route given, or an encoded slash that the host matched in its own way
            await self.router(scope, receive, send)
            return
        scope.update(child)
        request = Request(scope, receive)
        extra: dict[str, Any] = route.openapi_extra or {}
        # Before the body, which FastAPI would read first: a wrong one must hide neither a missing key nor the limit.
        send, owner = await self._admit(request, send, route, counted=not extra.get("x-uncounted"))
        limited = _limited(request, extra.get("x-max-body-size", MAX_JSON_BODY))
        key = request.headers.get("idempotency-key")
        if key is None or not _idempotent(route):
            await route.handle(scope, limited, send)
            return
        where = f"{self.prefix} {owner} {request.method} {scope['path']}"
        await serve_once(where, key, limited, send, lambda receive, send: route.handle(scope, receive, send))

    async def _admit(self, request: Request, send: Send, route: APIRoute, *, counted: bool) -> tuple[Send, str]:
        """Find out who calls and count the request: the `send` that shows the counts, and the caller's id ("")."""
        caller, refusal = "", None
        if self._guard and self._guards(route):
            try:
                caller = (await self._guard(request)).id
            except Unauthorized as error:
                refusal = error
        headers: dict[str, str] = {}
        if self._limit and counted:
            verdict = await self._limit.count(caller or address_of(request))
            headers = verdict.headers
            if not verdict.allowed:
                raise TooManyRequests("Rate limit exceeded", headers)
        if refusal:
            refusal.headers |= headers
            raise refusal

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        return with_headers if headers else send, caller

    def error(self, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
        """An error of this API."""
        return JSONResponse(self._render(status, message), status, headers)

    async def _api_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return self.error(error.status, error.message, error.headers)

    async def _no_record(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, tables.NotFound)
        return self.error(404, f"{error.collection} not found")

    async def _changed(self, request: Request, error: Exception) -> Response:
        return self.error(412, "The record has changed since it was read")

    async def _unstorable(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, tables.Unstorable)
        return self.error(400, f"{error.field}: {error}")

    async def _unavailable(self, request: Request, error: Exception) -> Response:
        log.error("%s %s: the store is away: %s", request.method, request.url.path, error)
        return self.error(503, "The storage service does not answer", {"Retry-After": "5"})

    async def _invalid(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
        return self.error(self._validation_status, f"{where}: {first['msg']}" if where else str(first["msg"]))

    async def _http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code in (404, 405):  # an unknown method of a known path is an unknown resource, as in the host
            return self.error(404, self._not_found)
        return self.error(error.status_code, str(error.detail), dict(error.headers or {}))

    async def _docs(self) -> Response:
        return HTMLResponse(Path(__file__).with_name("docs.html").read_text("utf-8"))

    async def _schema(self) -> Response:
        return JSONResponse(self.openapi())

    def openapi(self) -> dict[str, Any]:
        """The description of this API, made once."""
        if not self.openapi_schema:
            self.openapi_schema = describe(
                super().openapi(),
                [route for route in self.router.routes if isinstance(route, APIRoute)],
                error=self._render(400, "why"),
                guarded=self._guards,
                idempotent=_idempotent,
            )
        return self.openapi_schema

    def _guards(self, route: APIRoute) -> bool:
        return self._guard is not None and _depends_on(route.dependant, self._guard)
