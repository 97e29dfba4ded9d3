"""The host is killed ten times while twenty runs are in progress: each run ends as it should, complete and once."""

import asyncio
import contextlib
import random
from collections import Counter
from pathlib import Path

import httpx
import pytest

from infra.local.environment import Environment
from tests.support.gateway import FINAL, Gateway, register
from tests.support.groups import groups
from tests.support.values import UNLIMITED
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

RUNS, KILLS = 20, 10

LINES = "import time\nfor i in range(40):\n    print({0}, i, flush=True)\n    time.sleep({1})\nraise SystemExit({2})\n"


async def test_ten_kills_under_twenty_runs(tmp_path: Path):
    environment = Environment.temporary(tmp_path, **UNLIMITED)
    await environment.start()
    try:
        gateway = await register(environment)
        chance = random.Random(7)
        runs = {
            (await gateway.run(LINES.format(n, 0.1 + n % 4 * 0.1, (n % 5 == 0 and 3) or 0), "python"))["id"]: n
            for n in range(RUNS)
        }
        for _ in range(KILLS):
            await asyncio.sleep(chance.uniform(0.1, 1.5))
            assert environment.host
            await environment.host.kill()
            await environment.start_host()
        ended = {run_id: await reach_end(gateway, run_id) for run_id in runs}
        for run_id, n in runs.items():
            run, printed = ended[run_id], "".join(f"{n} {i}\n" for i in range(40))
            assert (run["status"], run["error"]) == (
                ("failed", "Exited with code 3") if n % 5 == 0 else ("completed", None)
            )
            assert run["result"] == printed
            files = await gateway.http.get(f"/gateway/api/runs/{run_id}/artifacts")
            assert [file["filename"] for file in files.json()["artifacts"]] == ["claude.log"], "an artifact twice"
            assert run["artifact_count"] == 1
            assert await gateway.download(files.json()["artifacts"][0]["id"]) == printed.encode()
        counted = Counter(
            {status: (await gateway.http.get(f"/gateway/api/runs?status={status}")).json()["total"] for status in FINAL}
        )
        assert counted == Counter(completed=16, failed=4, cancelled=0)
        await eventually(lambda: none_left(environment))
        await gateway.http.aclose()
    finally:
        await environment.stop()


async def reach_end(gateway: Gateway, run_id: str) -> dict[str, object]:
    """A run in its final status; the host may be down for a moment."""

    async def read() -> dict[str, object]:
        with contextlib.suppress(httpx.TransportError):
            return await gateway.get(run_id)
        return {"status": "unknown"}

    return await eventually(read, until=lambda run: run["status"] in FINAL, seconds=90)


async def none_left(environment: Environment) -> bool:
    return await groups(environment) == []


async def test_a_hundred_runs_at_once_are_accepted_and_complete(stack: Environment, gateway: Gateway):
    count = 100
    before = (await gateway.http.get("/gateway/api/runs?status=completed")).json()["total"]

    async def one(number: int) -> str:
        return (await gateway.run(f"echo {number}"))["id"]

    ids = await asyncio.gather(*(one(number) for number in range(count)))
    assert len(set(ids)) == count
    runs = await asyncio.gather(*(gateway.reach(run_id, seconds=180) for run_id in ids))
    assert [(run["status"], run["result"]) for run in runs] == [("completed", f"{n}\n") for n in range(count)]
    after = (await gateway.http.get("/gateway/api/runs?status=completed")).json()["total"]
    assert after == before + count
