"""Many executions at once."""

import asyncio
import time

from tests.support.stepflow import StepFlow

COMMAND = "echo STEP_START: {0}; for i in $(seq 20); do echo {0} $i; done; echo STEP_START: last {0}; echo end {0}"


async def all_at_once(stepflow: StepFlow, count: int) -> list[float]:
    """Create so many executions at once and see each to its right end; answers the seconds each creation took."""

    async def create(number: int) -> tuple[str, float]:
        begun = time.monotonic()
        execution_id = await stepflow.create(COMMAND.replace("{0}", f"n{number}"))
        return execution_id, time.monotonic() - begun

    created = await asyncio.gather(*(create(number) for number in range(count)))
    assert len({execution_id for execution_id, _ in created}) == count
    for number, (execution_id, _) in enumerate(created):
        found = await stepflow.reach(execution_id, seconds=180)
        assert found["execution"]["status"] == "completed", found["execution"]
        assert [step["name"] for step in found["steps"]] == [f"n{number}", f"last n{number}"]
        lines = [f"n{number} {n}" for n in range(1, 21)] + [f"end n{number}"]
        assert [line["content"] for step in found["steps"] for line in step["logs"]] == lines
    return [seconds for _, seconds in created]


async def test_twenty_at_once_are_answered_before_they_run(stepflow: StepFlow):
    seconds = await all_at_once(stepflow, 20)
    assert sorted(seconds)[10] < 2


async def test_a_hundred_at_once_are_all_accepted_and_all_right(stepflow: StepFlow):
    async with stepflow.watch() as watcher:
        await all_at_once(stepflow, 100)
        ended = {m["data"]["execution_id"] for m in watcher.heard if m["type"] == "execution_completed"}
    assert len(ended) >= 99  # the last one's message may still be on its way
