"""The host is killed while executions print: no line is lost, none comes twice, and the steps are right."""

import asyncio
from pathlib import Path

import pytest

from infra.local.environment import Environment
from tests.support.stepflow import StepFlow, client_of
from tests.support.values import UNLIMITED

pytestmark = pytest.mark.long

LINES = 400
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


async def test_kills_of_the_host_lose_and_repeat_nothing(tmp_path: Path):
    environment = Environment.temporary(tmp_path, **UNLIMITED)
    await environment.start()
    try:
        async with client_of(environment) as stepflow:
            ids = [await stepflow.create(["python3", "-c", PROGRAM]) for _ in range(5)]
            for execution_id in ids:
                await stepflow.reach(execution_id, "running")
            for pause in (0.3, 1.1, 0.7):
                await asyncio.sleep(pause)  # a moment like any other
                assert environment.host
                await environment.host.kill()
                await environment.start_host()
            await asyncio.gather(*(_is_whole(stepflow, execution_id) for execution_id in ids))
    finally:
        await environment.stop()


async def _is_whole(stepflow: StepFlow, execution_id: str) -> None:
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
