"""The emulated Web PubSub and the publisher: idle sockets, a broadcast to all of them, and the cost of a publish."""

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from bench.figures import Figure, memory, processor_times, timed
from infra.emulator import webpubsub
from infra.emulator.processes import free_ports
from infra.emulator.webpubsub.tokens import client_token
from infra.emulator.webpubsub.wire import allow_many_sockets
from shared import realtime
from shared.settings import settings

if TYPE_CHECKING:
    from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient

SOCKETS, BROADCASTS, PUBLISHES, ROUNDS, EVENTS = 1000, 20, 300, 5, 300


async def run() -> list[Figure]:
    """Measure everything. Ratios are to the SDK or a plain POST."""
    allow_many_sockets()
    port, handler_port = free_ports(2)
    handler = {"url": f"http://127.0.0.1:{handler_port}/{{event}}", "user_events": "*"}
    hubs = {"idle": {"anonymous": True}, "talk": {"anonymous": True, "handlers": [handler]}}
    runner = await _handler(handler_port)
    with tempfile.TemporaryDirectory() as folder:
        child = await webpubsub.start(port, hubs, folder=Path(folder))
        assert child.process is not None
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
                rows = await _broadcasts(http, port, child.process.pid)
                rows += await _events(http, port, handler_port)
                return rows + await _publishes(http, port)
        finally:
            await child.stop()
            await runner.cleanup()


async def _broadcasts(http: aiohttp.ClientSession, port: int, server: int) -> list[Figure]:
    before, begin = await memory(server), time.perf_counter()
    url = f"ws://127.0.0.1:{port}/client/hubs/idle"
    sockets = [await http.ws_connect(url) for _ in range(SOCKETS)]
    opened, used = time.perf_counter() - begin, await memory(server) - before
    seconds: list[float] = []
    async with _sdk(port) as sdk:
        for number in range(BROADCASTS):
            begin = time.perf_counter()
            await sdk.send_to_all({"n": number})
            for socket in sockets:
                assert await socket.receive_json(timeout=30) == {"n": number}
            seconds.append(time.perf_counter() - begin)
    for socket in sockets:
        await socket.close()
    return [
        Figure(f"opening {SOCKETS} sockets", opened, "s"),
        Figure("memory of one idle socket", 1024 * used / SOCKETS, "KiB"),
        Figure(f"a broadcast until all {SOCKETS} have received it", 1000 * statistics.median(seconds), "ms"),
    ]


async def _events(http: aiohttp.ClientSession, port: int, handler_port: int) -> list[Figure]:
    async with http.ws_connect(f"ws://127.0.0.1:{port}/client/hubs/talk") as socket:

        async def event() -> None:
            await socket.send_str("hello")
            assert (await socket.receive_str(timeout=30)) == "hello"

        async def post() -> None:
            async with http.post(f"http://127.0.0.1:{handler_port}/message", data=b"hello") as answer:
                assert await answer.read() == b"hello"

        through, plain = [statistics.median(await timed(each, EVENTS)) for each in (event, post)]
    return [
        Figure("a frame to the handler and its reply back", 1000 * through, "ms"),
        Figure("the same, relative to a POST to the handler", through / plain, "x"),
    ]


async def _publishes(http: aiohttp.ClientSession, port: int) -> list[Figure]:
    """Compare a publish by the app, by the SDK, and by a POST with a ready token."""
    os.environ["RUNYARD_WEBPUBSUB"] = webpubsub.connection_string(port)
    settings.cache_clear()
    message = {"type": "log", "line": "x" * 200}
    url = f"http://127.0.0.1:{port}/api/hubs/idle/groups/g/:send"
    headers = {"Authorization": f"Bearer {_token(url)}"}

    async def post() -> None:
        async with http.post(url, params={"api-version": "2024-12-01"}, json=message, headers=headers) as answer:
            assert answer.status == 202

    async with _sdk(port) as sdk:
        taken = await processor_times(
            ROUNDS,
            PUBLISHES,
            ours=lambda: realtime.publish("idle", message, group="g"),
            theirs=lambda: sdk.send_to_group("g", message),
            bare=post,
        )
    await realtime.close()
    ours, theirs, bare = [min(taken[kind]) for kind in ("ours", "theirs", "bare")]
    return [
        Figure("processor time of a publish", 1000 * ours, "ms"),
        Figure("the same, relative to the SDK", ours / theirs, "x"),
        Figure("the same, relative to a bare POST", ours / bare, "x"),
    ]


def _sdk(port: int) -> "WebPubSubServiceClient":
    from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient

    return WebPubSubServiceClient.from_connection_string(webpubsub.connection_string(port), "idle")


def _token(audience: str) -> str:
    return client_token(audience, key=webpubsub.KEY, user_id=None, roles=[], groups=[], minutes=5)


async def _handler(port: int) -> web.AppRunner:
    """Start an event handler that replies with the event's data."""

    async def echo(request: web.Request) -> web.Response:
        if request.method == "OPTIONS":
            return web.Response(headers={"WebHook-Allowed-Origin": "*"})
        return web.Response(body=await request.read(), content_type="text/plain")

    app = web.Application()
    app.router.add_route("*", "/{event}", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner
