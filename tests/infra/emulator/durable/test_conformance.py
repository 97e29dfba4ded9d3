"""The cases have their expected outcome on this engine with every replay schema, and on another engine with SDK 2."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import azure.durable_functions as df
import httpx
import pytest

from infra.emulator.processes import ROOT, free_ports
from tests.infra.emulator.durable.cases import ACTIVITIES, CASES, ENTITIES, ORCHESTRATORS, Case
from tests.infra.emulator.durable.harness import Functions, TaskHub

OTHER_PYTHON = os.environ.get("DURABLE2_PYTHON")  # a Python >= 3.13 with azure-functions-durable 2
SCHEDULED, STARTED_TURN, ENDED_TURN = {4, 7, 10, 14}, 12, 13
ANSWERS = {5: {4}, 6: {4}, 8: {7}, 9: {7}, 11: {10}}  # each result event, and the events that it can be the result of
app = df.DFApp()
for orchestrator in ORCHESTRATORS:
    app.orchestration_trigger(context_name="ctx")(orchestrator)
for activity in ACTIVITIES:
    app.activity_trigger(input_name=activity.__code__.co_varnames[0])(activity)
for entity in ENTITIES:
    app.entity_trigger(context_name="ctx")(entity)


class Recorder(Functions):
    """Records and checks the histories that orchestrators get."""

    shown: dict[str, list[dict[str, Any]]]

    async def __call__(self, kind: str, name: str, data: str) -> str | None:
        if kind == "orchestrationTrigger":
            payload = json.loads(data)
            check(payload["history"])
            self.shown[payload["instanceId"]] = payload["history"]
        return await super().__call__(kind, name, data)


def check(history: list[dict[str, Any]]) -> None:
    """The rules that every history must follow."""
    assert [e["EventType"] for e in history[:2]] == [12, 0]
    assert "Version" in history[1]
    last_turn = max(n for n, e in enumerate(history) if e["EventType"] == STARTED_TURN)
    assert [e["IsPlayed"] for e in history] == [True] * last_turn + [False] * (len(history) - last_turn)
    times = [datetime.fromisoformat(e["Timestamp"]) for e in history if e["EventType"] == STARTED_TURN]
    assert times == sorted(times)
    scheduled: dict[int, int] = {}
    answered: set[int] = set()
    in_turn = False
    for e in history:
        kind = e["EventType"]
        if kind in (STARTED_TURN, ENDED_TURN):
            assert in_turn == (kind == ENDED_TURN)
            in_turn = kind == STARTED_TURN
        elif kind in SCHEDULED:
            assert not in_turn, "work is scheduled after a turn"
            assert e["EventId"] == len(scheduled), "ids are counted from 0 without a gap"
            scheduled[e["EventId"]] = kind
        else:
            assert in_turn, "news arrives in a turn"
            assert e["EventId"] == -1
        if kind in ANSWERS:
            task = e["TimerId"] if kind == 11 else e["TaskScheduledId"]
            assert scheduled[task] in ANSWERS[kind]
            assert task not in answered
            answered.add(task)
            assert ({"Reason", "Details"} if kind in (6, 9) else {"FireAt"} if kind == 11 else {"Result"}) <= e.keys()
        if kind == 15:
            json.loads(e["Input"])
    assert in_turn


functions = Recorder(app)


@pytest.fixture(params=[0, 1, 2], ids=["V1", "V2", "V3"])
async def hub(request: pytest.FixtureRequest, new_hub: Callable[..., Awaitable[TaskHub]]) -> TaskHub:
    functions.shown = {}
    return await new_hub(functions, schema=request.param)


@pytest.mark.parametrize("name", CASES)
async def test_a_case_has_the_expected_outcome(hub: TaskHub, name: str):
    case = CASES[name]
    id = await hub.client.start_new(case.orchestrator.__name__, client_input=case.input)
    async with httpx.AsyncClient() as http:
        for event, data in case.events:
            raised = await http.post(f"{hub.api}/instances/{id}/raiseEvent/{event}", json=data)
            assert raised.status_code == 202
    status = await hub.finished(id)
    output = status.output if status.status == "Completed" else None
    assert (status.status, output, status.custom_status) == (case.status, case.output, case.custom_status)
    if case.history:
        shown = [e["EventType"] for e in functions.shown[id] if e["EventType"] not in (STARTED_TURN, ENDED_TURN)]
        assert " ".join(map(str, shown)) == case.history


@pytest.mark.skipif(not OTHER_PYTHON, reason="DURABLE2_PYTHON names no Python >= 3.13 with azure-functions-durable 2")
async def test_the_next_sdk_has_the_same_outcomes_on_its_own_engine():
    process = await asyncio.create_subprocess_exec(
        str(OTHER_PYTHON), "-m", "tests.infra.emulator.durable.durable2", str(free_ports(1)[0]), cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    results = {result.pop("name"): result for result in map(json.loads, output.splitlines())}
    assert results == {name: wanted(case) for name, case in CASES.items()}


def wanted(case: Case) -> dict[str, Any]:
    return {"status": case.status, "output": case.output, "custom_status": case.custom_status}
