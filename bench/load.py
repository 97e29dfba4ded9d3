"""The app under load: container jobs beside deferred work, and many streams of server-sent events."""

import asyncio
import itertools
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from bench.app import Client, Row, row
from infra.emulator.processes import Child, listening, python
from infra.local.environment import Environment

APP = Path(__file__).parent / "loaded"
ITEMS, STREAMS, EVENTS = 500, 50, 250


async def _start_seconds(client: Client) -> float:
    """The seconds from the request for a run to the start of its command in a container."""
    begin = time.time()
    run = await client.finish(await client.create("import time; print(time.time())", "python"))
    return float(run["result"]) - begin


async def _beside_deferred_work(client: Client) -> list[Row]:
    """Measure how much later a container job starts beside 500 items of deferred work."""
    alone = statistics.median([await _start_seconds(client) for _ in range(5)])
    async with client.http.post(f"{client.base}/bench/load/items/{ITEMS}") as answer:
        answer.raise_for_status()
    began, beside, done = time.perf_counter(), list[float](), 0
    while done < ITEMS:
        beside.append(await _start_seconds(client))
        async with client.http.get(f"{client.base}/bench/load/items") as answer:
            done = (await answer.json())["done"]
    seconds = time.perf_counter() - began
    return [
        row("start of a container job", 1000 * alone, "ms"),
        row(f"largest delay of that beside {ITEMS} deferred items (at most 1000)", 1000 * (max(beside) - alone), "ms"),
        row(f"{ITEMS} deferred items beside container jobs", ITEMS / seconds, "items/s"),
    ]


async def _streams(client: Client) -> list[Row]:
    """Measure the largest gap between two events of one stream, each sending one every 20 ms."""

    async def gaps() -> list[float]:
        times: list[float] = []
        async with client.http.get(f"{client.base}/bench/load/events/{EVENTS}") as stream:
            async for line in stream.content:
                if line.startswith(b"data: "):
                    times.append(time.perf_counter())
        if len(times) != EVENTS:
            raise RuntimeError(f"{len(times)} of {EVENTS} events arrived")
        return [after - before for before, after in itertools.pairwise(times)]

    found = [gap for stream in await asyncio.gather(*(gaps() for _ in range(STREAMS))) for gap in stream]
    return [
        row(f"{STREAMS} streams of an event every 20 ms: median gap", 1000 * statistics.median(found), "ms"),
        row("largest gap of these (at most 250)", 1000 * max(found), "ms"),
    ]


async def run() -> list[dict[str, Any]]:
    """Measure everything; return rows of name, value and unit."""
    with tempfile.TemporaryDirectory() as folder:
        environment = Environment.temporary(Path(folder), RUNYARD_RATE_MINUTE="0", RUNYARD_RATE_SECOND="0")
        environment.serve = False
        await environment.start()
        port = environment.ports["host"]
        arguments = ["--app", str(APP), "--port", str(port), "--state", f"{folder}/host"]
        host = Child(
            "host",
            python("infra.emulator.host", *arguments),
            log=Path(folder, "host.log"),
            env=environment.app_settings,
        )
        environment.host = host
        try:
            await host.start(lambda: listening(port))
            timeout, connector = aiohttp.ClientTimeout(600), aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
                client = await Client.register(http, environment.url)
                await client.finish(await client.create("true"))  # the first request of a process pays for imports
                return [*await _beside_deferred_work(client), *await _streams(client)]
        finally:
            await environment.stop()
