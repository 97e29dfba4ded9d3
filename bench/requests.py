"""Requests: what reads and lists take through the host and cost it, the memory of the host, and large files."""

import asyncio
import time

import aiohttp

from bench.figures import Call, Figure, memory, processor_seconds, timed, times
from bench.samples import EXECUTIONS, MAIN, RUNS
from bench.services import BIG, Client, running

FILLED, REPEAT, REQUESTS, AT_ONCE = 200, 100, 10_000, 8


async def run() -> list[Figure]:
    """Measure everything; ratios are to reading the records in this process."""
    async with running() as client:
        return [*await _requests(client), *await _memory_of_requests(client), *await _big_file(client)]


async def _requests(client: Client) -> list[Figure]:
    ids = {sample.name: (await sample.fill(sample.collection, FILLED))[-1] for sample in MAIN}
    run, execution = ids[RUNS.name], ids[EXECUTIONS.name]
    cases: list[tuple[str, str, Call | None, float | None]] = [
        ("the gateway's health", "/gateway/health", None, 1.5),
        ("a run", f"/gateway/api/runs/{run}", lambda: RUNS.collection.get(run), None),
        ("50 runs", "/gateway/api/runs?limit=50", lambda: RUNS.collection.page(limit=50), None),
        ("an execution", f"/stepflow/api/executions/{execution}", lambda: EXECUTIONS.collection.get(execution), None),
        ("50 executions", "/stepflow/api/executions?limit=50", lambda: EXECUTIONS.collection.page(limit=50), None),
    ]
    figures: list[Figure] = []
    for name, path, direct, goal in cases:
        await timed(lambda path=path: client.read(path), 20)
        before = processor_seconds(client.host)
        taken = await timed(lambda path=path: client.read(path), REPEAT)
        used = (processor_seconds(client.host) - before) / REPEAT
        figures += times(f"GET {name}", taken, at_most=goal)
        figures.append(Figure(f"GET {name}: processor time of the host", 1000 * used, "ms"))
        if direct is not None:
            ratio = sorted(taken)[REPEAT // 2] / sorted(await timed(direct, REPEAT))[REPEAT // 2]
            figures.append(Figure(f"GET {name}: relative to reading the records directly", ratio, "x"))
    return figures


async def _memory_of_requests(client: Client) -> list[Figure]:
    before, start = await memory(client.host), time.perf_counter()

    async def read() -> None:
        for _ in range(REQUESTS // AT_ONCE):
            await client.read("/gateway/api/models")

    await asyncio.gather(*(read() for _ in range(AT_ONCE)))
    seconds, after = time.perf_counter() - start, await memory(client.host)
    return [
        Figure("memory of the host", before, "MiB"),
        Figure(f"{REQUESTS:,} requests: growth of that", after - before, "MiB"),
        Figure(f"{REQUESTS:,} requests, {AT_ONCE} at once", REQUESTS / seconds, "1/s"),
    ]


async def _big_file(client: Client) -> list[Figure]:
    """The upload and the download of 100 MB; the memory is that of a host that has served other requests before."""
    run_id = await client.create()
    await client.finish(run_id)
    form = aiohttp.FormData()
    form.add_field("file", bytes(BIG), filename="big.bin")
    before, start = await memory(client.host), time.perf_counter()
    async with client.http.post(
        f"{client.url}/api/runs/{run_id}/artifacts", data=form, headers=client.headers
    ) as answer:
        answer.raise_for_status()
        artifact = (await answer.json())["id"]
    up, uploaded, start = time.perf_counter() - start, await memory(client.host), time.perf_counter()
    size = 0
    async with client.http.get(f"{client.url}/api/artifacts/{artifact}", headers=client.headers) as answer:
        async for chunk in answer.content.iter_any():
            size += len(chunk)
    if size != BIG:
        raise RuntimeError(f"downloaded {size} of {BIG} bytes")
    down, downloaded = time.perf_counter() - start, await memory(client.host)
    return [
        Figure("upload of 100 MB", up, "s"),
        Figure("upload of 100 MB: growth of the host's memory", uploaded - before, "MiB", at_most=64),
        Figure("download of 100 MB", down, "s"),
        Figure("download of 100 MB: growth of the host's memory", downloaded - uploaded, "MiB", at_most=64),
    ]
