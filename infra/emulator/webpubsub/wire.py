"""The HTTP and WebSocket surface on one port: routes, checks of version and token, and errors as answers."""

import logging
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import WSCloseCode, web
from aiohttp.typedefs import Handler, Middleware

from infra.emulator.origins import Origins
from infra.emulator.webpubsub import operations, sockets, tokens
from infra.emulator.webpubsub.filters import InvalidFilter
from infra.emulator.webpubsub.messages import LARGEST, Malformed
from infra.emulator.webpubsub.operations import NotSupported, RestError, RestOperation
from infra.emulator.webpubsub.service import SERVICE, WebPubSubService
from infra.emulator.webpubsub.settings import HubSettings
from infra.emulator.webpubsub.state import Hubs
from infra.emulator.webpubsub.upstream import Upstream

log = logging.getLogger(__name__)

API_VERSION = "2024-12-01"
HUB = "{hub:[A-Za-z][A-Za-z0-9_`,.\\[\\]]{0,127}}"


def routes() -> list[web.AbstractRouteDef]:
    """Every REST operation; the last route answers all other requests with 501."""
    hub = f"/api/hubs/{HUB}"
    connection, group, user = "/connections/{connection}", "/groups/{group}", "/users/{user}"
    table: list[tuple[str, str, RestOperation]] = [
        *(("POST", f"{scope}/:send", operations.send) for scope in ("", connection, group, user)),
        *(("POST", f"{scope}/:closeConnections", operations.close) for scope in ("", group, user)),
        ("DELETE", connection, operations.close),
        *(("HEAD", scope, operations.exists) for scope in (connection, group, user)),
        ("GET", f"{group}/connections", operations.list_members),
        ("PUT", f"{group}{connection}", operations.join),
        ("DELETE", f"{group}{connection}", operations.leave),
        ("PUT", f"{user}{group}", operations.join),
        ("DELETE", f"{user}{group}", operations.leave),
        ("DELETE", f"{connection}/groups", operations.leave),
        ("DELETE", f"{user}/groups", operations.leave),
        *(
            (method, "/permissions/{permission}" + connection, operations.permission)
            for method in ("PUT", "DELETE", "HEAD")
        ),
        ("POST", "/:generateToken", operations.generate_token),
    ]
    return [
        web.head("/api/health", health),
        *(web.route(method, hub + path, guarded(operation)) for method, path, operation in table),
        web.route("*", "/{path:.*}", unsupported),
    ]


def guarded(operation: RestOperation) -> RestOperation:
    """The operation behind the checks of token and version, with its errors as answers."""

    async def answer(request: web.Request) -> web.Response:
        service = request.app[SERVICE]
        token = service.token(request)
        try:
            if token is None:
                raise tokens.InvalidToken("A bearer token is required")
            service.claims(token, request)
        except tokens.InvalidToken as error:
            return problem(401, "Unauthorized", str(error))
        version = request.query.get("api-version")
        if version != API_VERSION:
            log.warning("501: api-version %s", version)
            return problem(501, "NotImplemented", f"api-version {version} is not implemented, only {API_VERSION}")
        try:
            return await operation(request)
        except (Malformed, InvalidFilter) as error:
            return problem(400, "BadRequest", str(error))
        except RestError as error:
            return problem(error.status, error.code, str(error))
        except NotSupported:
            return await unsupported(request)

    return answer


async def unsupported(request: web.Request) -> web.Response:
    """501 for every operation that the emulator does not have, with a warning in the log."""
    options = {name: value for name, value in request.query.items() if name != "access_token"}
    log.warning("501: %s %s %s", request.method, request.path, options)
    return problem(501, "NotImplemented", f"{request.method} {request.path} is not implemented by the emulator")


def problem(status: int, code: str, message: str) -> web.Response:
    """An error in the shape that the SDKs read."""
    return web.json_response({"code": code, "message": message}, status=status)


def guard(origins: Origins) -> Middleware:
    """The middleware that refuses requests of foreign web pages; only the sockets of clients are for pages."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers, for_pages = request.headers, request.path.startswith("/client/")
        if refused := origins.refusal(headers.get("Host"), headers.get("Origin"), for_pages=for_pages):
            return web.Response(status=refused[0], text=refused[1])
        return await handler(request)

    return check


async def health(request: web.Request) -> web.Response:
    """HEAD /api/health."""
    return web.Response()


@asynccontextmanager
async def serving(
    port: int, hubs: dict[str, HubSettings], *, key: str, origins: Origins | None = None
) -> AsyncIterator[WebPubSubService]:
    """Serve on a loopback port; at the end all clients are disconnected."""
    allow_many_sockets()
    host = f"127.0.0.1:{port}"
    service = WebPubSubService(hubs=Hubs(hubs), upstream=Upstream(host, key), key=key, host=host)
    app = web.Application(client_max_size=LARGEST, middlewares=[guard(origins or Origins())])
    app[SERVICE] = service
    app.router.add_get(f"/client/hubs/{HUB}", sockets.connect, allow_head=False)
    app.router.add_routes(routes())

    async def disconnect(_: web.Application) -> None:
        for hub in service.hubs.values():
            for connection in list(hub.connections.values()):
                connection.close("The service is shutting down", WSCloseCode.GOING_AWAY)

    app.on_shutdown.append(disconnect)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        # A thousand clients may connect at once, so the queue of pending connections is long.
        await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
        yield service
    finally:
        await runner.cleanup()
        await service.upstream.close()


def allow_many_sockets() -> None:
    """Raise this process's limit of open files to 10,240 where it is lower: every socket is an open file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 10_240 if hard == resource.RLIM_INFINITY else min(hard, 10_240)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
