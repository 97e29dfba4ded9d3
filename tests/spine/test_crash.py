"""The host is killed while it cleans up, and while runs and executions are in progress: each ends correctly and once.

`tests/campaigns/test_kills.py` does the same at length, and kills the other processes too.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from infra.local.environment import Environment
from tests.support.gateway import Gateway, register
from tests.support.kills import all_runs, counted_right, is_whole, kill, no_container_left, reach_end, start_numbered
from tests.support.stepflow import StepFlow, client_of
from tests.support.values import UNLIMITED
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

LINES = 200
PROGRAM = f"""
import time
for step in range(4):
    print(f"STEP_START: step {{step}} [duration={{step}}]")
    for line in range({LINES // 4}):
        print(f"{{step}} {{line}}")
        time.sleep(0.02)
    open(f"{{step}}.txt", "w").write(str(step))
    print(f"ARTIFACT: {{step}}.txt: of {{step}}")
print("STEP_COMPLETE: step 3")
print("META: done: yes")
"""


@dataclass
class Own:
    """An environment whose host may be killed, and a client of its gateway."""

    environment: Environment
    gateway: Gateway


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Own]:
    environment = Environment.temporary(tmp_path_factory.mktemp("crash"), **UNLIMITED)
    await environment.start()
    try:
        gateway = await register(environment)
        yield Own(environment, gateway)
        await gateway.http.aclose()
    finally:
        await environment.stop()


async def test_a_killed_cleanup_continues_and_deletes_what_its_dry_run_counted(own: Own):
    gateway, http = own.gateway, own.gateway.http

    async def clean(**body: Any) -> dict[str, Any]:
        answer = await http.post("/gateway/api/system/cleanup", json={"older_than_days": 0, **body})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def total(what: str) -> int:
        return (await http.get(f"/gateway/api/{what}")).json()["total"]

    ids = [(await gateway.run("exit 1"))["id"] for _ in range(4)] + [(await gateway.run("echo x"))["id"]]
    await asyncio.gather(*(gateway.reach(run_id) for run_id in ids))
    await eventually(lambda: total("alerts"), until=lambda count: count == 4)
    upload = {"file": ("a", b"x" * 1_500_000)}
    kept = await http.post(f"/gateway/api/runs/{ids[0]}/artifacts", files=upload)
    young = (await gateway.run("sleep 300"))["id"]
    await gateway.reach(young, "running")
    due = {"deleted_runs": 5, "deleted_artifacts": 2, "deleted_alerts": 4, "space_freed": "1.5MB"}
    assert await clean(dry_run=True) == due
    assert await total("runs") == 6
    cleanup = asyncio.create_task(clean())

    async def begun() -> bool:
        return await total("runs") < 6 or cleanup.done()

    await eventually(begun)
    await kill(own.environment, "host")
    await asyncio.gather(cleanup, return_exceptions=True)
    await eventually(lambda: total("runs"), until=lambda count: count == 1, seconds=60)
    assert [run["id"] for run in await all_runs(gateway)] == [young]
    assert (await total("alerts"), await total("artifacts")) == (0, 0)
    assert (await http.get(f"/gateway/api/artifacts/{kept.json()['id']}")).status_code == 404
    assert (await http.get(f"/gateway/api/runs/{ids[0]}")).status_code == 404
    nothing = {"deleted_runs": 0, "deleted_artifacts": 0, "deleted_alerts": 0, "space_freed": "0MB"}
    assert await clean() == nothing
    assert (await http.delete(f"/gateway/api/runs/{young}")).status_code == 200


async def test_killing_the_host_neither_loses_nor_repeats_output(own: Own):
    gateway = own.gateway
    before = {run["id"] for run in await all_runs(gateway)}
    async with client_of(own.environment) as stepflow:
        execution_id = await stepflow.create(["python3", "-c", PROGRAM])
        runs = [await start_numbered(gateway, number, 0.1) for number in range(3)]
        await stepflow.reach(execution_id, "running")
        await asyncio.sleep(0.3)
        await kill(own.environment, "host")
        ended = [await reach_end(gateway, run_id) for run_id in runs]
        for run in ended:
            await is_whole(gateway, run)
        assert {run["id"] for run in await all_runs(gateway)} == {*before, *runs}
        await counted_right(gateway, await all_runs(gateway))
        await execution_is_whole(stepflow, execution_id)
    await no_container_left(own.environment)


async def execution_is_whole(stepflow: StepFlow, execution_id: str) -> None:
    """Check that an execution of `PROGRAM` ended well, and that its output is there completely and once."""
    found = await stepflow.reach(execution_id, seconds=90)
    execution = found["execution"]
    assert (execution["status"], execution["exit_code"]) == ("completed", 0), execution
    lines = [f"{step} {line}" for step in range(4) for line in range(LINES // 4)]
    assert await stepflow.logs(execution_id) == lines
    assert [(step["name"], step["status"], step["log_count"]) for step in found["steps"]] == [
        (f"step {step}", "completed", LINES // 4) for step in range(4)
    ]
    assert [[line["content"] for line in step["logs"]] for step in found["steps"]] == [
        lines[step * LINES // 4 : (step + 1) * LINES // 4] for step in range(4)
    ]
    assert (execution["total_steps"], execution["completed_steps"]) == (4, 4)
    assert execution["metadata"] == {"done": "yes"}
    assert [artifact["name"] for artifact in found["artifacts"]] == [f"{step}.txt" for step in range(4)]
    for step, artifact in enumerate(found["artifacts"]):
        assert (await stepflow.http.get(artifact["download_url"])).content == str(step).encode()
