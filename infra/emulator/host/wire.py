"""The HTTP protocol of the host: functions, durable management, admin API and sockets in one ASGI app."""

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import uvicorn
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from infra.emulator.host.connections import ConnectionLimits, PatientConnection
from infra.emulator.host.http import HttpFunctions
from infra.emulator.host.index import Function
from infra.emulator.host.routes import path_segments
from infra.emulator.host.sockets import SocketProxy, refuse_socket
from infra.emulator.origins import Origins

DURABLE_PATH = "/runtime/webhooks/durabletask"
Fire = Callable[[Function, str], None]


class Front:
    """The ASGI app of the public port; the host's own paths have priority over the routes of functions."""

    def __init__(
        self,
        functions: HttpFunctions,
        sockets: SocketProxy,
        admin: "AdminApi",
        engine: Any | None,
        origins: Origins,
    ):
        self.functions, self.sockets, self.admin, self.engine = functions, sockets, admin, engine
        self.origins = origins

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"].lower()
        is_own = path.startswith(("/admin/", "/runtime/"))
        headers = Headers(scope=scope)
        refused = self.origins.refusal(headers.get("host"), headers.get("origin"), for_pages=not is_own)
        if scope["type"] == "websocket":
            if refused:
                return await refuse_socket(send, refused[0], refused[1].encode())
            return await self.sockets(scope, receive, send)
        if refused:
            return await PlainTextResponse(refused[1], refused[0])(scope, receive, send)
        if self.engine is not None and path.startswith(DURABLE_PATH):
            return await self.engine(scope, receive, send)
        if is_own:
            response = await self.admin.respond(Request(scope, receive))
            return await response(scope, receive, send)
        if path == "/" and self.functions.routes.match(scope["method"], "/") is None:
            return await _home()(scope, receive, send)
        return await self.functions(scope, receive, send)


def _home() -> Response:
    if os.environ.get("AzureWebJobsDisableHomepage", "").lower() == "true":  # noqa: SIM112 - its name in Azure
        return Response(status_code=204)
    return PlainTextResponse("Your function app is up and running.")


class AdminApi:
    """The API below `/admin`: the state of the host, its functions, and starting a timer or queue function."""

    def __init__(self, functions: list[Function], described: list[dict[str, Any]], fire: Fire):
        self._functions = {f.name.lower(): f for f in functions}
        self._described = {str(item["name"]).lower(): item for item in described}
        self._fire = fire
        self._started = time.monotonic()

    async def respond(self, request: Request) -> Response:
        match request.method, *path_segments(request.scope["raw_path"].decode("ascii").lower()):
            case (("GET" | "POST"), "admin", "host", "ping"):
                return Response()
            case "GET", "admin", "host", "status":
                uptime = int((time.monotonic() - self._started) * 1000)
                return JSONResponse({"id": "local", "state": "Running", "processUptime": uptime})
            case "GET", "admin", "functions":
                return JSONResponse(list(self._described.values()))
            case "GET", "admin", "functions", name if name in self._described:
                return JSONResponse(self._described[name])
            case "POST", "admin", "functions", name if name in self._functions:
                return await self._run(self._functions[name], await request.body())
            case _, "admin", ("host" | "functions"), *_:
                return Response(status_code=404)
        return PlainTextResponse("The host does not support this operation.", 501)

    async def _run(self, function: Function, body: bytes) -> Response:
        try:
            given = json.loads(body or b"{}")
            text = given.get("input", "")
        except (ValueError, AttributeError):
            return PlainTextResponse('The body must be {"input": "..."}.', 400)
        try:
            self._fire(function, text if isinstance(text, str) else json.dumps(text))
        except NotImplementedError as error:
            return PlainTextResponse(str(error), 501)
        return Response(status_code=202)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, because the host decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(
    app: Any, listener: socket.socket, *, drain_seconds: int, limits: ConnectionLimits | None = None
) -> AsyncIterator[None]:
    """Serve an ASGI app on this socket; at the end, running requests have `drain_seconds` to finish."""
    config = uvicorn.Config(
        app,
        http=type("ConnectionWithLimits", (PatientConnection,), {"limits": limits or ConnectionLimits()}),
        loop="asyncio",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=120,
        timeout_graceful_shutdown=drain_seconds,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield
    finally:
        asyncio.get_running_loop().remove_reader(listener)  # accept no more connections
        server.should_exit = True
        await task


def listen(port: int) -> socket.socket:
    """A listening socket on the loopback interface; port 0 selects a free port."""
    listener = socket.create_server(("127.0.0.1", port), backlog=2048)
    # Connections inherit the option. asyncio sets it only for sockets created with a protocol number, unlike this one.
    # Without it, a response of two writes waits 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
