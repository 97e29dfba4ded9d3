"""Containers are removed however their run ends."""

from pathlib import Path

import pytest

from infra.local.environment import Environment
from tests.support.gateway import Gateway
from tests.support.groups import processes_with, removed
from tests.support.waiting import eventually


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
class TestCancel:
    async def test_a_running_program_is_ended_within_five_seconds(self, stack: Environment, gateway: Gateway):
        mark = "sleep 71.5"
        run = await gateway.run(f"trap '' TERM; {mark} & {mark}; wait")
        await gateway.reach(run["id"], "running")
        await eventually(lambda: processes_with("sleep\x0071.5"))
        assert (await gateway.http.delete(f"/gateway/api/runs/{run['id']}")).json()["status"] == "cancelled"
        await eventually(lambda: processes_with("sleep\x0071.5"), until=lambda found: not found, seconds=5)
        await eventually(lambda: removed(stack, run["id"]), seconds=5)
        assert (await gateway.get(run["id"]))["status"] == "cancelled"

    async def test_no_container_is_left_when_it_comes_during_its_creation(self, stack: Environment, gateway: Gateway):
        runs = [await gateway.run("sleep 72.5") for _ in range(5)]
        for run in runs:
            assert (await gateway.http.delete(f"/gateway/api/runs/{run['id']}")).status_code == 200
        for run in runs:
            await eventually(lambda run=run: removed(stack, run["id"]), seconds=20)
        await eventually(lambda: processes_with("sleep\x0072.5"), until=lambda found: not found, seconds=5)
        assert {(await gateway.get(run["id"]))["status"] for run in runs} == {"cancelled"}


@pytest.mark.parametrize("program", ["true", "exit 1", "sleep 60 # timeout"])
async def test_after_any_end_no_container_is_left(stack: Environment, gateway: Gateway, program: str):
    run = await gateway.reach((await gateway.run(program, timeout=1))["id"])
    await eventually(lambda: removed(stack, run["id"]))


async def test_a_container_that_stops_without_reporting_an_exit_fails_its_run(stack: Environment, gateway: Gateway):
    run = await gateway.run("kill -9 $PPID; sleep 60")
    done = await gateway.reach(run["id"], seconds=60)
    assert (done["status"], done["error"]) == ("failed", "The container stopped without reporting an exit code")
    await eventually(lambda: removed(stack, run["id"]))
