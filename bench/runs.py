"""Runs: from request to result, its stages, what one run calls, and many runs at once."""

import asyncio
import statistics
import time
from collections import Counter

from bench.figures import Figure, times
from bench.recorder import Recorder
from bench.services import Client, recorded, running

SINGLE, STAGED, COUNTED, MANY = 25, 9, 5, 200
STORAGE = ("blob", "queue", "table")


async def run() -> list[Figure]:
    """Measure everything; the runs are of the program `true`."""
    async with running() as client:
        figures = [*await _singles(client), *await _first_line(client), *await _many(client)]
    async with recorded("containers", "host") as (client, recorder):
        figures += await _stages(client, recorder)
    async with recorded(*STORAGE, "containers", "webpubsub", "host") as (client, recorder):
        figures += await _calls(client, recorder)
    return figures


async def _one(client: Client) -> tuple[str, float, float]:
    """One run: its id, when the request for it was answered, and when its end was reported, both from the request."""
    async with client.updates() as updates:
        start = time.time()
        run_id = await client.create()
        accepted = time.time() - start
        return run_id, accepted, (await updates.completed(1))[run_id] - start


async def _singles(client: Client) -> list[Figure]:
    taken = [await _one(client) for _ in range(SINGLE)]
    return [
        *times("a run is accepted", [accepted for _, accepted, _ in taken], at_most=300),
        *times("a run, from request to result", [completed for _, _, completed in taken], at_most=180),
    ]


async def _first_line(client: Client) -> list[Figure]:
    """The delay from a line's printing in the container to its arrival at the socket."""
    program = "import time\nfor i in range(10):\n    print(time.time(), flush=True)\n    time.sleep(0.5)\n"
    delays: list[float] = []
    async with client.updates() as updates:
        run_id = await client.create(program, "python")
        while (event := await updates.socket.receive_json(timeout=60))["type"] != "run_complete":
            if event["type"] == "run_output" and event["run_id"] == run_id:
                delays += [time.time() - float(line) for line in event["text"].split()]
    return [
        Figure("a printed line on the socket: the first", 1000 * delays[0], "ms", at_most=1000),
        Figure("a printed line on the socket: median", 1000 * statistics.median(delays), "ms"),
    ]


async def _many(client: Client) -> list[Figure]:
    """Many runs created at once, followed by one socket."""
    answered: list[float] = []

    async def create(start: float) -> None:
        await client.create()
        answered.append(time.time() - start)

    async with client.updates() as updates:
        start = time.time()
        following = asyncio.create_task(updates.completed(MANY))
        await asyncio.gather(*(create(start) for _ in range(MANY)))
        moments = sorted((await following).values())
    many = f"{MANY} runs at once"
    return [
        *times(f"{many}: accepted", answered),
        Figure(f"{many}: first completion", moments[0] - start, "s", at_most=1.5),
        Figure(f"{many}: last completion", moments[-1] - start, "s"),
        Figure(f"{many}: completed", 60 * MANY / (moments[-1] - start), "runs/min", at_least=435),
    ]


async def _stages(client: Client, recorder: Recorder) -> list[Figure]:
    """The moments of one run as its services see them: medians, from the request on."""
    names = ("accepted", "container ordered", "container made", "first push", "last push", "end on the socket")
    found: list[list[float]] = []
    for _ in range(STAGED):
        await recorder.quiet()
        recorder.passed.clear()
        start = time.time()
        _, accepted, completed = await _one(client)
        await recorder.quiet()  # the last push is answered after the end is published
        ordered = next(each for each in recorder.passed if each.service == "containers" and each.method == "PUT")
        pushes = [each for each in recorder.passed if each.service == "host" and each.method == "POST"]
        moments = [ordered.start, ordered.end, pushes[0].start, pushes[-1].start]
        found.append([accepted, *(moment - start for moment in moments), completed])
    medians = [statistics.median(column) for column in zip(*found, strict=True)]
    return [
        Figure(f"stage of a run: {name}, from the request", 1000 * moment, "ms")
        for name, moment in zip(names, medians, strict=True)
    ]


async def _calls(client: Client, recorder: Recorder) -> list[Figure]:
    """What one run calls until all is quiet again: the median of several, as timers call services too."""
    found: list[Counter[str]] = []
    async with client.updates() as updates:
        for _ in range(COUNTED):
            await recorder.quiet()
            recorder.passed.clear()
            await client.create()
            await updates.completed(1)
            await recorder.quiet()
            found.append(recorder.counts())
    return [
        Figure(f"a run: {name}", statistics.median(counts[what] for counts in found), unit, goal)
        for name, what, unit, goal in (
            ("table calls", "table", "calls", 18), ("rows written", "rows written", "rows", 30),
            ("rows read", "rows read", "rows", None), ("blob calls", "blob", "calls", None),
            ("Web PubSub sends", "webpubsub", "calls", None), ("Container Instances", "containers", "calls", None),
            ("pushes of its container", "host", "calls", None),
        )
    ]  # fmt: skip
