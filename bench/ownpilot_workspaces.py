"""Code in workspaces of OwnPilot: executions in a warm container among files that do not change, and those that do."""

import asyncio
import time

import httpx

from bench.figures import Figure, times
from bench.services import running
from tests.support.ownpilot import OwnPilot
from tests.support.workers import pool_is_full

FILES, EXECUTIONS = 200, 50
NOTHING, CHANGE = "pass", "open('file-0', 'w').write('{}')"


async def figures() -> list[Figure]:
    """Measure both; the first execution, which brings all files, does not count."""
    async with (
        running(RUNYARD_WARM="python=1") as own,
        httpx.AsyncClient(base_url=own.environment.url, timeout=230, trust_env=False) as http,
    ):
        person = OwnPilot(http)
        workspace = (await person.post("/workspaces", name="w"))["id"]
        at = f"/workspaces/{workspace}/files"
        for first in range(0, FILES, 20):
            names = [f"{at}/file-{first + number}" for number in range(20)]
            await asyncio.gather(*(person.data("PUT", name, json={"content": name}) for name in names))
        await pool_is_full(http, 1)
        await _seconds(person, workspace, NOTHING)
        same = [await _seconds(person, workspace, NOTHING) for _ in range(EXECUTIONS)]
        changed = [await _seconds(person, workspace, CHANGE.format(number)) for number in range(EXECUTIONS)]
    return [
        *times(f"an execution in a warm container, {FILES} files unchanged", same, at_most=300),
        *times("an execution in a warm container that changes 1 file", changed),
    ]


async def _seconds(person: OwnPilot, workspace: str, code: str) -> float:
    start = time.perf_counter()
    done = await person.post(f"/workspaces/{workspace}/execute", language="python", code=code)
    if done["status"] != "completed":
        raise RuntimeError(f"an execution ended wrongly: {done}")
    return time.perf_counter() - start
