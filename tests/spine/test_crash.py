"""The host is killed while runs and executions are in progress: each ends correctly, completely and once.

`tests/campaigns/test_kills.py` does the same at length, and kills the other processes too.
"""

import asyncio
from pathlib import Path

import pytest

from infra.local.environment import Environment
from tests.support.gateway import register
from tests.support.kills import all_runs, counted_right, is_whole, kill, no_container_left, reach_end, start_numbered
from tests.support.stepflow import StepFlow, client_of
from tests.support.values import UNLIMITED

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


async def test_killing_the_host_neither_loses_nor_repeats_output(tmp_path: Path):
    environment = Environment.temporary(tmp_path, **UNLIMITED)
    await environment.start()
    try:
        gateway = await register(environment)
        async with client_of(environment) as stepflow:
            executions = [await stepflow.create(["python3", "-c", PROGRAM]) for _ in range(2)]
            runs = [await start_numbered(gateway, number, 0.1) for number in range(4)]
            for execution_id in executions:
                await stepflow.reach(execution_id, "running")
            for pause in (0.3, 0.9):
                await asyncio.sleep(pause)
                await kill(environment, "host")
            ended = [await reach_end(gateway, run_id) for run_id in runs]
            for run in ended:
                await is_whole(gateway, run)
            assert len(await all_runs(gateway)) == len(runs)
            await counted_right(gateway, ended)
            for execution_id in executions:
                await execution_is_whole(stepflow, execution_id)
        await no_container_left(environment)
        await gateway.http.aclose()
    finally:
        await environment.stop()


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
