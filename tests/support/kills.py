"""Killing the processes of an environment, and counting afterwards what became of its runs."""

import asyncio
import functools
from collections import Counter
from typing import Any, Literal

import httpx

from infra.emulator.processes import listening
from infra.local.environment import Environment
from tests.support.gateway import FINAL, Gateway
from tests.support.groups import groups
from tests.support.waiting import eventually

Process = Literal["host", "storage", "containers", "webpubsub"]
PORTS: dict[Process, str] = {"host": "host", "storage": "table", "containers": "containers", "webpubsub": "webpubsub"}

LINES = 40
_PROGRAM = """# number {number}
import time
for i in range({lines}):
    print({number}, i, flush=True)
    time.sleep({pause})
raise SystemExit({code})
"""


async def kill(environment: Environment, process: Process) -> None:
    """Kill a process with SIGKILL, and start it again."""
    child = getattr(environment, process)
    await child.kill()
    await child.start(functools.partial(listening, environment.ports[PORTS[process]]))


async def start_numbered(gateway: Gateway, number: int, pause: float) -> str:
    """Start a run that prints its number and counts lines, one each `pause` seconds; each fifth exits with code 3."""
    program = _PROGRAM.format(number=number, lines=LINES, pause=pause, code=_code(number))
    return (await gateway.run(program, "python"))["id"]


async def reach_end(gateway: Gateway, run_id: str, seconds: float = 120) -> dict[str, Any]:
    """A run in its final status, or `{"status": "missing"}`; the app may be unavailable for a moment."""

    async def read() -> dict[str, Any]:
        try:
            answer = await gateway.http.get(f"/gateway/api/runs/{run_id}")
        except httpx.TransportError:
            return {"status": "unknown"}
        if answer.status_code == 404:
            return {"status": "missing"}
        return answer.json() if answer.status_code == 200 else {"status": f"unknown: {answer.text}"}

    return await eventually(read, until=lambda run: run["status"] in (*FINAL, "missing"), seconds=seconds)


async def all_runs(gateway: Gateway) -> list[dict[str, Any]]:
    """Every run that the list shows, from the newest to the oldest."""
    found: list[dict[str, Any]] = []
    while True:
        answer = await gateway.http.get("/gateway/api/runs", params={"limit": 100, "offset": len(found)})
        assert answer.status_code == 200, answer.text
        found += answer.json()["runs"]
        if len(found) >= answer.json()["total"]:
            return found


async def is_whole(gateway: Gateway, run: dict[str, Any]) -> None:
    """Check that a numbered run ended as its program did, and that its output is there completely and once."""
    number = int(run["prompt"].split()[2])
    printed, code = "".join(f"{number} {i}\n" for i in range(LINES)), _code(number)
    ending = ("failed", f"Exited with code {code}") if code else ("completed", None)
    assert (run["status"], run["error"], run["result"]) == (*ending, printed), run["id"]
    files = (await gateway.http.get(f"/gateway/api/runs/{run['id']}/artifacts")).json()["artifacts"]
    assert ([file["filename"] for file in files], run["artifact_count"]) == (["claude.log"], 1), run["id"]
    assert await gateway.download(files[0]["id"]) == printed.encode(), run["id"]


async def counted_right(gateway: Gateway, runs: list[dict[str, Any]]) -> None:
    """Check that the counters and the lists by status agree with the records."""
    statuses = Counter(run["status"] for run in runs)
    stats = (await gateway.http.get("/gateway/api/dashboard/stats")).json()
    assert {status: stats[f"{status}_runs"] for status in FINAL} == {status: statuses[status] for status in FINAL}
    assert (stats["total_runs"], stats["active_runs"]) == (len(runs), 0)
    for status in FINAL:
        listed = (await gateway.http.get("/gateway/api/runs", params={"status": status})).json()["total"]
        assert listed == statuses[status], status


async def no_container_left(environment: Environment) -> None:
    """Wait until no container group exists."""

    async def names() -> list[str]:
        return await groups(environment)

    # The upkeep of each minute removes what a kill has left, and comes back to what it could not remove yet.
    await eventually(names, until=lambda found: not found, seconds=240)


class InFlight:
    """A number of runs that are always in progress: each that ends is followed by another one."""

    def __init__(self, gateway: Gateway, count: int, pauses: list[float]):
        self.accepted: list[str] = []
        self._gateway, self._pauses, self._stopped, self._numbers = gateway, pauses, False, iter(range(10**9))
        self._slots = [asyncio.create_task(self._slot()) for _ in range(count)]

    async def begun(self) -> None:
        """Wait until as many runs as are to be in progress have been accepted."""

        async def accepted() -> int:
            return len(self.accepted)

        await eventually(accepted, until=lambda count: count >= len(self._slots), seconds=60)

    async def end(self) -> None:
        """Start no more runs, and wait for the end of those in progress, or until that takes too long."""
        self._stopped = True
        _, waiting = await asyncio.wait(self._slots, timeout=240)
        for slot in waiting:
            slot.cancel()
        await asyncio.gather(*(slot for slot in self._slots if slot not in waiting))

    async def _slot(self) -> None:
        while not self._stopped:
            number = next(self._numbers)
            try:
                run_id = await start_numbered(self._gateway, number, self._pauses[number % len(self._pauses)])
            except (httpx.TransportError, AssertionError):  # the host, or what it needs, is being started again
                await asyncio.sleep(0.1)
                continue
            self.accepted.append(run_id)
            await reach_end(self._gateway, run_id, seconds=3600)  # kills in quick succession may delay it for long


def _code(number: int) -> int:
    return 3 if number % 5 == 0 else 0
