"""The app as a client sees it: start, requests, runs, live output, large files."""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

from infra.emulator.processes import ROOT
from infra.local.environment import Environment

BIG = 100_000_000
Row = dict[str, Any]


def row(name: str, value: float, unit: str) -> Row:
    """One figure of the table."""
    return {"name": name, "value": round(value, 3), "unit": unit}


def _index() -> list[Row]:
    """Measure the import and indexing of all APIs in a new process (the best of five), and its memory."""
    code = (
        "import time, resource; start = time.perf_counter(); import function_app; function_app.app.get_functions();"
        "print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    samples: list[tuple[float, float]] = []
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        seconds, memory = map(float, done.stdout.split())
        samples.append((seconds, memory))
    return [
        row("import and indexing of all APIs", min(s for s, _ in samples), "s"),
        row("memory after that import", min(m for _, m in samples) / 1024, "MiB"),
    ]


class Client:
    """A registered client of the gateway."""

    def __init__(self, http: aiohttp.ClientSession, url: str, key: str):
        self.http, self.base, self.url, self.key = http, url, f"{url}/gateway", key
        self.headers = {"Authorization": f"Bearer {key}"}

    @classmethod
    async def register(cls, http: aiohttp.ClientSession, url: str) -> "Client":
        async with http.post(f"{url}/gateway/api/auth/login", json={"name": f"bench {time.time_ns()}"}) as answer:
            return cls(http, url, (await answer.json())["api_key"])

    async def get(self, path: str) -> Any:
        async with self.http.get(self.url + path, headers=self.headers) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def create(self, prompt: str, model: str = "bash") -> str:
        body = {"prompt": prompt, "model": model}
        async with self.http.post(f"{self.url}/api/runs", json=body, headers=self.headers) as answer:
            answer.raise_for_status()
            return (await answer.json())["id"]

    async def finish(self, run_id: str) -> dict[str, Any]:
        while True:
            run = await self.get(f"/api/runs/{run_id}")
            if run["status"] in ("completed", "failed", "cancelled"):
                if run["status"] != "completed":
                    raise RuntimeError(f"run {run_id}: {run['error']}")
                return run
            await asyncio.sleep(0.1)


async def _median(operation: Callable[[], Awaitable[Any]], count: int = 100) -> float:
    seconds: list[float] = []
    for _ in range(count):
        start = time.perf_counter()
        await operation()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


async def _requests(client: Client) -> list[Row]:
    """Measure a GET through the host, and compare it with reading the record directly in this process."""
    from functions.gateway.store import runs
    from shared import storage, tables

    storage.connect()
    run_id = await client.create("true")
    await client.finish(run_id)
    through = await _median(lambda: client.get(f"/api/runs/{run_id}"))
    direct = await _median(lambda: runs.get(run_id))
    await tables.close()
    return [
        row("GET of a run through the host", 1000 * through, "ms"),
        row("the same, relative to reading the record directly", through / direct, "x"),
    ]


async def _creation(client: Client) -> list[Row]:
    """Create runs at the same time: measure the slowest response, and the rate at which all complete."""
    rows: list[Row] = []
    for count in (1, 20, 100):
        seconds: list[float] = []

        async def one(seconds: list[float] = seconds) -> str:
            start = time.perf_counter()
            run_id = await client.create("true")
            seconds.append(time.perf_counter() - start)
            return run_id

        start = time.perf_counter()
        ids = await asyncio.gather(*(one() for _ in range(count)))
        await asyncio.gather(*(client.finish(run_id) for run_id in ids))
        rows.append(row(f"{count} runs created at once: slowest response", 1000 * max(seconds), "ms"))
        rows.append(row(f"{count} runs at once: completed", count / (time.perf_counter() - start) * 60, "runs/min"))
    return rows


async def _first_line(client: Client) -> list[Row]:
    """Measure the delay from a line's printing in the container to its arrival at the socket."""
    program = "import time\nfor i in range(10):\n    print(time.time(), flush=True)\n    time.sleep(0.5)\n"
    delays: list[float] = []
    async with client.http.ws_connect(f"{client.url}/ws") as socket:
        await socket.send_json({"type": "auth", "api_key": client.key})
        run_id = await client.create(program, "python")
        while (event := await socket.receive_json(timeout=60))["type"] != "run_complete":
            if event["type"] == "run_output" and event["run_id"] == run_id:
                delays += [time.time() - float(line) for line in event["text"].split()]
    return [
        row("a printed line on the socket: first", 1000 * delays[0], "ms"),
        row("a printed line on the socket: median", 1000 * statistics.median(delays), "ms"),
    ]


async def _big_file(client: Client) -> list[Row]:
    """Measure the upload and download of 100 MB through the host."""
    run_id = await client.create("true")
    await client.finish(run_id)
    form = aiohttp.FormData()
    form.add_field("file", bytes(BIG), filename="big.bin")
    start = time.perf_counter()
    async with client.http.post(
        f"{client.url}/api/runs/{run_id}/artifacts", data=form, headers=client.headers
    ) as answer:
        answer.raise_for_status()
        artifact = await answer.json()
    up = time.perf_counter() - start
    start, size = time.perf_counter(), 0
    async with client.http.get(f"{client.url}/api/artifacts/{artifact['id']}", headers=client.headers) as answer:
        async for chunk in answer.content.iter_any():
            size += len(chunk)
    if size != BIG:
        raise RuntimeError(f"downloaded {size} of {BIG} bytes")
    down = time.perf_counter() - start
    return [row("upload of 100 MB", up, "s"), row("download of 100 MB", down, "s")]


async def run() -> list[Row]:
    """Measure everything; return rows of name, value and unit."""
    rows = _index()
    with tempfile.TemporaryDirectory() as folder:
        environment = Environment.temporary(
            Path(folder), RUNYARD_ARTIFACT_LIMIT=str(BIG), RUNYARD_RATE_MINUTE="0", RUNYARD_RATE_SECOND="0"
        )
        start = time.perf_counter()
        await environment.start()
        rows.append(row("start of the whole environment", time.perf_counter() - start, "s"))
        os.environ.update(environment.app_settings)
        try:
            timeout, connector = aiohttp.ClientTimeout(600), aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
                client = await Client.register(http, environment.url)
                await client.finish(await client.create("true"))  # the first request of a process pays for imports
                for part in (_requests, _creation, _first_line, _big_file):
                    rows += await part(client)
        finally:
            await environment.stop()
    return rows
