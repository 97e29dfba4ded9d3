"""The web server: REST and client side on one port."""

import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import WSCloseCode, web

from infra.emulator.webpubsub import rest, sockets
from infra.emulator.webpubsub.messages import LARGEST
from infra.emulator.webpubsub.service import SERVICE, Service
from infra.emulator.webpubsub.settings import HubSettings
from infra.emulator.webpubsub.state import Hubs
from infra.emulator.webpubsub.upstream import Upstream


@asynccontextmanager
async def serving(port: int, hubs: dict[str, HubSettings], *, key: str) -> AsyncIterator[Service]:
    """Serve on a loopback port; at the end all clients are disconnected."""
    allow_many_sockets()
    host = f"127.0.0.1:{port}"
    service = Service(hubs=Hubs(hubs), upstream=Upstream(host, key), key=key, host=host)
    app = web.Application(client_max_size=LARGEST)
    app[SERVICE] = service
    app.router.add_get(f"/client/hubs/{rest.HUB}", sockets.connect, allow_head=False)
    app.router.add_routes(rest.routes())

    async def disconnect(_: web.Application) -> None:
        for hub in service.hubs.values():
            for connection in list(hub.connections.values()):
                connection.close("The service is shutting down", WSCloseCode.GOING_AWAY)

    app.on_shutdown.append(disconnect)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        # A long queue of pending connections: a thousand clients may come at once.
        await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
        yield service
    finally:
        await runner.cleanup()
        await service.upstream.close()


def allow_many_sockets() -> None:
    """Raise this process's limit of open files, of which every socket is one, where it is lower than 10,240."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 10_240 if hard == resource.RLIM_INFINITY else min(hard, 10_240)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
