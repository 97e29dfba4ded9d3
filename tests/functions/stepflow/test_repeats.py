"""Batches of output that repeat, overlap or arrive early, and hosts that die between an effect and its response."""

import asyncio
import logging
import random
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest

import function_app  # noqa: F401 - registers the kinds of jobs
from functions.jobs.ending import settle
from functions.stepflow import log_index
from functions.stepflow.executions import _steps, get_execution
from functions.stepflow.job import KIND, StepflowExecution
from functions.stepflow.records import Execution
from functions.stepflow.store import executions
from functions.stepflow.transcript import ArtifactMark, LogLine, Transcript
from infra.local.environment import Environment
from shared import tables
from shared.jobs import Exit, Job, Printed, jobs, new_token
from shared.order import AGES
from tests.support.stepflow import StepFlow

pytestmark = pytest.mark.usefixtures("app")

PIECES = (
    "STEP_START: a\n", "STEP_START: b [x=1]\n", "STEP_COMPLETE: a\n", "STEP_ERROR: broken\n", "META: k: v\n", "\n",
    "ARTIFACT: none.txt: it\n", "a line\n", "another line\r\n", "größer\n", "x" * 300 + "\n",
)  # fmt: skip


@dataclass
class Runner:
    """What pushes an execution's output: the tests, in the place of a container."""

    http: httpx.AsyncClient
    id: str

    async def push(self, offset: int, data: bytes) -> int:
        """Push output; answers the status."""
        return (await self.http.post(f"/jobs/{self.id}/events", params={"offset": offset}, content=data)).status_code

    async def end(self) -> None:
        """End the job as its workflow would."""
        size = (await jobs.get(self.id)).size
        exit_ = {"exit_code": 0, "reason": "exited", "size": size}
        assert (await self.http.post(f"/jobs/{self.id}/exit", json=exit_)).status_code == 200
        for _ in range(2):  # an activity may be repeated
            await settle(self.id, KIND, Exit())


async def runner(stack: Environment, **members: Any) -> Runner:
    """The runner of a new execution without a container."""
    token, hashed = new_token()
    execution = await executions.insert(Execution(name="by hand", command="true", **members))
    await jobs.insert(Job(id=execution.id, kind=KIND, token_hash=hashed, timeout=600))
    headers = {"Authorization": f"Bearer {token}"}
    return Runner(httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=60, trust_env=False), execution.id)


def now() -> Printed:
    return Printed([(0, datetime.now(UTC))])


async def is_right(stepflow: StepFlow, execution_id: str, output: bytes) -> None:
    """Check that the execution is as if its output had been read at once."""
    expected = Transcript()
    changes = expected.read(output, lambda _: datetime.now(UTC), end=True)
    expected.close(0, datetime.now(UTC))
    found = await stepflow.data(f"/api/executions/{execution_id}")
    assert await stepflow.logs(execution_id) == [each.content for each in changes if isinstance(each, LogLine)]
    assert [(s["name"], s["status"], s["metadata"], s["log_count"]) for s in found["steps"]] == [
        (s.name, s.status, s.metadata, (s.end_line or 0) - s.first_line) for s in expected.steps
    ]
    marks = [each for each in changes if isinstance(each, ArtifactMark)]
    assert len(found["artifacts"]) == len(marks)
    assert found["execution"]["completed_steps"] == expected.completed_steps
    assert found["execution"]["metadata"] == expected.noted
    assert found["execution"]["status"] == "completed"


@pytest.mark.parametrize("seed", range(4))
async def test_repeated_overlapping_and_early_pushes_do_not_change_the_result(
    stack: Environment, stepflow: StepFlow, seed: int
):
    chance, pusher = random.Random(seed), await runner(stack)
    output = "".join(chance.choices(PIECES, k=80)).encode() + b"the end"
    assert await pusher.push(0, b"") == 200
    place = 0
    while place < len(output):
        end = min(len(output), place + chance.randint(1, 400))
        if chance.random() < 0.3 and end < len(output):
            assert await pusher.push(end, output[end : end + 50]) == 409
        start = max(0, place - chance.choice([0, 0, 7, 200]))
        for _ in range(chance.choice([1, 1, 2])):
            assert await pusher.push(start, output[start:end]) == 200
        place = end
    await pusher.end()
    await is_right(stepflow, pusher.id, output)
    await pusher.http.aclose()


async def test_lines_count_once_when_the_host_dies_before_the_execution_is_written(
    stack: Environment, stepflow: StepFlow, monkeypatch: pytest.MonkeyPatch
):
    pusher = await runner(stack)
    output = b"one\nSTEP_START: a\ntwo\nARTIFACT: none\nthree\nSTEP_COMPLETE: a\nfour\n"
    assert await pusher.push(0, b"") == 200
    assert await pusher.push(0, output[:10]) == 200

    async def dies(*_: Any, **__: Any) -> Any:
        raise tables.StorageUnavailable("the host is dead")

    with monkeypatch.context() as patch:
        patch.setattr(executions, "update", dies)
        with pytest.raises(tables.StorageUnavailable):
            await StepflowExecution().output(await jobs.get(pusher.id), 10, output[10:50], now())
    assert await pusher.push(10, output[10:]) == 200
    await pusher.end()
    await is_right(stepflow, pusher.id, output)
    await pusher.http.aclose()


