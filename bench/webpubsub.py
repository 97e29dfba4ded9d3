"""The emulated Web PubSub and the publisher: idle sockets, a broadcast to all of them, and the cost of a publish."""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from infra.emulator import webpubsub
from infra.emulator.processes import free_ports
from infra.emulator.webpubsub.tokens import client_token
from infra.emulator.webpubsub.wire import allow_many_sockets
from shared import realtime
from shared.settings import settings

if TYPE_CHECKING:
    from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient

SOCKETS, BROADCASTS, PUBLISHES, EVENTS = 1000, 20, 300, 300


async def run() -> list[dict[str, Any]]:
    """Measure everything; return rows of name, value and unit; ratios are to the SDK or a plain POST."""
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


async def _broadcasts(http: aiohttp.ClientSession, port: int, server: int) -> list[dict[str, Any]]:
    before, begin = await _memory(server), time.perf_counter()
    url = f"ws://127.0.0.1:{port}/client/hubs/idle"
    sockets = [await http.ws_connect(url) for _ in range(SOCKETS)]
    opened, memory = time.perf_counter() - begin, await _memory(server) - before
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
        _row(f"opening {SOCKETS} sockets", opened, "s"),
        _row("memory of one idle socket", memory / SOCKETS, "KiB"),
        _row(f"a broadcast until all {SOCKETS} have received it", 1000 * statistics.median(seconds), "ms"),
    ]


async def _events(http: aiohttp.ClientSession, port: int, handler_port: int) -> list[dict[str, Any]]:
    async with http.ws_connect(f"ws://127.0.0.1:{port}/client/hubs/talk") as socket:

        async def event() -> None:
            await socket.send_str("hello")
            assert (await socket.receive_str(timeout=30)) == "hello"

        async def post() -> None:
            async with http.post(f"http://127.0.0.1:{handler_port}/message", data=b"hello") as answer:
                assert await answer.read() == b"hello"

        through, plain = await _median(event), await _median(post)
    return [
        _row("a frame to the handler and its reply back", 1000 * through, "ms"),
        _row("the same, relative to a POST to the handler", through / plain, "x"),
    ]


async def _median(operation: Callable[[], Awaitable[None]]) -> float:
    seconds: list[float] = []
    for _ in range(EVENTS):
        begin = time.perf_counter()
        await operation()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


async def _publishes(http: aiohttp.ClientSession, port: int) -> list[dict[str, Any]]:
    """Measure this process's CPU time for a publish: by the publisher, by the SDK, and by a POST with a ready token."""
    os.environ["RUNYARD_WEBPUBSUB"] = webpubsub.connection_string(port)
    settings.cache_clear()
    message = {"type": "log", "line": "x" * 200}
    url = f"http://127.0.0.1:{port}/api/hubs/idle/groups/g/:send"
    headers = {"Authorization": f"Bearer {_token(url)}"}

    async def post() -> None:
        async with http.post(url, params={"api-version": "2024-12-01"}, json=message, headers=headers) as answer:
            assert answer.status == 202

    async with _sdk(port) as sdk:
        ours: list[float] = []
        theirs: list[float] = []
        bare: list[float] = []
        for _ in range(5):  # in turns, so that other load on the machine affects all three
            ours.append(await _cpu(lambda: realtime.publish("idle", message, group="g")))
            theirs.append(await _cpu(lambda: sdk.send_to_group("g", message)))
            bare.append(await _cpu(post))
    await realtime.close()
    return [
        _row("CPU of a publish", 1000 * min(ours), "ms"),
        _row("the same, relative to the SDK", min(ours) / min(theirs), "x"),
        _row("the same, relative to a bare POST", min(ours) / min(bare), "x"),
    ]


async def _cpu(operation: Callable[[], Awaitable[None]]) -> float:
    begin = time.process_time()
    for _ in range(PUBLISHES):
        await operation()
    return (time.process_time() - begin) / PUBLISHES


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


async def _memory(pid: int) -> int:
    """Return the resident memory of a process in KiB."""
    ps = await asyncio.create_subprocess_exec("ps", "-o", "rss=", "-p", str(pid), stdout=asyncio.subprocess.PIPE)
    output, _ = await ps.communicate()
    return int(output)


def _row(name: str, value: float, unit: str) -> dict[str, Any]:
    return {"name": name, "value": round(value, 2), "unit": unit}


if __name__ == "__main__":
    for row in asyncio.run(run()):
        print(f"{row['name']:50} {row['value']:10} {row['unit']}")
