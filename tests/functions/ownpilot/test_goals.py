"""Goals and their steps."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from bench.figures import Call
from functions.ownpilot.core.goal_steps import MAX_CHARACTERS, MAX_ORDER, MAX_STEPS, StepStatus, progress_of
from functions.ownpilot.goals import goals, next_actions
from functions.ownpilot.goals.steps import add_steps, change_step, delete_step
from shared.http.errors import InvalidRequest
from shared.tables import RecordNotFound
from tests.support.ownpilot import OwnPilot, data_of, refused
from tests.support.records import Counting

STEP_KEYS = {
    "id", "goalId", "title", "description", "status", "orderNum", "dependencies", "result", "createdAt", "updatedAt",
    "completedAt",
}  # fmt: skip


async def aim(me: OwnPilot, title: str = "g", **members: Any) -> str:
    """The id of a new goal."""
    return (await me.post("/goals", title=title, **members))["goal"]["id"]


async def steps(me: OwnPilot, goal: str, *titles: str) -> list[str]:
    """The ids of new steps."""
    added = await me.post(f"/goals/{goal}/steps", steps=[{"title": title} for title in titles])
    return [step["id"] for step in added["steps"]]


async def change(me: OwnPilot, goal: str, step: str, **members: Any) -> dict[str, Any]:
    return await me.data("PATCH", f"/goals/{goal}/steps/{step}", json=members)


async def titles(me: OwnPilot, path: str = "/goals", **query: Any) -> list[str]:
    return [goal["title"] for goal in (await me.get(path, **query))["goals"]]


class TestGoals:
    async def test_defaults_and_what_is_absent_is_null(self, me: OwnPilot):
        made = await me.post(
            "/goals", title="Learn Spanish", unknown=1, steps=[{"title": "x"}], completedAt="2030-01-01"
        )
        goal = made["goal"]
        assert made["message"] == "Goal created" and goal["id"].startswith("goal_")
        own = {name: goal[name] for name in goal.keys() - {"id", "createdAt", "updatedAt", "userId"}}
        assert own == {
            "title": "Learn Spanish", "description": None, "status": "active", "priority": 5, "parentId": None,
            "dueDate": None, "progress": 0, "completedAt": None, "metadata": {},
        }  # fmt: skip
        assert await me.get(f"/goals/{goal['id']}") == {**goal, "steps": []}

    async def test_priority_and_progress_are_clamped(self, me: OwnPilot):
        goal = (await me.post("/goals", title="g", priority=99, progress=-5))["goal"]
        assert (goal["priority"], goal["progress"]) == (10, 0)
        changed = await me.data("PATCH", f"/goals/{goal['id']}", json={"priority": 0, "progress": 33.6})
        assert (changed["priority"], changed["progress"]) == (1, 34)
        as_text = await me.data("PATCH", f"/goals/{goal['id']}", json={"priority": "50", "progress": "-7"})
        assert (as_text["priority"], as_text["progress"]) == (10, 0)
        for members in (
            {"priority": "high"},
            {"progress": "much"},
            {"priority": None},
            {"title": " "},
            {"status": "open"},
        ):
            refused(await me.send("PATCH", f"/goals/{goal['id']}", json=members), 400, "INVALID_REQUEST")
        refused(await me.send("POST", "/goals", json={}), 400, "INVALID_REQUEST")

    async def test_the_time_of_completion_comes_and_goes_with_the_status(self, me: OwnPilot):
        goal = await aim(me)
        first, _ = await steps(me, goal, "a", "b")
        await change(me, goal, first, status="completed")
        done = await me.data("PATCH", f"/goals/{goal}", json={"status": "completed"})
        again = await me.data("PATCH", f"/goals/{goal}", json={"status": "completed", "title": "h"})
        assert done["completedAt"] and again["completedAt"] == done["completedAt"]
        finished = await me.get(f"/goals/{goal}")
        assert (finished["progress"], [step["status"] for step in finished["steps"]]) == (50, ["completed", "pending"])
        assert (await me.data("PATCH", f"/goals/{goal}", json={"status": "paused"}))["completedAt"] is None

    async def test_lists_run_by_priority_and_filter_by_status_and_parent(self, me: OwnPilot):
        root = await aim(me, "root", priority=2)
        await aim(me, "child", parentId=root, priority=9)
        await aim(me, "paused", status="paused", priority=5)
        assert await titles(me) == ["child", "paused", "root"]
        assert await titles(me, parentId="null") == ["paused", "root"]
        assert await titles(me, parentId=root) == ["child"]
        assert await titles(me, status=["paused", "completed"]) == ["paused"]
        assert await titles(me, "/goals/active") == ["child", "root"]
        page = await me.get("/goals", limit=1, offset=1)
        assert ([goal["title"] for goal in page["goals"]], page["total"]) == (["paused"], 3)
        await me.data("PATCH", f"/goals/{root}", json={"parentId": "goal_x"})
        assert await titles(me, parentId="null") == ["paused"]
        refused(await me.send("GET", "/goals", params={"status": "open"}), 400, "INVALID_REQUEST")

    async def test_lists_have_their_own_default_lengths(self, me: OwnPilot):
        await asyncio.gather(*(aim(me, str(number)) for number in range(21)))
        assert (len(await titles(me)), len(await titles(me, "/goals/active"))) == (20, 10)

    async def test_a_deleted_goal_takes_its_steps_along(self, me: OwnPilot):
        goal = await aim(me)
        [step] = await steps(me, goal, "a")
        assert await me.data("DELETE", f"/goals/{goal}") == {"message": "Goal deleted"}
        for method, path in [("GET", ""), ("GET", "/steps"), ("PATCH", f"/steps/{step}"), ("DELETE", "")]:
            refused(await me.send(method, f"/goals/{goal}{path}", json={}), 404, "NOT_FOUND")
        assert (await me.get("/goals/next-actions"))["actions"] == []

    async def test_another_users_goals_are_not_there(self, me: OwnPilot):
        goal, another = await aim(me), OwnPilot(me.http)
        [step] = await steps(me, goal, "a")
        own = f"/goals/{goal}"
        for method, path in [
            ("GET", own), ("PATCH", own), ("DELETE", own), ("GET", f"{own}/steps"), ("POST", f"{own}/steps"),
            ("PATCH", f"{own}/steps/{step}"), ("DELETE", f"{own}/steps/{step}"),
        ]:  # fmt: skip
            refused(await another.send(method, path, json={"title": "x"}), 404, "NOT_FOUND")
        assert await titles(another) == []
        assert [each["title"] for each in (await me.get(own))["steps"]] == ["a"]


class TestSteps:
    async def test_one_or_several_are_added_behind_the_last(self, me: OwnPilot):
        goal = await aim(me)
        one = data_of(await me.send("POST", f"/goals/{goal}/steps", json={"title": "a", "description": "d"}))
        assert (one["count"], one["message"], set(one["steps"][0])) == (1, "1 step added", STEP_KEYS)
        assert (one["steps"][0]["goalId"], one["steps"][0]["orderNum"], one["steps"][0]["result"]) == (goal, 1, None)
        await me.post(f"/goals/{goal}/steps", steps=[{"title": "far", "orderNum": 7}, {"title": "b"}])
        await me.post(f"/goals/{goal}/steps", title="between", orderNum=3)
        listed = await me.get(f"/goals/{goal}/steps")
        order = [(step["title"], step["orderNum"]) for step in listed["steps"]]
        assert (order, listed["count"]) == ([("a", 1), ("b", 2), ("between", 3), ("far", 7)], 4)
        await me.post(f"/goals/{goal}/steps", title="last")
        assert (await me.get(f"/goals/{goal}"))["steps"][-1]["orderNum"] == 8

    async def test_a_step_behind_the_highest_place_has_that_place_too(self, me: OwnPilot):
        goal = await aim(me)
        await me.post(f"/goals/{goal}/steps", title="a", orderNum=MAX_ORDER)
        await steps(me, goal, "b", "c")
        listed = await me.get(f"/goals/{goal}/steps")
        assert [(step["title"], step["orderNum"]) for step in listed["steps"]] == [(it, MAX_ORDER) for it in "abc"]

    async def test_the_progress_follows_every_change(self, me: OwnPilot):
        goal = await aim(me, progress=70)

        async def progress() -> int:
            return (await me.get(f"/goals/{goal}"))["progress"]

        ids = await steps(me, goal, *"abcdefgh")
        assert await progress() == 0
        done = await change(me, goal, ids[0], status="completed", result="easy")
        assert (done["status"], done["result"], bool(done["completedAt"])) == ("completed", "easy", True)
        assert await progress() == 13, "12.5 is rounded up"
        await me.data("PATCH", f"/goals/{goal}", json={"progress": 90})
        assert await progress() == 13
        await change(me, goal, ids[1], status="skipped")
        assert (await change(me, goal, ids[0], status="in_progress"))["completedAt"] is None
        assert await progress() == 0
        await change(me, goal, ids[0], status="completed")
        for step in ids[2:]:
            assert await me.data("DELETE", f"/goals/{goal}/steps/{step}") == {"message": "Step deleted"}
        assert await progress() == 50
        for step in ids[:2]:
            await me.data("DELETE", f"/goals/{goal}/steps/{step}")
        assert await progress() == 0

    async def test_the_time_of_its_last_change_moves_with_a_step(self, me: OwnPilot):
        goal = await aim(me)
        a, b = await steps(me, goal, "a", "b")
        made = {step["id"]: step["updatedAt"] for step in (await me.get(f"/goals/{goal}/steps"))["steps"]}
        assert (await change(me, goal, a, title="a"))["updatedAt"] == made[a]
        assert (await change(me, goal, a, status="completed"))["updatedAt"] > made[a]
        waits = await change(me, goal, b, dependencies=[a])
        await me.data("DELETE", f"/goals/{goal}/steps/{a}")
        [left] = (await me.get(f"/goals/{goal}/steps"))["steps"]
        assert left["updatedAt"] > waits["updatedAt"] > made[b]

    async def test_dependencies_are_steps_of_the_goal_and_form_no_circle(self, me: OwnPilot):
        goal, other = await aim(me), await aim(me)
        a, b, c = await steps(me, goal, "a", "b", "c")
        [stranger] = await steps(me, other, "x")
        await change(me, goal, b, dependencies=[a])
        await change(me, goal, c, dependencies=[b, a])
        for step, dependencies in [(a, [c]), (a, [a]), (a, ["step_x"]), (a, [stranger]), (a, [None]), (a, None)]:
            answer = await me.send("PATCH", f"/goals/{goal}/steps/{step}", json={"dependencies": dependencies})
            assert refused(answer, 400, "INVALID_REQUEST").startswith("dependencies")
        new = await me.send("POST", f"/goals/{goal}/steps", json={"title": "d", "dependencies": [stranger]})
        refused(new, 400, "INVALID_REQUEST")
        assert (await me.post(f"/goals/{goal}/steps", title="d", dependencies=[c]))["steps"][0]["dependencies"] == [c]
        await me.data("DELETE", f"/goals/{goal}/steps/{b}")
        left = (await me.get(f"/goals/{goal}"))["steps"]
        assert {step["title"]: step["dependencies"] for step in left} == {"a": [], "c": [a], "d": [c]}

    async def test_a_step_belongs_to_the_goal_in_the_path(self, me: OwnPilot):
        goal, other = await aim(me), await aim(me)
        [step] = await steps(me, goal, "a")
        for method in ("PATCH", "DELETE"):
            refused(await me.send(method, f"/goals/{other}/steps/{step}", json={"title": "x"}), 404, "NOT_FOUND")
        assert (await me.get(f"/goals/{goal}/steps"))["steps"][0]["title"] == "a"

    @pytest.mark.parametrize(
        "body", [{}, {"steps": []}, {"steps": [{"title": "a"}, {}]}, {"steps": {"title": "a"}}, {"title": " "},
                 {"title": "a", "status": "done"}, {"title": "a", "orderNum": -1}, {"title": "a", "orderNum": 1 << 70},
                 {"steps": [{"title": "a"}] * (MAX_STEPS + 1)}],
        ids=range(9),
    )  # fmt: skip
    async def test_wrong_steps_are_refused_and_none_is_added(self, me: OwnPilot, body: dict[str, Any]):
        goal = await aim(me)
        refused(await me.send("POST", f"/goals/{goal}/steps", json=body), 400, "INVALID_REQUEST")
        assert (await me.get(f"/goals/{goal}/steps"))["count"] == 0

    async def test_the_steps_of_a_goal_have_so_many_characters_together(self, me: OwnPilot):
        goal = await aim(me)
        [step] = await steps(me, goal, "x" * (MAX_CHARACTERS - 10))
        refused(await me.send("POST", f"/goals/{goal}/steps", json={"title": "x" * 11}), 400, "LIMIT_REACHED")
        result = {"result": "x" * 11}
        refused(await me.send("PATCH", f"/goals/{goal}/steps/{step}", json=result), 400, "LIMIT_REACHED")
        await change(me, goal, step, result="x" * 10)
        await me.data("PATCH", f"/goals/{goal}", json={"description": "x" * 100})

    async def test_a_goal_has_so_many_steps(self, me: OwnPilot):
        goal = await aim(me)
        await me.post(f"/goals/{goal}/steps", steps=[{"title": "a" * 100}] * MAX_STEPS)
        answer = await me.send("POST", f"/goals/{goal}/steps", json={"title": "one more"})
        assert str(MAX_STEPS) in refused(answer, 400, "LIMIT_REACHED")

    async def test_changes_at_the_same_moment_are_all_kept(self, me: OwnPilot):
        goal = await aim(me)
        ids = await steps(me, goal, *"abcd")
        await asyncio.gather(
            *(change(me, goal, step, status="completed") for step in ids[:3]),
            me.post(f"/goals/{goal}/steps", title="e"), me.data("DELETE", f"/goals/{goal}/steps/{ids[3]}"),
            me.data("PATCH", f"/goals/{goal}", json={"title": "changed"}),
        )  # fmt: skip
        after = await me.get(f"/goals/{goal}")
        assert (after["title"], after["progress"], len(after["steps"])) == ("changed", 75, 4)


class TestNextActions:
    async def test_open_steps_whose_dependencies_are_completed_by_priority_and_order(self, me: OwnPilot):
        low, high, paused = await aim(me, "low", priority=1), await aim(me, "high", priority=9), await aim(me, "off")
        a, b, c = await steps(me, low, "a", "b", "c")
        d, _, f, g = await steps(me, high, "d", "e", "f", "g")
        await steps(me, paused, "x")
        await me.data("PATCH", f"/goals/{paused}", json={"status": "paused"})
        await change(me, low, c, dependencies=[a, b])
        await change(me, low, b, status="skipped")
        await change(me, high, d, status="in_progress", orderNum=99)
        await change(me, high, f, status="blocked")
        await change(me, high, g, status="completed")
        found = await me.get("/goals/next-actions")
        assert [(each["goalTitle"], each["title"]) for each in found["actions"]] == [
            ("high", "e"), ("high", "d"), ("low", "a"),
        ]  # fmt: skip
        assert (found["count"], found["total"], set(found["actions"][0])) == (3, 3, {*STEP_KEYS, "goalTitle"})
        await change(me, low, a, status="completed")
        await change(me, low, b, status="completed")
        assert [each["title"] for each in (await me.get("/goals/next-actions"))["actions"]] == ["e", "d", "c"]
        part = await me.get("/goals/next-actions", limit=1, offset=2)
        assert ([each["title"] for each in part["actions"]], part["count"], part["total"]) == (["c"], 1, 3)

    async def test_five_are_shown_by_default(self, me: OwnPilot):
        await steps(me, await aim(me), *"abcdefg")
        found = await me.get("/goals/next-actions")
        assert (found["count"], found["total"]) == (5, 7)


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(StepStatus)),
        st.tuples(st.integers(0, 9), st.one_of(st.sampled_from(StepStatus), st.just("delete"))),
    ),
    min_size=2,
    max_size=12,
)


@pytest.mark.usefixtures("account")
class TestMethods:
    """The same for other code."""

    @examples(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(changes=CHANGES)
    async def test_the_progress_is_right_after_any_changes_at_once(self, changes: list[tuple[Any, Any]]):
        goal = await goals.create("property", {"title": "g"})
        before = [step.id for step in await add_steps("property", goal.id, [{"title": "s"}] * 5)]

        async def apply(target: Any, what: Any) -> None:
            try:
                if target == "add":
                    await add_steps("property", goal.id, [{"title": "new", "status": what, "dependencies": before[:1]}])
                elif what == "delete":
                    await delete_step("property", goal.id, before[target % 5])
                else:
                    await change_step("property", goal.id, before[target % 5], {"status": what})
            except (RecordNotFound, InvalidRequest):  # the step was deleted meanwhile
                pass

        await asyncio.gather(*(apply(*each) for each in changes))
        after = await goals.get("property", goal.id)
        done = sum(step.status == "completed" for step in after.steps)
        assert after.progress == progress_of(after.steps) == int(100 * done / (len(after.steps) or 1) + 0.5)
        assert all((step.completed_at is not None) == (step.status == "completed") for step in after.steps)
        known = {step.id for step in after.steps}
        assert all(known.issuperset(step.dependencies) for step in after.steps)
        await goals.delete("property", goal.id)

    async def test_they_check_what_requests_check(self):
        goal = await goals.create("methods", {"title": "g", "priority": 40})
        assert goal.priority == 10
        with pytest.raises(InvalidRequest, match="title"):
            await add_steps("methods", goal.id, [{"title": "a"}, {"title": ""}])
        [step] = await add_steps("methods", goal.id, [{"title": "a", "orderNum": 4}])
        with pytest.raises(InvalidRequest, match="status"):
            await change_step("methods", goal.id, step.id, {"status": "done"})
        assert [(found.id, action.order_num) for found, action in await next_actions("methods")] == [(goal.id, 4)]

    async def test_what_they_cost(self, counting: Counting):
        goal = await goals.create("costs", {"title": "g"})
        [step] = await add_steps("costs", goal.id, [{"title": "a"}])
        operations: list[tuple[Call, dict[str, int]]] = [
            (lambda: goals.get("costs", goal.id), {"get": 1}),
            (lambda: change_step("costs", goal.id, step.id, {"status": "completed"}), {"get": 1, "write": 1}),
            (lambda: next_actions("costs"), {"query": 1}),
        ]
        for operation, cost in operations:
            counting.reset()
            await operation()
            assert counting.calls == cost
