"""Plans: made, carried out by their workflow, paused, ended, taken back."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import Response

from functions.ownpilot import plans as room
from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.plans import attempts, moves, performing, reading, runs, workflow
from functions.ownpilot.plans import steps as step_routes
from functions.ownpilot.plans.history import KEPT, forget_old_events, note
from functions.ownpilot.plans.records import PlanEvent, PlanRun, PlanStatus, StepType, plans, steps
from functions.ownpilot.plans.steps import MAX_STEPS, add_step
from functions.ownpilot.tools.use import MAX_BYTES, use_tool
from infra.local.environment import Environment
from shared.http.errors import BadRequest
from shared.workflows import WorkflowClient
from tests.support.ownpilot import MODEL, Chatting, OwnPilot, chatting, refused, script
from tests.support.records import Counting
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("app")

TIME: dict[str, Any] = {"toolName": "get_current_time"}
FAILS: dict[str, Any] = {"toolName": "calculate", "toolArgs": {"expression": "1/0"}}
LONG = "x" * MAX_BYTES
EXAMPLES = ["Goals that are late", "Prepare a trip", "Weekly review"]


def words(text: str) -> dict[str, Any]:
    return {"toolName": "count_words", "toolArgs": {"text": text}}


async def plan(me: OwnPilot, *steps: dict[str, Any], **members: Any) -> tuple[str, list[str]]:
    """The ids of a new plan and its steps; a step that names no type is a tool call."""
    made = (await me.post("/plans", name="p", goal="g", **members))["plan"]["id"]
    return made, [await step(me, made, number, **given) for number, given in enumerate(steps, 1)]


async def step(me: OwnPilot, plan: str, number: int, **members: Any) -> str:
    body = {"type": "tool_call", "name": f"s{number}", "orderNum": number, "config": TIME, "maxRetries": 0, **members}
    return (await me.post(f"/plans/{plan}/steps", **body))["step"]["id"]


def asks(**config: Any) -> dict[str, Any]:
    return {"type": "user_input", "config": {"question": "Which?", **config}}


async def execute(me: OwnPilot, plan: str) -> dict[str, Any]:
    """The result of a run that does not fail."""
    return (await me.post(f"/plans/{plan}/execute"))["result"]


async def failed(me: OwnPilot, plan: str) -> dict[str, Any]:
    """The result of a run that fails."""
    answer = await me.send("POST", f"/plans/{plan}/execute")
    assert answer.status_code == 500, answer.text
    body = answer.json()
    assert (body["success"], body["error"]["code"]) == (False, "EXECUTION_ERROR")
    assert body["error"]["message"] == body["data"]["result"]["error"]
    return body["data"]["result"]


async def drive(order: dict[str, Any], woken: str | None = None) -> dict[str, Any]:
    """Make the moves of a run as its workflow does, but without its pauses; return the result when it ends or waits."""
    move = await moves.next_move({**order, "woken": woken})
    while move["do"] != "end" and move.get("seconds") != moves.LONGEST_WAIT:
        if move["do"] == "step":
            move = await attempts.step_move({**order, **move})
        elif move["do"] == "part":
            await drive(move["input"])
            move = await attempts.part_ended({**order, **move})
        else:
            move = await moves.next_move({**order, "woken": move["event"]})
    return await reading.result_of(await plans.of(order["owner"]).get(order["plan"]))


async def carry_out(me: OwnPilot, plan: str) -> dict[str, Any]:
    """The result of a run whose moves are made here: quicker than by a workflow."""
    return await drive(runs.order_of(await runs.begin(me.user, plan)))


async def statuses(me: OwnPilot, plan: str) -> list[str]:
    return [each["status"] for each in (await me.get(f"/plans/{plan}/steps"))["steps"]]


async def history(me: OwnPilot, plan: str) -> list[str]:
    """What has happened, the oldest first."""
    return [each["eventType"] for each in (await me.get(f"/plans/{plan}/history", limit=500))["history"]][::-1]


async def has_status(me: OwnPilot, plan: str, *wanted: str) -> dict[str, Any]:
    """A plan as soon as it has one of these statuses."""
    return await eventually(lambda: me.get(f"/plans/{plan}"), until=lambda it: it["status"] in wanted)


@pytest.fixture
async def talker(http: httpx.AsyncClient, stack: Environment) -> Chatting:
    """A person with a model."""
    person = await chatting(http, stack.ports["providers"])
    await person.post("/settings/default-provider", provider=person.provider)
    await person.post("/settings/default-model", model=MODEL)
    return person


def decides(*turns: Any, **members: Any) -> dict[str, Any]:
    """A step that asks the model, which answers as it is told."""
    config = {"prompt": script(*turns), **members.pop("config", {})}
    return {"type": "llm_decision", "config": config, **members}


SLOW = decides(["Here.", {"pause": 50}])


class TestRecords:
    async def test_a_plan_is_made_listed_changed_and_deleted(self, me: OwnPilot):
        made = await me.post(
            "/plans", name="p", goal="g", priority=7, goalId="goal_1", triggerId="trigger_1", status="running",
            progress=50, metadata={"a": 1},
        )  # fmt: skip
        shown = made["plan"]
        assert made["message"] == "Plan created" and shown["id"].startswith("plan_")
        own = {name: shown[name] for name in shown.keys() - {"id", "createdAt", "updatedAt", "userId"}}
        assert own == {
            "name": "p", "goal": "g", "description": None, "status": "pending", "currentStep": 0, "totalSteps": 0,
            "progress": 0, "priority": 7, "source": "user", "sourceId": None, "triggerId": "trigger_1",
            "goalId": "goal_1", "autonomyLevel": 1, "maxRetries": 3, "retryCount": 0, "timeoutMs": None,
            "checkpoint": None, "error": None, "startedAt": None, "completedAt": None, "metadata": {"a": 1},
        }  # fmt: skip
        assert await me.get(f"/plans/{shown['id']}") == {**shown, "steps": [], "recentHistory": []}
        changed = await me.data("PATCH", f"/plans/{shown['id']}", json={"name": "new", "status": "failed"})
        assert (changed["name"], changed["status"], changed["priority"]) == ("new", "pending", 7)
        listed = await me.get("/plans", goalId="goal_1", triggerId="trigger_1", status="draft")
        assert [each["id"] for each in listed["plans"]] == [shown["id"]]
        assert (listed["total"], listed["limit"], listed["offset"]) == (1, 20, 0)
        assert (await me.get("/plans", status="active"))["total"] == 0
        unfiltered = await me.get("/plans", goalId="", triggerId="", status="")
        assert unfiltered["total"] == 1 + len(EXAMPLES), "an empty filter is none"
        assert await me.data("DELETE", f"/plans/{shown['id']}") == {"message": "Plan deleted"}
        for method, path in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/steps"), ("GET", "/history"),
                             ("POST", "/steps"), ("POST", "/execute"), ("POST", "/pause"), ("POST", "/resume"),
                             ("POST", "/abort"), ("POST", "/checkpoint"), ("POST", "/rollback")]:  # fmt: skip
            body = {"type": "tool_call", "name": "n", "orderNum": 1}
            answer = await me.send(method, f"/plans/{shown['id']}{path}", json=None if method == "GET" else body)
            refused(answer, 404, "NOT_FOUND")

    async def test_three_examples_are_there_once_and_can_be_carried_out(self, me: OwnPilot):
        lists = await asyncio.gather(*(me.get("/plans") for _ in range(3)))
        assert sorted(each["name"] for each in lists[0]["plans"]) == EXAMPLES
        assert all([each["id"] for each in found["plans"]] == [it["id"] for it in lists[0]["plans"]] for found in lists)
        by_name = {each["name"]: each["id"] for each in lists[0]["plans"]}
        await me.data("DELETE", f"/plans/{by_name['Weekly review']}")
        assert sorted(each["name"] for each in (await me.get("/plans"))["plans"]) == EXAMPLES[:2]
        assert (await carry_out(me, by_name["Goals that are late"]))["status"] == "completed"
        assert await statuses(me, by_name["Goals that are late"]) == ["completed", "completed", "skipped", "completed"]
        assert (await carry_out(me, by_name["Prepare a trip"]))["status"] == "paused"

    @pytest.mark.parametrize(
        "body",
        [{}, {"name": "n"}, {"name": " ", "goal": "g"}, {"name": "n", "goal": "g", "priority": 11},
         {"name": "n", "goal": "g", "timeoutMs": 0}, {"name": "n", "goal": "g", "metadata": 1}],
        ids=range(6),
    )  # fmt: skip
    async def test_a_wrong_plan_is_refused(self, me: OwnPilot, body: dict[str, Any]):
        refused(await me.send("POST", "/plans", json=body), 400, "INVALID_REQUEST")

    async def test_the_plans_of_another_are_not_found(self, me: OwnPilot, http: httpx.AsyncClient):
        made, [one] = await plan(me, {})
        other = OwnPilot(http)
        for method, path in [
            ("GET", ""),
            ("POST", "/execute"),
            ("PATCH", f"/steps/{one}"),
            ("DELETE", f"/steps/{one}"),
        ]:
            refused(await other.send(method, f"/plans/{made}{path}", json={}), 404, "NOT_FOUND")
        refused(
            await other.send("POST", f"/plans/{made}/steps", json={"type": "loop", "name": "n", "orderNum": 1}), 404
        )


class TestSteps:
    async def test_steps_are_listed_by_their_numbers(self, me: OwnPilot):
        made, _ = await plan(me)
        second, first = await step(me, made, 2, onFailure="skip"), await step(me, made, 1, maxRetries=5)
        third = await step(me, made, 3, dependencies=[first, second], onFailure=second, onSuccess=first)
        found = await me.get(f"/plans/{made}/steps")
        assert ([each["id"] for each in found["steps"]], found["count"]) == ([first, second, third], 3)
        assert found["planId"] == made and found["steps"][0]["maxRetries"] == 5
        assert set(found["steps"][0]) == {
            "id", "planId", "orderNum", "type", "name", "description", "config", "status", "dependencies", "result",
            "error", "retryCount", "maxRetries", "timeoutMs", "startedAt", "completedAt", "durationMs", "onSuccess",
            "onFailure", "metadata", "createdAt", "updatedAt",
        }  # fmt: skip
        assert (await me.get(f"/plans/{made}"))["totalSteps"] == 3
        assert (await me.data("DELETE", f"/plans/{made}/steps/{second}")) == {"message": "Step deleted"}
        left = (await me.get(f"/plans/{made}/steps"))["steps"]
        assert [(each["dependencies"], each["onFailure"], each["onSuccess"]) for each in left] == [
            ([], None, None), ([first], None, first),
        ]  # fmt: skip
        assert (await me.get(f"/plans/{made}"))["totalSteps"] == 2
        refused(await me.send("DELETE", f"/plans/{made}/steps/{second}"), 404, "NOT_FOUND")

    async def test_the_retries_of_a_new_step_are_those_of_its_plan(self, me: OwnPilot):
        made, _ = await plan(me, maxRetries=1)
        added = (await me.post(f"/plans/{made}/steps", type="loop", name="n", orderNum=1))["step"]
        assert (added["maxRetries"], added["timeoutMs"], added["config"]) == (1, 60_000, {})

    @pytest.mark.parametrize(
        ("body", "code"),
        [({}, "INVALID_REQUEST"), ({"type": "tool_call", "name": "n"}, "INVALID_REQUEST"),
         ({"type": "unknown", "name": "n", "orderNum": 1}, "INVALID_REQUEST"),
         ({"type": "tool_call", "name": "", "orderNum": 1}, "INVALID_REQUEST"),
         ({"orderNum": -1}, "INVALID_REQUEST"), ({"timeoutMs": 10**7}, "INVALID_REQUEST"),
         ({"config": {"toolName": 5}}, "INVALID_REQUEST"), ({"config": {"toolArgs": []}}, "INVALID_REQUEST"),
         ({"type": "loop", "config": {"maxIterations": 101}}, "INVALID_REQUEST"),
         ({"type": "loop", "config": {"maxIterations": True}}, "INVALID_REQUEST"),
         ({"type": "loop", "config": {"maxIterations": 0}}, "INVALID_REQUEST"),
         ({"description": LONG}, "INVALID_REQUEST"), ({"name": LONG}, "INVALID_REQUEST"),
         ({"type": "parallel", "config": {"steps": [{"toolArgs": {}}]}}, "INVALID_REQUEST"),
         ({"type": "parallel", "config": {"steps": ["x"]}}, "INVALID_REQUEST"),
         ({"dependencies": ["step_unknown"]}, "ADD_STEP_ERROR"), ({"onFailure": "explode"}, "ADD_STEP_ERROR"),
         ({"onSuccess": "abort"}, "ADD_STEP_ERROR"), ({"config": {"prompt": LONG}}, "INVALID_REQUEST"),
         ({"metadata": {"note": LONG}}, "INVALID_REQUEST"),
         ({"type": "sub_plan", "config": {"subPlanId": "plan_unknown"}}, "ADD_STEP_ERROR")],
        ids=range(21),
    )  # fmt: skip
    async def test_a_wrong_step_is_refused_and_not_added(self, me: OwnPilot, body: dict[str, Any], code: str):
        made, _ = await plan(me)
        whole = {"type": "tool_call", "name": "n", "orderNum": 1, **body} if len(body) < 2 and body else body
        if "type" in body and "config" in body:
            whole = {"name": "n", "orderNum": 1, **body}
        refused(await me.send("POST", f"/plans/{made}/steps", json=whole), 400, code)
        assert (await me.get(f"/plans/{made}"))["totalSteps"] == 0

    async def test_a_circle_is_refused_also_by_two_changes_at_once(self, me: OwnPilot):
        made, [a, b, c] = await plan(me, {}, {}, {})
        path = f"/plans/{made}/steps"
        await me.data("PATCH", f"{path}/{b}", json={"dependencies": [a]})
        gone = await steps.of(made).update(b, lambda it: it.dependencies.append("step_gone"))
        assert await step(me, made, 4) and len(gone.dependencies) == 2, "which is not the fault of another step"
        await me.data("PATCH", f"{path}/{b}", json={"dependencies": [a]})
        for needs in ([a], [b], [a, "step_x"]):
            answer = await me.send("PATCH", f"{path}/{a}", json={"dependencies": needs, "name": "changed"})
            assert refused(answer, 400, "ADD_STEP_ERROR").startswith("dependencies")
        await asyncio.gather(
            me.send("PATCH", f"{path}/{a}", json={"dependencies": [c]}),
            me.send("PATCH", f"{path}/{c}", json={"dependencies": [b]}),
        )
        found = {each["id"]: each for each in (await me.get(path))["steps"]}
        assert not (found[a]["dependencies"] and found[c]["dependencies"]) and found[a]["name"] == "s1"

    async def test_steps_that_two_instances_add_at_once_are_both_counted(
        self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch
    ):
        made, _ = await plan(me)
        body, reads = {"type": "tool_call", "name": "n", "orderNum": 1}, 0

        async def overtaken(plan_id: str) -> Any:
            nonlocal reads
            found, reads = await reading.steps_of(plan_id), reads + 1
            if reads == 2:  # behind its own step; the other instance is the app
                await me.post(f"/plans/{plan_id}/steps", **body)
            return found

        monkeypatch.setattr(step_routes, "steps_of", overtaken)
        await add_step(me.user, made, body)
        shown = await me.get(f"/plans/{made}")
        assert shown["totalSteps"] == len(shown["steps"]) == 2

    async def test_no_plan_is_a_part_of_itself_at_any_depth(self, me: OwnPilot):
        first, _ = await plan(me)
        second, _ = await plan(me, {"type": "sub_plan", "config": {"subPlanId": first}})
        third, [part] = await plan(me, {"type": "sub_plan", "config": {"subPlanId": second}})
        for plan_id, other in ((first, first), (first, second), (first, third), (second, third)):
            body = {"type": "sub_plan", "name": "n", "orderNum": 9, "config": {"subPlanId": other}}
            assert "itself" in refused(
                await me.send("POST", f"/plans/{plan_id}/steps", json=body), 400, "ADD_STEP_ERROR"
            )
        config = {"config": {"subPlanId": third}}
        refused(await me.send("PATCH", f"/plans/{third}/steps/{part}", json=config), 400, "ADD_STEP_ERROR")

    async def test_a_plan_has_so_many_steps(self, me: OwnPilot):
        made, [one] = await plan(me, {})
        stored = await steps.of(made).get(one)
        more = [stored.model_copy(update={"id": type(stored).new_id()}) for _ in range(MAX_STEPS - 1)]
        await steps.of(made).store(more)
        body = {"type": "tool_call", "name": "n", "orderNum": 1}
        refused(await me.send("POST", f"/plans/{made}/steps", json=body), 400, "LIMIT_REACHED")


class TestRuns:
    async def test_a_plan_is_carried_out_in_order_and_its_results_are_kept(self, me: OwnPilot):
        made, ids = await plan(me, {"config": words("a b")}, {}, {}, {}, {})
        await me.data("PATCH", f"/plans/{made}/steps/{ids[0]}", json={"dependencies": [ids[4]]})
        result = await execute(me, made)
        assert {name: result[name] for name in ("planId", "status", "completedSteps", "totalSteps", "error")} == {
            "planId": made, "status": "completed", "completedSteps": 5, "totalSteps": 5, "error": None,
        }  # fmt: skip
        assert result["duration"] > 0 and set(result["results"]) == {*ids}
        counted = result["results"][ids[0]]
        assert (counted["type"], counted["toolName"], json.loads(counted["result"])["total"]) == (
            "tool_call", "count_words", 2,
        )  # fmt: skip
        shown = await me.get(f"/plans/{made}")
        assert (shown["status"], shown["progress"], shown["currentStep"]) == ("completed", 100, 1)
        assert shown["startedAt"] < shown["completedAt"] and len(shown["recentHistory"]) == 10
        first = shown["steps"][0]
        assert (first["result"], first["status"], first["error"]) == (counted, "completed", None)
        assert first["durationMs"] >= 1 and first["startedAt"] > shown["steps"][4]["completedAt"]
        page = await me.get(f"/plans/{made}/history", limit=3, offset=1)
        assert (page["planId"], page["count"], page["total"]) == (made, 3, 12)
        events = (await me.get(f"/plans/{made}/history"))["history"][::-1]
        assert [each["eventType"] for each in events] == [
            "started",
            *["step_started", "step_completed"] * 5,
            "completed",
        ]
        carried_out = [each["stepId"] for each in events if each["eventType"] == "step_completed"]
        assert carried_out == [*ids[1:], ids[0]]

    async def test_a_completed_plan_runs_anew(self, me: OwnPilot):
        made, _ = await plan(me, {})
        assert (await me.post(f"/plans/{made}/start"))["result"]["status"] == "completed"
        assert (await carry_out(me, made))["completedSteps"] == 1
        assert await history(me, made) == ["started", "step_started", "step_completed", "completed"] * 2

    async def test_a_plan_runs_once_at_a_time(self, me: OwnPilot):
        made, _ = await plan(me, asks())
        answers = await asyncio.gather(*(me.send("POST", f"/plans/{made}/execute") for _ in range(3)))
        assert sorted(answer.status_code for answer in answers) == [200, 400, 400]
        for answer in answers:
            if answer.status_code == 400:
                refused(answer, 400, "ALREADY_RUNNING")
        assert (await history(me, made)).count("started") == 1

    async def test_a_failure_is_500_with_data_and_a_further_run_goes_on_there(self, me: OwnPilot):
        made, ids = await plan(me, {}, {"config": FAILS}, {})
        result = await failed(me, made)
        assert (result["status"], result["completedSteps"], {*result["results"]}) == ("failed", 1, {ids[0]})
        assert "zero" in result["error"] and await statuses(me, made) == ["completed", "failed", "pending"]
        assert (await me.get(f"/plans/{made}"))["progress"] == 33
        await me.data("PATCH", f"/plans/{made}/steps/{ids[1]}", json={"config": TIME})
        assert (await execute(me, made))["completedSteps"] == 3
        assert Counter(await history(me, made))["step_started"] == 4, "the first step was not carried out again"

    async def test_a_failed_step_is_repeated_after_a_pause(self, me: OwnPilot):
        made, _ = await plan(me, {"config": {"toolName": "no_such_tool"}, "maxRetries": 1})
        began = datetime.now(UTC)
        assert "no_such_tool" in (await failed(me, made))["error"]
        assert datetime.now(UTC) - began >= timedelta(seconds=1)
        shown = await me.get(f"/plans/{made}")
        assert (shown["retryCount"], shown["steps"][0]["retryCount"]) == (1, 1)
        assert (await history(me, made)).count("step_failed") == 2

    async def test_the_pauses_grow_up_to_half_a_minute(self, me: OwnPilot):
        made, [one] = await plan(me, {"config": FAILS, "maxRetries": 8})
        order = {**runs.order_of(await runs.begin(me.user, made)), "step": one}
        await moves.next_move(order)
        found = [await attempts.step_move({**order, "attempt": number}) for number in range(8)]
        assert [move["seconds"] for move in found] == [1, 2, 4, 8, 16, 30, 30, 30]
        assert len({move["event"] for move in found}) == 8, "an event of each name is waited for once"

    async def test_a_failure_may_be_passed_over_or_lead_elsewhere(self, me: OwnPilot):
        made, ids = await plan(me, {"config": FAILS, "onFailure": "skip"}, {"config": FAILS}, {}, {})
        await me.data("PATCH", f"/plans/{made}/steps/{ids[1]}", json={"onFailure": ids[3]})
        assert (await carry_out(me, made))["completedSteps"] == 1
        assert await statuses(me, made) == ["skipped", "failed", "skipped", "completed"]

    async def test_steps_that_wait_for_what_was_passed_over_block_the_plan(self, me: OwnPilot):
        made, [one, two] = await plan(me, {"config": FAILS, "onFailure": "skip"}, {})
        await me.data("PATCH", f"/plans/{made}/steps/{two}", json={"dependencies": [one]})
        assert "s2" in (await carry_out(me, made))["error"]
        assert await statuses(me, made) == ["skipped", "blocked"]

    async def test_a_condition_jumps_ahead(self, me: OwnPilot):
        made, ids = await plan(me, {"config": words("a b")}, {"type": "condition"}, {}, {}, {})
        config = {"condition": f'result:{ids[0]}["total"] == 2', "trueStep": ids[4], "falseStep": ids[2]}
        await me.data("PATCH", f"/plans/{made}/steps/{ids[1]}", json={"config": config})
        result = await carry_out(me, made)
        assert result["results"][ids[1]] == {"condition": config["condition"], "result": True}
        assert await statuses(me, made) == ["completed", "completed", "skipped", "skipped", "completed"]

    async def test_a_condition_reads_only_the_results_that_it_names(
        self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch
    ):
        seen: list[Any] = []
        monkeypatch.setattr(performing, "value_of", lambda type_, result: seen.append(result) or "x")
        made, [_, named, check] = await plan(me, {}, {"config": words("a")}, {"type": "condition"})
        await me.data("PATCH", f"/plans/{made}/steps/{check}", json={"config": {"condition": f"result:{named}"}})
        results = (await carry_out(me, made))["results"]
        assert (seen, results[check]["result"]) == ([results[named]], True)

    async def test_a_condition_that_leads_nowhere_fails(self, me: OwnPilot):
        made, _ = await plan(me, {"type": "condition", "config": {"condition": True, "trueStep": "step_gone"}})
        assert "trueStep" in (await carry_out(me, made))["error"]

    async def test_parallel_steps_and_loops_use_their_tools(self, me: OwnPilot):
        call = {"toolName": "calculate", "toolArgs": {"expression": "2*3"}}
        made, [both, loop] = await plan(
            me, {"type": "parallel", "config": {"steps": [call] * 7}},
            {"type": "loop", "config": {**call, "maxIterations": 3}},
        )  # fmt: skip
        results = (await carry_out(me, made))["results"]
        one = {"toolName": "calculate", "success": True, "result": "6"}
        assert results[both] == {"type": "parallel", "results": [one] * 7}
        assert results[loop] == {"type": "loop", "iterations": 3, "results": ["6"] * 3}
        bad, _ = await plan(me, {"type": "parallel", "config": {"steps": [call, FAILS]}})
        assert "zero" in (await carry_out(me, bad))["error"]

    async def test_a_step_that_is_not_told_what_to_do_fails(self, me: OwnPilot):
        for type_ in StepType:
            made, _ = await plan(me, {"type": type_, "config": {}})
            assert "config." in (await carry_out(me, made))["error"]

    async def test_a_plan_without_steps_is_completed(self, me: OwnPilot):
        made, _ = await plan(me)
        assert (await carry_out(me, made))["totalSteps"] == 0

    async def test_a_plan_has_its_time(self, me: OwnPilot):
        made, _ = await plan(me, {}, {}, timeoutMs=1)
        assert "within 1 ms" in (await carry_out(me, made))["error"]

    async def test_an_answer_that_would_take_too_long_is_202(self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch):
        made, _ = await plan(me, {})
        monkeypatch.setattr(room, "PATIENCE", 0.1)
        response = Response()
        answer = await room._answer(await runs.begin(me.user, made), response)
        assert (response.status_code, answer.result.status, answer.message) == (202, "running", "Plan is running")

    async def test_a_large_result_is_kept_out_of_the_workflow(self, me: OwnPilot):
        text = "word " * 30_000
        call = {"toolName": "text_transform", "toolArgs": {"text": text, "operation": "uppercase"}}
        made, [one] = await plan(me, {"config": call})
        begun = await runs.begin(me.user, made)
        move = await moves.next_move(runs.order_of(begun))
        assert move == {"do": "step", "step": one, "attempt": 0}
        assert await attempts.step_move({**runs.order_of(begun), **move}) == moves.END
        assert (await me.get(f"/plans/{made}/steps"))["steps"][0]["result"]["result"] == text.upper()


class TestDecisions:
    async def test_a_model_decides_knowing_what_came_before(self, talker: Chatting):
        made, [_, free, chosen] = await plan(
            talker, {"config": words("a b c")}, {"type": "llm_decision", "config": {"prompt": "What now?"}},
            decides(["The answer is Stop."], config={"choices": ["go", "stop"]}),
        )  # fmt: skip
        results = (await carry_out(talker, made))["results"]
        said = results[free]
        assert said["type"] == "llm_decision" and said["toolCalls"] == []
        assert "What now?" in said["decision"] and '"total": 3' in said["decision"], "the stand-in repeats the prompt"
        assert results[chosen]["decision"] == "stop"
        conversations = (await talker.get("/chat/history"))["conversations"]
        assert [each["messageCount"] for each in conversations] == [4], "the decisions of a run are one conversation"
        await talker.say("Hello")
        assert (await talker.get("/chat/history"))["total"] == 2, "which is not the current one"

    async def test_an_answer_that_is_no_choice_fails(self, talker: Chatting):
        made, _ = await plan(talker, decides(["Both, go and stop."], config={"choices": ["go", "stop"]}))
        assert "none of the choices" in (await carry_out(talker, made))["error"]

    async def test_without_a_model_a_decision_fails(self, me: OwnPilot):
        made, _ = await plan(me, {"type": "llm_decision", "config": {"prompt": "?"}})
        assert (await carry_out(me, made))["error"]

    async def test_a_step_that_takes_too_long_is_stopped(self, talker: Chatting):
        made, _ = await plan(talker, {**SLOW, "timeoutMs": 300})
        assert "within 300 ms" in (await carry_out(talker, made))["error"]


class TestPauses:
    async def test_a_question_pauses_the_plan_and_the_input_is_its_result(self, me: OwnPilot):
        made, [ask, check] = await plan(me, asks(options=["red", "blue"]), {"type": "condition"})
        config = {"condition": f"result:{ask} == 'red'"}
        await me.data("PATCH", f"/plans/{made}/steps/{check}", json={"config": config})
        answer = await me.post(f"/plans/{made}/execute")
        assert (answer["message"], answer["result"]["status"]) == ("Plan paused", "paused")
        assert await statuses(me, made) == ["waiting", "pending"]
        assert "resume" in refused(await me.send("POST", f"/plans/{made}/execute"), 400, "ALREADY_RUNNING")
        assert "Which?" in refused(await me.send("POST", f"/plans/{made}/resume"), 400, "INPUT_REQUIRED")
        refused(await me.send("POST", f"/plans/{made}/resume", json={"input": "green"}), 400, "INVALID_INPUT")
        refused(await me.send("POST", f"/plans/{made}/resume", json={"input": LONG}), 400, "INVALID_REQUEST")
        result = (await me.post(f"/plans/{made}/resume", input="red"))["result"]
        assert result["results"] == {ask: "red", check: {"condition": config["condition"], "result": True}}
        refused(await me.send("POST", f"/plans/{made}/resume"), 400, "NOT_PAUSED")
        assert await history(me, made) == [
            "started", "step_started", "paused", "step_completed", "resumed", "step_started", "step_completed",
            "completed",
        ]  # fmt: skip

    async def test_of_answers_at_once_one_counts(self, me: OwnPilot):
        made, [ask] = await plan(me, asks())
        await carry_out(me, made)
        answers = await asyncio.gather(
            *(runs.resume(me.user, made, {"input": number}, Workflows()) for number in range(3)), return_exceptions=True
        )
        [right] = [number for number, answer in enumerate(answers) if not isinstance(answer, BadRequest)]
        assert all(each.code == "NOT_PAUSED" for each in answers if isinstance(each, BadRequest))
        assert (await drive(runs.order_of(await plans.of(me.user).get(made))))["results"] == {ask: right}

    async def test_a_plan_is_paused_after_the_step_and_goes_on(self, talker: Chatting):
        made, _ = await plan(talker, decides(["Here.", {"pause": 1}]), {})
        assert await talker.post(f"/plans/{made}/pause") == {"paused": False, "message": "The plan is not running"}
        running = asyncio.create_task(talker.post(f"/plans/{made}/execute"))
        await eventually(lambda: statuses(talker, made), until=lambda it: it[0] == "running")
        assert (await talker.post(f"/plans/{made}/pause"))["paused"]
        assert (await running)["result"]["status"] == "paused"
        await eventually(lambda: statuses(talker, made), until=lambda it: it == ["completed", "pending"])
        assert (await talker.post(f"/plans/{made}/resume"))["result"]["status"] == "completed"
        assert [each for each in await history(talker, made) if "step" not in each] == [
            "started", "paused", "resumed", "completed",
        ]  # fmt: skip

    async def test_steps_that_have_begun_stay_and_others_may_change(self, me: OwnPilot):
        made, [done, ask, later, last] = await plan(me, {}, asks(), {"config": FAILS}, {})
        await carry_out(me, made)
        for begun in (done, ask):
            for method in ("PATCH", "DELETE"):
                refused(await me.send(method, f"/plans/{made}/steps/{begun}", json={"name": "x"}), 409, "CONFLICT")
        await me.data("PATCH", f"/plans/{made}/steps/{later}", json={"config": TIME})
        await me.data("DELETE", f"/plans/{made}/steps/{last}")
        added = await step(me, made, 5)
        await runs.resume(me.user, made, {"input": 1}, Workflows())
        result = await drive(runs.order_of(await plans.of(me.user).get(made)))
        assert {*result["results"]} == {done, ask, later, added}


class TestEnds:
    async def test_an_abort_ends_the_step_within_seconds(self, talker: Chatting):
        made, _ = await plan(talker, SLOW, {})
        running = asyncio.create_task(talker.send("POST", f"/plans/{made}/execute"))
        await eventually(lambda: statuses(talker, made), until=lambda it: it[0] == "running")
        began = datetime.now(UTC)
        assert await talker.post(f"/plans/{made}/abort") == {"aborted": True, "message": "Plan aborted"}
        await eventually(lambda: statuses(talker, made), until=lambda it: it == ["failed", "pending"], seconds=20)
        assert datetime.now(UTC) - began < timedelta(seconds=20), "a model that answers in 50 s was not waited for"
        assert (await running).json()["data"]["result"]["status"] == "cancelled"
        assert (await talker.post(f"/plans/{made}/abort"))["aborted"] is False
        assert (await history(talker, made)).count("cancelled") == 1

    async def test_deleting_a_running_plan_stops_it(self, talker: Chatting):
        made, _ = await plan(talker, SLOW)
        running = asyncio.create_task(talker.send("POST", f"/plans/{made}/execute"))
        await eventually(lambda: statuses(talker, made), until=lambda it: it[0] == "running")
        await talker.data("DELETE", f"/plans/{made}")
        assert (await running).status_code in (404, 500), "gone, or aborted when it was looked at"

        async def nothing_left() -> bool:
            return not [each async for each in runs.runs.all() if each.plan_id == made] and not [
                each async for each in runs.events.of(made).all()
            ]

        await eventually(nothing_left)

    async def test_an_abort_wakes_a_plan_that_waits(self, me: OwnPilot):
        made, _ = await plan(me, asks())
        await execute(me, made)
        assert (await me.post(f"/plans/{made}/abort"))["aborted"]

        async def closed() -> bool:
            return not [each async for each in runs.runs.all() if each.plan_id == made]

        await eventually(closed)
        assert (await me.get(f"/plans/{made}"))["status"] == "cancelled"

    async def test_a_plan_is_taken_back_to_where_it_began(self, me: OwnPilot):
        made, _ = await plan(me, {}, asks())
        refused(await me.send("POST", f"/plans/{made}/rollback"), 400, "NO_CHECKPOINT")
        await carry_out(me, made)
        refused(await me.send("POST", f"/plans/{made}/checkpoint", json={"data": LONG}), 400, "INVALID_REQUEST")
        assert await me.post(f"/plans/{made}/checkpoint", data={"note": 1}) == {"message": "Checkpoint saved"}
        answer = await me.post(f"/plans/{made}/rollback")
        assert (answer["checkpoint"]["data"], answer["checkpoint"]["currentStep"]) == ({"note": 1}, 2)
        shown = await me.get(f"/plans/{made}")
        assert (shown["status"], shown["progress"], shown["error"]) == ("pending", 0, None)
        assert [(each["status"], each["result"], each["startedAt"]) for each in shown["steps"]] == [
            ("pending", None, None)
        ] * 2
        assert (await history(me, made))[-2:] == ["checkpoint", "rollback"]
        assert (await carry_out(me, made))["status"] == "paused"


class TestParts:
    async def test_a_plan_is_a_step_of_another(self, me: OwnPilot):
        inner, [deep] = await plan(me, {"config": words("a")})
        outer, [part, _] = await plan(me, {"type": "sub_plan", "config": {"subPlanId": inner}}, {})
        result = await carry_out(me, outer)
        assert result["completedSteps"] == 2
        inside = result["results"][part]
        assert (inside["planId"], inside["status"], {*inside["results"]}) == (inner, "completed", {deep})

    async def test_of_a_part_the_whole_keeps_no_more_results_than_a_tool_may_have(self, me: OwnPilot):
        call = {"toolName": "text_transform", "toolArgs": {"text": "x" * 90_000, "operation": "uppercase"}}
        inner, ids = await plan(me, *({"config": call} for _ in range(3)), {"config": words("a")})
        outer, [part] = await plan(me, {"type": "sub_plan", "config": {"subPlanId": inner}})
        kept = (await carry_out(me, outer))["results"][part]["results"]
        assert [kept[each] == {"cut": True} for each in ids] == [False, False, True, False]

    async def test_the_input_of_a_part_lets_the_whole_go_on(self, me: OwnPilot):
        inner, [ask] = await plan(me, asks())
        outer, [part] = await plan(me, {"type": "sub_plan", "config": {"subPlanId": inner}})
        running = asyncio.create_task(execute(me, outer))
        await has_status(me, inner, "paused")
        refused(await me.send("POST", f"/plans/{inner}/execute"), 400, "ALREADY_RUNNING")
        await me.post(f"/plans/{inner}/resume", input="yes")
        result = await running
        assert (result["status"], result["results"][part]["results"]) == ("completed", {ask: "yes"})

    async def test_a_part_that_fails_or_is_missing_fails_the_step(self, me: OwnPilot):
        inner, _ = await plan(me, {"config": FAILS})
        outer, _ = await plan(me, {"type": "sub_plan", "config": {"subPlanId": inner}})
        assert "zero" in (await carry_out(me, outer))["error"]
        await me.data("DELETE", f"/plans/{inner}")
        assert "no such plan" in (await carry_out(me, outer))["error"]

    async def test_an_abort_ends_the_parts_too(self, me: OwnPilot):
        inner, _ = await plan(me, asks())
        middle, _ = await plan(me, {"type": "sub_plan", "config": {"subPlanId": inner}})
        outer, _ = await plan(me, {"type": "sub_plan", "config": {"subPlanId": middle}})
        running = asyncio.create_task(me.send("POST", f"/plans/{outer}/execute"))
        await has_status(me, inner, "paused")
        await me.post(f"/plans/{outer}/abort")
        for each in (outer, middle, inner):
            assert (await has_status(me, each, "cancelled", "failed"))["status"] == "cancelled"
        assert (await running).status_code == 500


class TestTools:
    async def test_the_assistant_makes_a_plan_and_carries_it_out(self, me: OwnPilot):
        async def use(tool: str, **arguments: Any) -> Any:
            answer = await me.post(f"/tools/{tool}/execute", arguments=arguments)
            assert not answer["isError"], answer
            return json.loads(answer["result"]) if answer["result"].startswith("{") else answer["result"]

        made = (await use("create_plan", name="Count", goal="Know it", priority=9))["plan"]
        assert (made["source"], made["priority"]) == ("assistant", 9)
        first = (await use("add_plan_step", plan_id=made["id"], order=1, type="tool_call", name="Count",
                           tool_name="count_words", tool_args={"text": "a b"}))["step"]  # fmt: skip
        config = {"condition": f"result:{first['id']}"}
        await use("add_plan_step", plan_id=made["id"], order=2, type="condition", name="Any?", tool_args=config,
                  dependencies=[first["id"]], max_retries=0)  # fmt: skip
        result = (await use("execute_plan", plan_id=made["id"]))["result"]
        assert (result["status"], result["completedSteps"]) == ("completed", 2)
        details = (await use("get_plan_details", plan_id=made["id"]))["plan"]
        assert [each["status"] for each in details["steps"]] == ["completed"] * 2
        listed = await use("list_plans", status="completed")
        assert [each["id"] for each in listed["plans"]] == [made["id"]]
        assert await use("pause_plan", plan_id=made["id"]) == "The plan is not running."
        await use("delete_plan", plan_id=made["id"])
        refused(await me.send("GET", f"/plans/{made['id']}"), 404)

    async def test_a_plan_starts_no_other_one_by_a_tool(self, me: OwnPilot):
        result = await use_tool(ToolContext(me.user, source="plan"), "execute_plan", {"plan_id": "plan_x"})
        assert result.is_error and "sub_plan" in result.content


class Workflows(WorkflowClient):
    """What is started and signalled; no instance is active."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    async def start(self, name: str, instance_id: str, value: Any = None) -> None:
        self.calls.append(("start", instance_id))

    async def signal(self, instance_id: str, event: str, value: Any = None) -> bool:
        self.calls.append((event, instance_id))
        return True

    async def status(self, instance_id: str) -> str | None:
        return None


