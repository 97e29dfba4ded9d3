"""Development environments: how fast they are created, started and stopped, and what reports, lists and timers cost."""

import asyncio
import contextlib
import statistics
import tempfile
import time
from pathlib import Path

from bench.figures import Call, Figure, timed, times
from functions.dev8.access import Identity
from functions.dev8.environments import list_environments
from functions.dev8.records import RUNNING, CloudProvider, DevEnvironment
from functions.dev8.store import environments
from functions.dev8.timers import stop_idle
from infra.local.environment import Environment
from shared.tables.client import client
from shared.workflows import WorkflowClient
from tests.support.dev8 import Dev8, client_of, new_user
from tests.support.environments import connected
from tests.support.records import Counting
from tests.support.values import UNLIMITED

AT_ONCE, CYCLES, REPORTS, MANY, LISTED = 20, 5, 50, 1000, 20


async def run() -> list[Figure]:
    """Measure everything in an environment of its own."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        own = Environment.temporary(folder, DEV8_ENVIRONMENTS="2000", DEV8_USER_ENVIRONMENTS="2000", **UNLIMITED)
        stack.push_async_callback(own.stop)
        await own.start()
        await stack.enter_async_context(connected(**own.app_settings))
        dev8 = await stack.enter_async_context(client_of(own))
        await dev8.delete((await dev8.running())["id"])  # pays for imports
        return [*await _cycles(dev8), *await _reports(dev8), *await _at_once(dev8), *await _calls()]


async def _cycles(dev8: Dev8) -> list[Figure]:
    taken: dict[str, list[float]] = {"RUNNING": [], "STOPPED": [], "again": []}
    for _ in range(CYCLES):
        made = await dev8.create()
        for what, status, figure in (("", "RUNNING", "RUNNING"), ("stop", "STOPPED", "STOPPED"),
                                     ("start", "RUNNING", "again")):  # fmt: skip
            start = time.perf_counter()
            if what:
                await dev8.order(made["id"], what)
            await dev8.reach(made["id"], status)
            taken[figure].append(time.perf_counter() - start)
        await dev8.drop(made["id"])
    return [
        Figure("an environment runs after its creation: median", statistics.median(taken["RUNNING"]), "s", at_most=3),
        Figure("an environment is started: median", statistics.median(taken["again"]), "s", at_most=2),
        Figure("an environment is stopped: median", statistics.median(taken["STOPPED"]), "s", at_most=3),
    ]


async def _reports(dev8: Dev8) -> list[Figure]:
    made = await dev8.running()
    found = times("a report of activity", await timed(lambda: dev8.report(made["id"], ide=1), REPORTS), at_most=10)
    await dev8.drop(made["id"])
    return found


async def _at_once(dev8: Dev8) -> list[Figure]:
    async def create(user: str) -> tuple[float, str]:
        start = time.perf_counter()
        made = await dev8.create(userId=user)
        return time.perf_counter() - start, made["id"]

    made = await asyncio.gather(*(create(new_user()) for _ in range(AT_ONCE)))
    await asyncio.gather(*(dev8.delete(environment_id) for _, environment_id in made))
    return times(f"a creation is answered, {AT_ONCE} at once", [seconds for seconds, _ in made], at_most=300)


async def _calls() -> list[Figure]:
    wire = client().wire
    wire.transport = counting = Counting(wire.transport)
    figures: list[Figure] = []

    async def count(name: str, work: Call, at_most: float) -> None:
        counting.reset()
        await work()
        figures.append(Figure(name, sum(counting.calls.values()), "calls", at_most))

    await _fill(LISTED)
    await environments.totals({})
    for number in (LISTED, MANY):
        await _fill(number - await environments.count())
        await count(f"a list of 20 of {number} environments", lambda: list_environments(Identity()), 2)
    await count(f"the idle timer at {MANY} environments of which none is due", lambda: stop_idle(_NoWorkflows()), 1)
    return figures


async def _fill(number: int) -> None:
    def one() -> DevEnvironment:
        return DevEnvironment(
            name="x", status=RUNNING, cloud_provider=CloudProvider.AZURE, cloud_region="eastus", cpu_cores=1,
            memory_gb=1, storage_gb=10, base_image="x", in_creation=False,
        )  # fmt: skip

    await asyncio.gather(*(environments.insert(one()) for _ in range(number)))


class _NoWorkflows(WorkflowClient):
    """Nothing is due, so nothing may be started."""

    def __init__(self) -> None: ...
