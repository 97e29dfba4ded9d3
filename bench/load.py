"""The app under load: container jobs beside deferred work, and many streams of server-sent events."""

import asyncio
import itertools
import statistics
import time
from pathlib import Path

from bench.figures import Figure
from bench.services import Client, running

APP = Path(__file__).parent / "loaded"
ITEMS, STREAMS, EVENTS = 500, 50, 250


async def _start_seconds(client: Client) -> float:
    """The seconds from the request for a run to the start of its command in a container."""
    begin = time.time()
    run = await client.finish(await client.create("import time; print(time.time())", "python"))
    return float(run["result"]) - begin


async def _beside_deferred_work(client: Client) -> list[Figure]:
    """Measure how much later a container job starts beside 500 items of deferred work."""
    alone = statistics.median([await _start_seconds(client) for _ in range(5)])
    async with client.http.post(f"{client.environment.url}/bench/load/items/{ITEMS}") as answer:
        answer.raise_for_status()
    began, beside, done = time.perf_counter(), list[float](), 0
    while done < ITEMS:
        beside.append(await _start_seconds(client))
        async with client.http.get(f"{client.environment.url}/bench/load/items") as answer:
            done = (await answer.json())["done"]
    seconds = time.perf_counter() - began
    return [
        Figure("start of a container job", 1000 * alone, "ms"),
        Figure(
            f"largest delay of that beside {ITEMS} deferred items", 1000 * (max(beside) - alone), "ms", at_most=1000
        ),
        Figure(f"{ITEMS} deferred items beside container jobs", ITEMS / seconds, "items/s"),
    ]


async def _streams(client: Client) -> list[Figure]:
    """Measure the largest gap between two events of one stream, each sending one every 20 ms."""

    async def gaps() -> list[float]:
        times: list[float] = []
        async with client.http.get(f"{client.environment.url}/bench/load/events/{EVENTS}") as stream:
            async for line in stream.content:
                if line.startswith(b"data: "):
                    times.append(time.perf_counter())
        if len(times) != EVENTS:
            raise RuntimeError(f"{len(times)} of {EVENTS} events arrived")
        return [after - before for before, after in itertools.pairwise(times)]

    found = [gap for stream in await asyncio.gather(*(gaps() for _ in range(STREAMS))) for gap in stream]
    return [
        Figure(f"{STREAMS} streams of an event every 20 ms: median gap", 1000 * statistics.median(found), "ms"),
        Figure("largest gap of these", 1000 * max(found), "ms", at_most=250),
    ]


async def run() -> list[Figure]:
    """Measure everything with an app that has a slice more, which makes the load."""
    async with running(app=APP) as client:
        return [*await _beside_deferred_work(client), *await _streams(client)]
