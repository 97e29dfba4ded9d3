"""Anymind: executions in new and in warm containers, what one calls, builds, uploads, and the list of agents."""

import asyncio
import statistics
import time
from collections import Counter

from bench.figures import Figure, memory, times
from bench.memory_tables import MemoryTables
from bench.recorder import Recorder
from bench.services import Client, recorded, running
from functions.anymind.bodies import SkipLimit
from functions.anymind.records import Agent
from functions.anymind.store import agents
from infra.emulator import azurite
from shared.tables import close
from shared.tables.client import client
from tests.support.agents import ECHO, agent_of, built, execute, ready, send, upload
from tests.support.anymind import Anymind, registered
from tests.support.environments import connected
from tests.support.records import Counting
from tests.support.workers import pool_is_full

COLD, WARM, AT_ONCE, COUNTED, BUILDS = 20, 200, 10, 5, 5
BIG = 100_000_000
SIZES = (100, 10_000)


async def run() -> list[Figure]:
    """Measure everything; the agent returns what it is called with."""
    async with running() as own, registered(own.environment) as user:
        figures = [*await _cold(user), *await _builds(user), *await _upload(own, user)]
    async with running(RUNYARD_WARM=f"python={AT_ONCE}") as own, registered(own.environment) as user:
        figures += await _warm(user)
    async with recorded("table", "blob", RUNYARD_WARM="python=1") as (own, recorder):
        async with registered(own.environment) as user:
            figures += await _calls(user, recorder)
    return [*figures, *await _lists()]


async def _executed(user: Anymind, agent: int, count: int) -> list[float]:
    """The seconds of so many executions, one after the other."""
    taken: list[float] = []
    for number in range(count):
        start = time.perf_counter()
        done = await execute(user, agent, number=number)
        taken.append(time.perf_counter() - start)
        if done["output_data"] != {"number": number}:
            raise RuntimeError(f"an execution ended wrongly: {done}")
    return taken


async def _cold(user: Anymind) -> list[Figure]:
    agent = await ready(user, agent_of(ECHO))
    await _executed(user, agent, 1)
    return times("an execution in a new container", await _executed(user, agent, COLD), at_most=1500)


async def _warm(user: Anymind) -> list[Figure]:
    """First as many executions as there are containers, at once; then many, one after the other."""
    agent = await ready(user, agent_of(ECHO))
    await pool_is_full(user.http, AT_ONCE)
    start = time.perf_counter()
    await asyncio.gather(*(execute(user, agent, number=number) for number in range(AT_ONCE)))
    together = time.perf_counter() - start
    taken = await _executed(user, agent, WARM)
    median, high = times("an execution in a warm container", taken, at_most=150)
    high.at_most = 300
    return [median, high, Figure(f"{AT_ONCE} executions at once, each in a warm container", together, "s", 1)]


async def _calls(user: Anymind, recorder: Recorder) -> list[Figure]:
    """What the app calls for one execution in a warm container: the median of several, as timers call services too."""
    agent = await ready(user, agent_of("def handle(payload):\n    print('hello')\n    return payload\n"))
    await pool_is_full(user.http, 1)
    await execute(user, agent)
    found: list[Counter[str]] = []
    for _ in range(COUNTED):
        await recorder.quiet()
        recorder.passed.clear()
        await execute(user, agent)
        await recorder.quiet()
        # The download of the agent by the container is not a call of the app.
        recorder.passed[:] = [p for p in recorder.passed if not (p.method == "GET" and "/anymind.build/" in p.path)]
        found.append(recorder.counts())
    return [
        Figure(
            f"an execution in a warm container: {what} calls", statistics.median(c[what] for c in found), "calls", most
        )
        for what, most in (("table", 12), ("blob", 1))
    ]


async def _builds(user: Anymind) -> list[Figure]:
    taken: list[float] = []
    for _ in range(BUILDS):
        version = await upload(user, agent_of(ECHO))
        start = time.perf_counter()
        if (await built(user, version["agent_id"]))["status"] != "ready":
            raise RuntimeError("a build has failed")
        taken.append(time.perf_counter() - start)
    return times("a build without dependencies, from the response to ready", taken, at_most=2000)


async def _upload(own: Client, user: Anymind) -> list[Figure]:
    """An archive of 100 MB; the memory is that of a host that has served other requests before."""
    agent = (await user.agent())["id"]
    before, start = await memory(own.host), time.perf_counter()
    answer = await send(user, agent, bytes(BIG))
    seconds, after = time.perf_counter() - start, await memory(own.host)
    answer.raise_for_status()
    return [
        Figure("upload of an archive of 100 MB", BIG / 1e6 / seconds, "MB/s", at_least=40),
        Figure("upload of an archive of 100 MB: growth of the host's memory", after - before, "MiB", at_most=64),
    ]


async def _lists() -> list[Figure]:
    """The calls of the first page of one user's agents, with tables in memory."""
    figures: list[Figure] = []
    async with connected(AzureWebJobsStorage=azurite.connection_string(1, 2, 3)):
        for size in SIZES:
            await close()  # the counters of the last size
            tables = client().wire.transport = MemoryTables()
            for start in range(0, size, 100):
                await asyncio.gather(*(agents.insert(Agent(user_id="1", name=f"a{start + n}")) for n in range(100)))
            counting = client().wire.transport = Counting(tables)
            found = await SkipLimit(0, 100).of(agents, {"user_id": "1", "deleted": False})
            if [agent.name for agent in found] != [f"a{number}" for number in range(100)]:
                raise RuntimeError("the list has other agents")
            figures.append(Figure(f"100 of {size:,} agents", counting.calls.total(), "calls", 2))
    return figures
