"""A hundred executions at once."""

import asyncio

import pytest

from tests.support.stepflow import StepFlow

pytestmark = pytest.mark.long

COUNT = 100
COMMAND = "echo STEP_START: {0}; for i in $(seq 20); do echo {0} $i; done; echo STEP_START: last {0}; echo end {0}"


async def test_a_hundred_at_once_are_all_accepted_and_all_right(stepflow: StepFlow):
    async with stepflow.watch() as watcher:
        ids = await asyncio.gather(*(stepflow.create(COMMAND.replace("{0}", f"n{number}")) for number in range(COUNT)))
        assert len(set(ids)) == COUNT
        for number, execution_id in enumerate(ids):
            found = await stepflow.reach(execution_id, seconds=180)
            assert found["execution"]["status"] == "completed", found["execution"]
            assert [step["name"] for step in found["steps"]] == [f"n{number}", f"last n{number}"]
            lines = [f"n{number} {n}" for n in range(1, 21)] + [f"end n{number}"]
            assert [line["content"] for step in found["steps"] for line in step["logs"]] == lines
        for execution_id in ids:
            await watcher.completed(execution_id)