async def test_lines_count_once_when_the_host_dies_before_it_answers(stack: Environment, stepflow: StepFlow):
    pusher = await runner(stack)
    output = b"one\nSTEP_START: a\ntwo\nSTEP_START: b\nthree\n"
    assert await pusher.push(0, b"") == 200
    await StepflowExecution().output(await jobs.get(pusher.id), 0, output[:25], now())
    assert (await jobs.get(pusher.id)).size == 0
    assert await pusher.push(0, output[:25]) == 200
    assert await pusher.push(25, output[25:]) == 200
    await pusher.end()
    await is_right(stepflow, pusher.id, output)
    await pusher.http.aclose()


async def test_a_page_of_a_long_log_costs_two_reads_at_any_offset(stepflow: StepFlow, caplog: pytest.LogCaptureFixture):
    found = await stepflow.run(["python3", "-c", "for n in range(50_000): print('x' * 50)"])
    execution = await executions.get(found["execution"]["id"])
    assert execution.lines == 50_000
    await log_index.read(execution, 0, 1)  # opens the connection
    for first in (0, 25_000, 49_000):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="azure.core.pipeline.policies.http_logging_policy"):
            assert len(await log_index.read(execution, first, 1000)) == 1000
        assert len([r for r in caplog.records if r.getMessage().startswith("Request URL")]) == 2


@pytest.mark.parametrize(("between", "reads", "shown"), [(1, 1, 40), (30, 16, 16)])
async def test_the_details_of_many_steps_cost_few_reads(
    stack: Environment, stepflow: StepFlow, monkeypatch: pytest.MonkeyPatch, between: int, reads: int, shown: int
):
    monkeypatch.setattr("functions.stepflow.executions.NEAR", 20)
    read = AsyncMock(side_effect=log_index.read)
    monkeypatch.setattr(log_index, "read", read)
    pusher = await runner(stack)
    output = ("STEP_START: s\nof it\nSTEP_COMPLETE: s\n" + "other\n" * between) * 40
    assert await pusher.push(0, b"") == 200
    assert await pusher.push(0, output.encode()) == 200
    await pusher.end()
    found = await get_execution(pusher.id)
    assert [[line.content for line in step.logs] for step in found.steps[-shown:]] == [["of it"]] * shown
    assert (read.await_count, {step.log_count for step in found.steps}) == (reads, {1})
    await pusher.http.aclose()


async def test_the_event_loop_does_other_work_while_the_details_of_many_steps_are_built():
    execution = Execution(name="x", command="true")
    execution.read(b"STEP_START: s\n" * 5000, lambda _: datetime.now(UTC))
    building, turns = asyncio.create_task(_steps(execution, {})), 0
    while not building.done():
        await asyncio.sleep(0)
        turns += 1
    assert len(building.result()) == 5000
    assert turns > 40, "building all at once leaves it two or three turns"


async def test_an_artifact_is_never_older_than_its_step(stack: Environment, stepflow: StepFlow):
    """The files are stored before the push of the lines that name them; that push says only how old its lines are."""
    pusher = await runner(stack)
    lines = [b"STEP_START: a\n", b"ARTIFACT: x\n", b"STEP_START: b\n", b"a line\n", b"ARTIFACT: y\n"]
    assert await pusher.push(0, b"") == 200
    for number in (1, 4):
        start = len(b"".join(lines[:number]))
        report = {"line": start, "end": start + len(lines[number]), "path": "xy"[number == 4], "reason": "Not there"}
        assert (await pusher.http.post(f"/jobs/{pusher.id}/captures", json=report)).status_code == 200
    assert await pusher.push(0, b"".join(lines)) == 200  # without ages: all was printed when it arrived
    await pusher.end()
    found = await stepflow.data(f"/api/executions/{pusher.id}")
    began = {step["id"]: step["started_at"] for step in found["steps"]}
    assert [artifact["name"] for artifact in found["artifacts"]] == ["x", "y"]
    for artifact in found["artifacts"]:
        assert artifact["created_at"] >= began[artifact["step_id"]]
    assert [*began.values()] == sorted(began.values())
    await pusher.http.aclose()


async def test_no_step_is_older_than_its_execution(stack: Environment, stepflow: StepFlow):
    """What a command prints at its start is printed before the push that says that the command runs."""
    own = await runner(stack, created_at=datetime.now(UTC) - timedelta(seconds=30))
    async with own.http, stepflow.watch() as watcher:
        own.http.headers[AGES] = "0:5.000"
        assert await own.push(0, b"STEP_START: a\n") == 200
        await watcher.receives(lambda m: m["type"] == "step_update" and m["data"]["execution_id"] == own.id)
        found = await stepflow.data(f"/api/executions/{own.id}")
        assert found["execution"]["started_at"] == found["steps"][0]["started_at"]
        assert found["execution"]["duration_seconds"] >= 5
        await own.end()
        await watcher.completed(own.id)
    starts = [message for message in watcher.of(own.id) if message["type"] == "execution_started"]
    assert len(starts) == 1


async def test_steps_of_a_command_with_a_single_push_have_the_times_at_which_they_were_printed(
    stack: Environment, stepflow: StepFlow
):
    own = await runner(stack, created_at=datetime.now(UTC) - timedelta(seconds=30))
    output = b"STEP_START: a\nSTEP_COMPLETE: a\n"
    report = {"exit_code": 0, "size": len(output), "output": b64encode(output).decode(), "reason": "exited"}
    report |= {"ran": 9, "ages": "0:5.000,14:2.000"}
    async with own.http:
        assert (await own.http.post(f"/jobs/{own.id}/exit", json=report)).status_code == 200
    found = await stepflow.data(f"/api/executions/{own.id}")
    (step,) = found["steps"]
    assert (found["execution"]["status"], step["duration_seconds"]) == ("completed", 3)
    assert found["execution"]["duration_seconds"] == 9
    assert await stepflow.logs(own.id) == []