class TestCrashes:
    async def test_every_move_made_twice_changes_nothing_more(self, me: OwnPilot):
        """As when each activity is repeated because its host has died before its result was stored."""
        made, _ = await plan(me, {}, {"config": FAILS, "onFailure": "skip", "maxRetries": 1}, asks(), {})
        order = runs.order_of(await runs.begin(me.user, made))
        await runs.events.of(made).clear()  # as when the request has died before it wrote down that it has begun
        move = await moves.next_move(order)
        assert await moves.next_move(order) == move
        seen: list[str] = []
        while move["do"] != "end":
            seen.append(move["do"])
            if move["do"] == "step":
                given = {**order, **move}
                move = await attempts.step_move(given)
                again = await attempts.step_move(given)
                assert {**again, "event": ""} == {**move, "event": ""}
                move = again
            else:
                if move["seconds"] == moves.LONGEST_WAIT:
                    await runs.resume(me.user, made, {"input": "x"}, Workflows())
                move = await moves.next_move({**order, "woken": move["event"]})
        assert await moves.next_move(order) == moves.END
        assert seen == ["step", "step", "wait", "step", "step", "wait", "step"]
        assert Counter(await history(me, made)) == {
            "started": 1, "step_started": 5, "step_completed": 3, "step_failed": 2, "paused": 1, "resumed": 1,
            "completed": 1,
        }  # fmt: skip
        assert await statuses(me, made) == ["completed", "skipped", "completed", "completed"]

    async def test_a_run_whose_workflow_was_lost_is_started_again(self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch):
        made, _ = await plan(me, {})
        begun = await runs.begin(me.user, made)
        assert await self._followed(begun.instance) == [], "its request may be about to start it"
        monkeypatch.setattr(workflow, "SOON", timedelta(seconds=-5))
        assert await self._followed(begun.instance) == [("start", begun.instance)]
        await runs.abort(me.user, made, None)
        assert await self._followed(begun.instance) == []
        assert not [each async for each in runs.runs.all() if each.plan_id == made]

    async def test_a_paused_run_is_looked_at_every_hour(self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(workflow, "SOON", timedelta(seconds=-5))
        made, _ = await plan(me, asks())
        await carry_out(me, made)
        instance = (await plans.of(me.user).get(made)).instance
        await self._followed(instance)
        looked_at: list[str] = []

        async def follow(row: PlanRun, *given: Any) -> None:
            looked_at.append(row.instance)

        monkeypatch.setattr(workflow, "_follow", follow)
        await self._followed(instance)
        assert instance not in looked_at
        await runs.resume(me.user, made, {"input": "x"}, Workflows())
        await self._followed(instance)
        assert instance in looked_at, "it runs again, so its workflow may be lost"

    async def _followed(self, instance: str) -> list[tuple[str, str]]:
        workflows = Workflows()
        await workflow.follow_plans(workflows)
        return [each for each in workflows.calls if each[1] == instance]

    async def test_a_part_without_its_whole_is_ended(self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch):
        outer, _ = await plan(me)
        made, _ = await plan(me, {})
        begun = await runs.begin(me.user, made, [outer])
        monkeypatch.setattr(workflow, "SOON", timedelta(seconds=-5))
        await self._followed(begun.instance)
        assert (await me.get(f"/plans/{made}"))["status"] == "cancelled"

    async def test_a_part_whose_waiter_is_gone_is_looked_at_until_it_ends(self, me: OwnPilot):
        inner, _ = await plan(me, {})
        outer, [part] = await plan(me, {"type": "sub_plan", "config": {"subPlanId": inner}})
        order = {**runs.order_of(await runs.begin(me.user, outer)), "step": part, "attempt": 0}
        await moves.next_move(order)
        begun = await attempts.step_move(order)
        assert begun["do"] == "part" and await attempts.step_move(order) == begun, "its workflow may not be started yet"
        child = await moves.next_move(begun["input"])
        assert (await attempts.step_move(order))["seconds"] == 5
        assert await attempts.step_move({**begun["input"], **child}) == moves.END
        assert await attempts.step_move(order) == moves.END
        assert await statuses(me, outer) == ["completed"]

    async def test_a_result_that_cannot_be_stored_fails_the_step(self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch):
        async def perform(*given: Any) -> performing.Performed:
            return performing.Performed({"result": "\ud800"})

        monkeypatch.setattr(attempts, "perform", perform)
        made, _ = await plan(me, {})
        assert "stored" in (await carry_out(me, made))["error"]

    async def test_a_history_is_cut_when_it_is_long(self, me: OwnPilot):
        made, _ = await plan(me)
        stored = await plans.of(me.user).get(made)
        later = datetime.now(UTC) + timedelta(hours=1)
        first = [PlanEvent(plan_id=made, event_type="checkpoint", details={"n": n}) for n in range(KEPT)]
        await runs.events.of(made).store(first)
        await asyncio.gather(*(note(stored, "rollback", later + timedelta(seconds=n)) for n in range(3)))
        await forget_old_events(made)
        page = await me.get(f"/plans/{made}/history", limit=3)
        assert page["total"] == KEPT and {each["eventType"] for each in page["history"]} == {"rollback"}


@pytest.mark.usefixtures("account")
class TestCosts:
    async def test_what_a_step_costs(self, counting: Counting):
        made = await room.plans.create("costs", {"name": "p", "goal": "g"})
        for number in range(2):
            await add_step("costs", made.id, {
                "type": "condition", "name": "c", "order_num": number, "config": {"condition": "true"},
            })  # fmt: skip
        order = runs.order_of(await runs.begin("costs", made.id))
        move = await moves.next_move(order)
        counting.reset()
        move = await attempts.step_move({**order, **move})
        assert counting.calls == {"get": 3, "query": 2, "write": 6}
        await attempts.step_move({**order, **move})
        assert (await plans.of("costs").get(made.id)).status is PlanStatus.COMPLETED
