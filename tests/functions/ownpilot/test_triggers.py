"""Triggers: what fires them, when, how often, and what their history says."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock, patch
from uuid import uuid4

import httpx
import pytest

from functions.ownpilot import triggers as room
from functions.ownpilot.chat.logs import ChatLog, logs
from functions.ownpilot.core.entry import iso
from functions.ownpilot.core.happenings import happened
from functions.ownpilot.core.trigger_store import (
    due_times,
    firings,
    note_change,
    note_due,
    overview_of,
    stored_triggers,
)
from functions.ownpilot.triggers import conditions, firing, timers
from functions.ownpilot.triggers.actions import act
from functions.ownpilot.triggers.conditions import judge
from functions.ownpilot.triggers.firing import ownpilot_fire, ownpilot_firing, start_firing
from functions.ownpilot.triggers.seeds import SEEDS
from functions.ownpilot.triggers.timers import fire_due, repair_due_times
from infra.local.environment import Environment
from shared import deferred
from shared.http.errors import BadRequest
from shared.workflows import WorkflowClient
from tests.support.environments import StrictHost
from tests.support.gateway import Gateway
from tests.support.ownpilot import MODEL, Chatting, OwnPilot, chatting, data_of, refused
from tests.support.records import Counting
from tests.support.values import SECRET, UNKNOWN
from tests.support.waiting import eventually

KEYS = {
    "id", "userId", "name", "description", "type", "config", "action", "enabled", "priority", "lastFired", "nextFire",
    "fireCount", "createdAt", "updatedAt",
}  # fmt: skip
LINE = {"id", "triggerId", "triggerName", "firedAt", "status", "result", "error", "durationMs"}
RARELY = {"cron": "0 0 29 2 *"}
"""A schedule that is not due while tests run, but where they make it so."""


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("INVALID_CRON", {"config": {"cron": "60 * * * *"}}),
    ("INVALID_CRON", {"config": {"cron": "0 0 31 2 *"}}),
    ("INVALID_CRON", {"config": {"cron": "0 0 * *"}}),
    ("INVALID_REQUEST", {"config": {"cron": "* * * * *", "timezone": "Mars/Olympus"}}),
    ("INVALID_REQUEST", {"config": {"cron": "* * * * *", "timezone": 1}}),
    ("INVALID_REQUEST", {"config": {}}),
    ("INVALID_REQUEST", {"config": None}),
    ("INVALID_REQUEST", {"type": "other"}),
    ("INVALID_REQUEST", {"name": " "}),
    ("INVALID_REQUEST", {"priority": 11}),
    ("INVALID_REQUEST", {"enabled": None}),
    ("INVALID_REQUEST", {"type": "event", "config": {}}),
    ("INVALID_REQUEST", {"type": "event", "config": {"eventType": "x", "filters": []}}),
    ("INVALID_REQUEST", {"type": "condition", "config": {"condition": "hungry"}}),
    ("INVALID_REQUEST", {"type": "condition", "config": {"condition": "message_contains: "}}),
    ("INVALID_REQUEST", {"type": "condition", "config": {"condition": "low_progress", "threshold": -1}}),
    ("INVALID_REQUEST", {"type": "condition", "config": {"condition": "low_progress", "checkInterval": True}}),
    ("INVALID_REQUEST", {"type": "webhook", "config": {"secret": 1}}),
    ("INVALID_REQUEST", {"type": "webhook", "config": {"secret": "********"}}),
    ("INVALID_REQUEST", {"type": "webhook", "config": {"allowedSources": ["example.com"]}}),
    ("INVALID_REQUEST", {"type": "webhook", "config": {"allowedSources": "10.0.0.1"}}),
    ("INVALID_REQUEST", {"action": {"type": "dance"}}),
    ("INVALID_REQUEST", {"action": {"type": "chat"}}),
    ("INVALID_REQUEST", {"action": {"type": "chat", "payload": {"prompt": " "}}}),
    ("INVALID_REQUEST", {"action": {"type": "tool", "payload": {}}}),
    ("INVALID_REQUEST", {"action": {"type": "tool", "payload": []}}),
]
"""The code of each refusal, and the members of a trigger that are wrong."""


async def make(
    me: OwnPilot, type_: str = "schedule", config: dict[str, Any] = RARELY, **members: Any
) -> dict[str, Any]:
    """A new trigger, which notifies unless it is told another action."""
    body = {"name": "t", "type": type_, "config": config, "action": {"type": "notification"}, **members}
    return (await me.post("/triggers", **body))["trigger"]


async def history(me: OwnPilot, trigger: dict[str, Any]) -> list[dict[str, Any]]:
    return (await me.get(f"/triggers/{trigger['id']}/history"))["history"]


class Starts(WorkflowClient):
    """Takes the place of workflows: keeps the orders of firings, after failing as often as it is told."""

    def __init__(self, failures: int = 0):
        self.orders: dict[str, dict[str, Any]] = {}
        self.active: set[str] = set()
        self._failures = failures

    async def start(self, name: str, instance_id: str, value: Any = None) -> None:
        if self._failures:
            self._failures -= 1
            raise RuntimeError("the host is gone")
        self.orders[instance_id] = value

    async def status(self, instance_id: str) -> str | None:
        return "Running" if instance_id in self.active else "Completed"

    def of(self, trigger: dict[str, Any]) -> list[dict[str, Any]]:
        return [each for each in self.orders.values() if each["trigger"] == trigger["id"]]


async def be_due(me: OwnPilot, trigger: dict[str, Any], at: datetime) -> None:
    """Let a trigger have been due at a moment."""
    await note_due(me.user, trigger["id"], at)
    await stored_triggers.of(me.user).update(trigger["id"], lambda it: setattr(it, "next_fire", at), touch=False)


def ago(**time: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(**time)


def ahead(**time: float) -> datetime:
    """A moment in two days, and later: the timer of the real host does not take what is due then."""
    return datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(days=2) + timedelta(**time)


async def notes_of(trigger: dict[str, Any]) -> list[datetime]:
    return [each.at async for each in due_times.all({"trigger_id": trigger["id"]})]


class TestRecords:
    async def test_a_trigger_is_kept_shown_changed_and_deleted(self, me: OwnPilot):
        answer = await me.send("POST", "/triggers", json={
            "name": "Standup", "type": "schedule", "config": {"cron": "0 9 * * 1-5", "timezone": "Asia/Tokyo"},
            "action": {"type": "chat", "message": "Time for your standup!"}, "priority": 10,
        })  # fmt: skip
        assert answer.status_code == 201
        made = data_of(answer)
        assert set(made) == {"trigger", "message"} and set(made["trigger"]) == KEYS
        trigger, path = made["trigger"], f"/triggers/{made['trigger']['id']}"
        assert trigger["action"]["payload"] == {"message": "Time for your standup!"}
        assert (trigger["enabled"], trigger["fireCount"], trigger["lastFired"]) == (True, 0, None)
        assert trigger["nextFire"].endswith("T00:00:00.000Z") and trigger["nextFire"] > trigger["createdAt"]
        assert {**trigger, "recentHistory": []} == await me.get(path)
        renamed = await me.data("PATCH", path, json={"name": "Other"})
        assert (renamed["name"], renamed["nextFire"]) == ("Other", trigger["nextFire"])
        moved = await me.data("PATCH", path, json={"config": {"cron": "30 9 * * 1-5", "timezone": "local"}})
        assert moved["nextFire"].endswith("T09:30:00.000Z")
        off = await me.data("PATCH", f"{path}/toggle")
        assert set(off) == {"trigger", "message"}
        assert (off["trigger"]["enabled"], off["trigger"]["nextFire"]) == (False, None)
        on = (await me.data("PATCH", f"{path}/toggle", json={"enabled": True}))["trigger"]
        assert (on["enabled"], on["nextFire"]) == (True, moved["nextFire"])
        assert set(await me.data("DELETE", path)) == {"message"}
        for method, gone in [
            ("GET", path), ("PATCH", path), ("DELETE", path), ("PATCH", f"{path}/toggle"), ("POST", f"{path}/fire"),
            ("GET", f"{path}/history"),
        ]:  # fmt: skip
            refused(await me.send(method, gone, **({"json": {}} if method != "GET" else {})), 404, "NOT_FOUND")

    async def test_a_list_filters_and_counts(self, me: OwnPilot):
        first = await make(me, priority=6)
        second = await make(me, "event", {"eventType": "x"}, priority=7, enabled=False)
        found = await me.get("/triggers", limit=1)
        assert found["total"] == 2 + len(SEEDS) and [each["id"] for each in found["triggers"]] == [second["id"]]
        assert [each["id"] for each in (await me.get("/triggers", enabled="true"))["triggers"]] == [first["id"]]
        assert [each["id"] for each in (await me.get("/triggers", type="event"))["triggers"]] == [second["id"]]
        assert (await me.get("/triggers", limit=1, offset=1))["triggers"][0]["id"] == first["id"]
        assert (await OwnPilot(me.http).get("/triggers", enabled="true"))["total"] == 0

    async def test_everyone_has_six_from_the_start_and_a_deleted_one_stays_deleted(self, me: OwnPilot):
        await asyncio.gather(*(me.get("/triggers") for _ in range(4)))
        found = await me.get("/triggers")
        assert {each["name"] for each in found["triggers"]} == {*SEEDS} and len(SEEDS) == found["total"] == 6
        assert not any(each["enabled"] or each["nextFire"] for each in found["triggers"])
        await me.data("DELETE", f"/triggers/{found['triggers'][0]['id']}")
        assert (await me.get("/triggers"))["total"] == 5

    @pytest.mark.usefixtures("app")
    async def test_only_so_many_may_be_switched_on(self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch):
        await make(me)
        off = (await make(me, enabled=False))["id"]
        monkeypatch.setattr(room, "MOST_ENABLED", 1)
        new = {"name": "t", "type": "schedule", "config": RARELY, "action": {"type": "notification"}}
        for refused_ in (
            room.create_trigger(me.user, new), room.switch_trigger(me.user, off, None),
            room.change_trigger(me.user, off, {"enabled": True}),
        ):  # fmt: skip
            with pytest.raises(BadRequest) as error:
                await refused_
            assert error.value.code == "LIMIT_REACHED"
        await room.create_trigger(me.user, new | {"enabled": False})
        await room.change_trigger(me.user, off, {"name": "Renamed"})

    async def test_what_no_trigger_can_be_is_refused(self, me: OwnPilot):
        good = {"name": "t", "type": "schedule", "config": RARELY, "action": {"type": "notification"}}
        answers = await asyncio.gather(
            *(me.send("POST", "/triggers", json={**good, **members}) for _, members in WRONG)
        )
        for (code, members), answer in zip(WRONG, answers, strict=True):
            assert refused(answer, 400, code), members
        assert (await me.get("/triggers"))["total"] == len(SEEDS)


@pytest.mark.usefixtures("app")
class TestSchedules:
    async def test_a_due_time_that_was_missed_fires_once_on_the_real_host(self, me: OwnPilot):
        trigger = await make(me, config={"cron": "*/7 * * * *"})
        missed = ago(hours=3)
        await be_due(me, trigger, missed)
        assert (await me.http.post("/admin/functions/maintenance_minute", json={})).status_code == 202
        (line,) = await eventually(lambda: history(me, trigger))
        assert set(line) == LINE and (line["status"], line["triggerName"]) == ("success", "t")

        async def counted() -> dict[str, Any]:
            return await me.get(f"/triggers/{trigger['id']}")

        shown = await eventually(counted, until=lambda it: it["fireCount"])
        assert (shown["fireCount"], shown["recentHistory"], shown["lastFired"]) == (1, [line], line["firedAt"])
        assert shown["nextFire"] > line["firedAt"] and shown["updatedAt"] == trigger["updatedAt"]
        occasion = f"{trigger['id']} {missed:%Y%m%dT%H%M%SZ}"
        await ownpilot_fire({"user": me.user, "trigger": trigger["id"], "occasion": occasion})
        assert await history(me, trigger) == [line]  # although the same firing was carried out again

    async def test_of_several_instances_at_once_with_any_clocks_one_fires(self, me: OwnPilot):
        trigger, starts, at = await make(me, config={"cron": "*/5 * * * *"}), Starts(), ahead()
        await be_due(me, trigger, at)
        clocks = [at - timedelta(hours=1), *[at + timedelta(minutes=2)] * 3, at + timedelta(minutes=1)]
        await asyncio.gather(*(fire_due(starts, clock) for clock in clocks))
        assert [each["occasion"] for each in starts.of(trigger)] == [f"{trigger['id']} {at:%Y%m%dT%H%M%SZ}"]
        jumped = at + timedelta(hours=1, minutes=2)
        for clock in (jumped, at + timedelta(minutes=30), jumped):
            await fire_due(starts, clock)
        assert len(starts.of(trigger)) == 2
        assert min(await notes_of(trigger)) > jumped  # no due time before it comes again

    async def test_what_a_crash_leaves_behind_is_done_in_the_next_minute(self, me: OwnPilot):
        claimed, changed, at = await make(me), await make(me, enabled=False), ahead()
        await be_due(me, claimed, at)
        await fire_due(Starts(failures=10**6), at)  # the trigger has moved on, and nothing has begun
        await note_change(me.user, changed["id"])
        due = ahead(days=300)
        await stored_triggers.of(me.user).update(changed["id"], lambda it: setattr(it, "next_fire", due))
        starts = Starts()
        await fire_due(starts, at + timedelta(minutes=1))
        assert [each["occasion"][-16:] for each in starts.of(claimed)] == [f"{at:%Y%m%dT%H%M%SZ}"]
        assert starts.of(changed) == [] and await notes_of(changed) == [due]
        await due_times.clear({"trigger_id": changed["id"]})
        await repair_due_times(starts)  # `claimed` is noted, so this user is looked after
        assert await notes_of(changed) == [due]

    async def test_no_due_time_is_claimed_before_the_one_before_it_has_begun(self, me: OwnPilot):
        trigger, at = await make(me, config={"cron": "* * * * *"}), ahead()
        await be_due(me, trigger, at)
        await fire_due(Starts(failures=10**6), at)
        await fire_due(Starts(failures=1), at + timedelta(minutes=1))
        await fire_due(starts := Starts(), at + timedelta(minutes=1))
        wanted = [f"{at + timedelta(minutes=each):%Y%m%dT%H%M%SZ}" for each in range(2)]
        assert [each["occasion"][-16:] for each in starts.of(trigger)] == wanted
        await me.data("DELETE", f"/triggers/{trigger['id']}")

    async def test_a_change_is_noted_before_it_is_made(self, me: OwnPilot):
        trigger = await make(me)
        moved = await me.data("PATCH", f"/triggers/{trigger['id']}", json={"config": {"cron": "0 0 1 1 *"}})
        noted = [iso(at) for at in await notes_of(trigger)]
        assert sorted(noted)[1:] == [moved["nextFire"], trigger["nextFire"]]
        assert noted[-1] < iso(datetime.now(UTC) + timedelta(minutes=2))  # a look that makes good for a crash

    async def test_a_change_of_something_else_passes_over_no_due_time(self, me: OwnPilot):
        trigger, at = await make(me), ahead()
        await be_due(me, trigger, at)
        await me.data("PATCH", f"/triggers/{trigger['id']}", json={"description": "d"})
        await fire_due(starts := Starts(), at)
        assert len(starts.of(trigger)) == 1

    async def test_what_is_off_deleted_or_broken_stops_no_other(self, me: OwnPilot):
        made, at = [await make(me) for _ in range(5)], ahead()
        off, gone, broken, odd, _ = made
        for each in made:
            await be_due(me, each, at)
        await me.data("PATCH", f"/triggers/{off['id']}", json={"enabled": False})
        await me.data("DELETE", f"/triggers/{gone['id']}")
        own = stored_triggers.of(me.user)
        await own.update(broken["id"], lambda it: setattr(it, "config", {"cron": 7}))
        await own.update(odd["id"], lambda it: setattr(it, "config", {**RARELY, "timezone": "Mars/Olympus"}))
        await fire_due(starts := Starts(), at)
        assert [len(starts.of(each)) for each in made] == [0, 0, 0, 1, 1]
        await ownpilot_fire(starts.of(odd)[0])
        (line,) = await history(me, odd)
        assert line["status"] == "skipped" and not (await me.get(f"/triggers/{odd['id']}"))["enabled"]
        await own.delete(broken["id"])

    async def test_what_is_switched_off_before_its_action_is_skipped_and_not_counted(self, me: OwnPilot):
        trigger = await make(me, enabled=False)
        await ownpilot_fire({"user": me.user, "trigger": trigger["id"], "occasion": f"{trigger['id']} x"})
        (line,) = await history(me, trigger)
        assert line["status"] == "skipped" and (await me.get(f"/triggers/{trigger['id']}"))["fireCount"] == 0

    async def test_one_that_has_not_ended_is_not_fired_again(self, me: OwnPilot):
        trigger, starts, at = await make(me, config={"cron": "* * * * *"}), Starts(), ahead()
        await be_due(me, trigger, at)
        await fire_due(starts, at)
        starts.active = {*starts.orders}
        await fire_due(starts, at + timedelta(minutes=1))
        assert len(starts.of(trigger)) == 1
        (line,) = await history(me, trigger)
        assert line["status"] == "skipped" and "had not ended" in line["result"]["message"]
        starts.active.clear()
        await fire_due(starts, at + timedelta(minutes=2))
        assert len(starts.of(trigger)) == 2
        await me.data("DELETE", f"/triggers/{trigger['id']}")

    async def test_one_that_takes_too_long_holds_up_no_other(self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch):
        slow, other, at = await make(me), await make(me), ahead()
        for each in (slow, other):
            await be_due(me, each, at)

        class Slow(Starts):
            async def start(self, name: str, instance_id: str, value: Any = None) -> None:
                if value["trigger"] == slow["id"]:
                    await asyncio.Event().wait()
                await super().start(name, instance_id, value)

        with monkeypatch.context() as patched:
            patched.setattr(timers, "PATIENCE", 0.5)
            await fire_due(first := Slow(), at)
        await fire_due(second := Starts(), at + timedelta(minutes=1))
        assert [len(each.of(slow)) for each in (first, second)] == [0, 1]
        assert len(first.of(other)) == 1

    async def test_a_note_waits_for_its_trigger_to_be_stored_but_not_for_ever(self, me: OwnPilot):
        nobody, at = {"id": f"trigger_{uuid4()}"}, ahead()
        await note_due(me.user, nobody["id"], at)
        await fire_due(Starts(), at + timedelta(minutes=1))
        assert await notes_of(nobody) == [at]
        await fire_due(Starts(), at + timedelta(minutes=11))
        assert await notes_of(nobody) == []

    async def test_a_user_has_a_few_of_the_places_for_work_and_no_firing_is_lost(self, me: OwnPilot):
        trigger = await make(me)
        order = {"user": me.user, "trigger": trigger["id"], "occasion": f"{trigger['id']} x"}
        with patch.dict(firing._running, {me.user: firing.AT_ONCE}):
            assert await ownpilot_fire(order) is False
            assert await history(me, trigger) == []
        assert await ownpilot_fire(order) is True
        assert len(await history(me, trigger)) == 1 and me.user not in firing._running
        ctx = Mock(get_input=lambda: order, current_utc_datetime=ago())
        run: Any = ownpilot_firing
        steps = run._function.get_user_function().orchestrator_function(ctx)
        assert next(steps) is ctx.call_activity_with_retry.return_value
        assert steps.send(False) is ctx.create_timer.return_value
        assert next(steps, "over") == "over"
        ctx.continue_as_new.assert_called_once_with(order)

    async def test_with_nothing_due_the_timer_makes_one_call(self, me: OwnPilot, counting: Counting):
        await make(me)
        await fire_due(Starts(), ago(days=2000))
        assert counting.calls.total() == 1


@pytest.mark.usefixtures("app")
class TestConditions:
    async def test_each_holds_when_it_is_said_to(self, me: OwnPilot):
        async def holds(condition: str, threshold: float | None = None) -> str:
            return await judge(me.user, {"condition": condition, "threshold": threshold})

        assert await holds("no_activity") and not await holds("stale_goals", 0) and not await holds("low_progress")
        soon = (datetime.now(UTC) + timedelta(days=2)).isoformat()
        goal = (await me.post("/goals", title="Swim", dueDate=soon))["goal"]["id"]
        await me.post("/memories", type="fact", content="c")
        assert "Swim" in await holds("low_progress", 1) and not await holds("low_progress", 0)
        assert "Swim" in await holds("upcoming_deadline") and not await holds("upcoming_deadline", 1)
        assert "Swim" in await holds("stale_goals", 0) and not await holds("stale_goals")
        assert await holds("memory_threshold", 1) and not await holds("memory_threshold", 2)
        await me.data("PATCH", f"/goals/{goal}", json={"status": "paused"})
        assert not any(
            [await holds("low_progress", 1), await holds("upcoming_deadline"), await holds("stale_goals", 0)]
        )

    async def test_messages_of_triggers_are_no_activity_as_far_as_they_are_looked_through(
        self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch
    ):
        line = ChatLog(user_id=me.user, day=f"{datetime.now(UTC):%Y-%m-%d}", endpoint="/api/v1/triggers/t")
        await logs.of(me.user).insert(line)
        assert await judge(me.user, {"condition": "no_activity"})
        monkeypatch.setattr(conditions, "MOST_LINES", 1)
        assert not await judge(me.user, {"condition": "no_activity"})

    async def test_one_is_looked_at_every_five_minutes_and_fires_again_after_its_interval(self, me: OwnPilot):
        await me.post("/memories", type="fact", content="c")
        trigger = await make(me, "condition", {"condition": "memory_threshold", "threshold": 2, "checkInterval": 90})
        start, starts = datetime.fromisoformat(trigger["nextFire"]), Starts()
        assert timedelta(minutes=3) < start - datetime.now(UTC) <= timedelta(minutes=5)
        await fire_due(starts, start)
        assert starts.of(trigger) == [] and await notes_of(trigger) == [start + timedelta(minutes=5)]
        await me.post("/memories", type="fact", content="d")
        await fire_due(starts, start + timedelta(minutes=5))
        assert len(starts.of(trigger)) == 1
        assert await notes_of(trigger) == [start + timedelta(minutes=95)]
        await ownpilot_fire(starts.of(trigger)[0])
        (line,) = await history(me, trigger)
        assert line["result"] == {"message": "There are 2 memories", "data": {"message": "There are 2 memories"}}


class TestActions:
    async def test_one_that_is_off_is_fired_by_hand_and_counted(self, me: OwnPilot):
        trigger = await make(me, enabled=False, action={"type": "notification", "payload": {"message": "Drink"}})
        answers = [await me.data("POST", f"/triggers/{trigger['id']}/fire") for _ in range(2)]
        assert answers[0] == {
            "result": {"message": "Drink", "data": {"message": "Drink"}}, "message": "t was fired",
        }  # fmt: skip
        found = await me.get(f"/triggers/{trigger['id']}/history", limit=1)
        assert set(found) == {"triggerId", "triggerName", "history", "count"}
        assert (found["triggerId"], found["triggerName"], found["count"], len(found["history"])) == (
            trigger["id"], "t", 2, 1,
        )  # fmt: skip
        shown = await me.get(f"/triggers/{trigger['id']}")
        assert (shown["fireCount"], shown["enabled"], shown["nextFire"]) == (2, False, None)

    async def test_a_failure_is_500_with_data_and_stays_in_the_history(self, me: OwnPilot):
        for action, why in [
            ({"type": "tool", "payload": {"tool": "no_such_tool"}}, "There is no tool named"),
            ({"type": "tool", "payload": {"tool": "calculate"}}, "missing required parameter expression"),
            ({"type": "chat", "payload": {"prompt": "p", "provider": "openai"}}, "API key"),
        ]:
            trigger = await make(me, action=action)
            answer = await me.send("POST", f"/triggers/{trigger['id']}/fire")
            body = answer.json()
            assert answer.status_code == 500 and set(body) == {"success", "data", "error", "meta"}, body
            assert body["success"] is False and body["error"]["code"] == "EXECUTION_ERROR"
            assert why in body["error"]["message"] and body["data"]["message"] == body["error"]["message"]
            (line,) = await history(me, trigger)
            assert (line["status"], line["result"], line["error"]) == ("failure", None, body["error"]["message"])
            assert (await me.get(f"/triggers/{trigger['id']}"))["fireCount"] == 1

    async def test_a_tool_gets_the_rest_of_the_payload(self, me: OwnPilot):
        whole = {"tool": "calculate", "expression": "6*7"}
        for members in (
            {"payload": whole},
            {"payload": {"tool": "calculate", "arguments": {"expression": "6*7"}}},
            whole,
            {"tool": "calculate", "arguments": {"expression": "6*7"}, "payload": None},
        ):
            trigger = await make(me, action={"type": "tool", **members})
            fired = await me.data("POST", f"/triggers/{trigger['id']}/fire")
            assert fired["result"] == {"message": "42", "data": {"tool": "calculate", "content": "42"}}
        recursive = await make(me, action={"type": "tool", "payload": {"tool": "fire_trigger", "trigger_id": UNKNOWN}})
        answer = await me.send("POST", f"/triggers/{recursive['id']}/fire")
        assert answer.status_code == 500 and "cannot fire triggers" in answer.json()["error"]["message"]

    async def test_goals_are_checked_and_memories_summed_up(self, me: OwnPilot):
        await me.post("/goals", title="Swim", dueDate="2020-01-01")
        await me.post("/memories", type="fact", content="c")
        goal_check, summary = [await make(me, action={"type": name}) for name in ("goal_check", "memory_summary")]
        fired = (await me.data("POST", f"/triggers/{goal_check['id']}/fire"))["result"]
        assert fired["message"] == "1 active goal; 1 overdue: Swim"
        assert fired["data"] == {"active": 1, "stale": [], "overdue": ["Swim"]}
        fired = (await me.data("POST", f"/triggers/{summary['id']}/fire"))["result"]
        assert fired["data"] == {"total": 1, "byType": {"fact": 1}, "newest": ["c"]}

    @pytest.mark.usefixtures("app")
    async def test_an_action_that_breaks_is_a_failure(self, me: OwnPilot):
        trigger = await make(me, action={"type": "tool", "payload": {"tool": "calculate"}})
        record = await stored_triggers.of(me.user).get(trigger["id"])
        record.action = {"type": "tool", "payload": {}}
        assert (await act(me.user, record)).failed


@pytest.fixture
async def talking(stack: Environment, http: httpx.AsyncClient) -> Chatting:
    return await chatting(http, stack.ports["providers"])


class TestEvents:
    async def test_what_is_said_fires_once_and_no_trigger_fires_itself(self, talking: Chatting):
        me = talking
        chat = {"type": "chat", "payload": {"prompt": "Say more", "provider": me.provider, "model": MODEL}}
        answered = await make(me, "event", {"eventType": "chat_completed"}, action=chat)
        asked = await make(me, "condition", {"condition": "message_contains:HELLO there"})
        told = await make(me, "condition", {"condition": "response_contains:general"})
        chosen = await make(me, "event", {"eventType": "chat_completed", "filters": {"message_contains": "hello"}})
        others = [
            await make(me, "condition", {"condition": "message_contains:nobody says this"}),
            await make(me, "event", {"eventType": "chat_completed", "filters": {"conversationId": "other"}}),
            await make(me, "event", {"eventType": "channel_message"}),
            await make(me, "event", {"eventType": "chat_completed"}, enabled=False),
        ]
        await me.say("Hello there, General")  # the stand-in repeats what it is told
        fired = [(await eventually(lambda each=each: history(me, each))) for each in (answered, asked, told, chosen)]
        assert [[line["status"] for line in lines] for lines in fired] == [["success"]] * 4
        assert "What has happened" in fired[0][0]["result"]["message"]
        assert "chat_completed" in fired[1][0]["result"]["message"]
        assert [await history(me, each) for each in others] == [[]] * 4
        assert len(await history(me, answered)) == 1  # its own message has told nobody

    @pytest.mark.usefixtures("app")
    async def test_a_repeated_event_fires_nothing_again_and_its_secrets_are_masked(self, me: OwnPilot):
        trigger = await make(me, "event", {"eventType": "x", "filters": {"kind": ["a", "b"]}})
        event = {"kind": "b", "text": f"token={SECRET} " + "x" * 5000}
        handlers = patch.dict(deferred.workflow_handlers, {"ownpilot.start_firing": start_firing})
        with handlers:
            assert await happened(me.user, "x", {**event, "kind": "c"}, "e1") == []
            assert await happened(me.user, "y", event, "e1") == []
            for _ in range(2):
                assert await happened(me.user, "x", event, "e1") == [trigger["id"]]
            await happened(me.user, "x", event, "e2")

        async def lines() -> int:
            return len(await history(me, trigger))

        await eventually(lines, until=lambda count: count == 2)
        (message, _) = [line["result"]["message"] for line in await history(me, trigger)]
        assert SECRET not in message and "[REDACTED]" in message and len(message) < 2000


class TestSenders:
    async def webhook(self, host: StrictHost, client: Gateway, **config: Any) -> tuple[str, dict[str, Any]]:
        body = {"name": "w", "type": "webhook", "config": config, "action": {"type": "notification"}}
        answer = await host.http.post("/ownpilot/api/v1/triggers", json=body, headers={"X-API-Key": client.key})
        made = data_of(answer)["trigger"]
        return f"/ownpilot/api/v1/triggers/{made['id']}", made

    async def test_the_secret_opens_that_one_route(self, strict_host: StrictHost, gateway: Gateway):
        http, mine = strict_host.http, {"X-API-Key": gateway.key}
        path, made = await self.webhook(strict_host, gateway, secret="a-secret-ü")
        assert made["config"] == {"secret": "********"}
        at, sent = f"{path}/fire?userId={gateway.id}", {b"X-Trigger-Secret": "a-secret-ü".encode()}
        assert data_of(await http.post(at, headers=sent))["message"] == "w was fired"
        assert data_of(await http.post(f"{path}/fire", headers=mine))["message"] == "w was fired"
        wrong = [
            await http.post(at), await http.post(at, headers={"X-Trigger-Secret": "a-secret"}),
            await http.post(at, headers={"X-Trigger-Secret": ""}), await http.post(f"{path}/fire", headers=sent),
            await http.post(f"{path.replace(made['id'], UNKNOWN)}/fire?userId={gateway.id}", headers=sent),
            await http.get(f"{path}?userId={gateway.id}", headers=sent),
            await http.patch(f"{path}/toggle?userId={gateway.id}", headers=sent),
        ]  # fmt: skip
        for answer in wrong:
            refused(answer, 401, "UNAUTHORIZED")
        renamed = data_of(await http.patch(path, json={"config": {"secret": "********"}}, headers=mine))
        assert renamed["config"] == {"secret": "********"}
        assert (await http.post(at, headers=sent)).status_code == 200
        await http.patch(path, json={"enabled": False}, headers=mine)
        refused(await http.post(at, headers=sent), 409, "CONFLICT")
        await http.patch(path, json={"config": {}}, headers=mine)
        refused(await http.post(at, headers=sent), 401)

    async def test_a_trigger_of_another_kind_has_no_secret(self, strict_host: StrictHost, gateway: Gateway):
        body = {"name": "s", "type": "schedule", "config": RARELY | {"secret": "s"}, "action": {"type": "notification"}}
        mine = {"X-API-Key": gateway.key}
        made = data_of(await strict_host.http.post("/ownpilot/api/v1/triggers", json=body, headers=mine))["trigger"]
        for secret in ("", "s", "********"):
            at = f"/ownpilot/api/v1/triggers/{made['id']}/fire?userId={gateway.id}"
            refused(await strict_host.http.post(at, headers={"X-Trigger-Secret": secret}), 401)

    async def test_the_address_is_the_one_that_the_front_end_added(self, strict_host: StrictHost, gateway: Gateway):
        sources = ["203.0.113.0/24", "2001:db8::1"]
        path, _ = await self.webhook(strict_host, gateway, secret="s", allowedSources=sources)
        at = f"{path}/fire?userId={gateway.id}"
        for address, status in [
            ("203.0.113.9", 200), ("10.0.0.1, 203.0.113.9:4711", 200), ("[2001:db8::1]:443", 200),
            ("::ffff:203.0.113.9", 200), ("203.0.113.9, 198.51.100.1", 403), ("203.0.114.1", 403), ("nowhere", 403),
        ]:  # fmt: skip
            sent = {"X-Trigger-Secret": "s", "X-Forwarded-For": address}
            answer = await strict_host.http.post(at, headers=sent)
            assert answer.status_code == status, (address, answer.text)
        known = {"X-API-Key": gateway.key, "X-Forwarded-For": "198.51.100.1"}
        assert (await strict_host.http.post(f"{path}/fire", headers=known)).status_code == 200

    @pytest.mark.usefixtures("app")
    async def test_the_secret_is_sealed(self, me: OwnPilot):
        trigger = await make(me, "webhook", {"secret": "in-the-clear"})
        record = await stored_triggers.of(me.user).get(trigger["id"])
        assert "in-the-clear" not in record.model_dump_json() and record.secret == "in-the-clear"


class TestTools:
    async def use(self, me: OwnPilot, tool: str, *, fails: bool = False, **arguments: Any) -> str:
        answer = await me.post(f"/tools/{tool}/execute", arguments=arguments)
        assert answer["isError"] is fails, answer
        return answer["result"]

    async def test_each_does_what_its_route_does(self, me: OwnPilot):
        made = await self.use(
            me, "create_trigger", name="t", type="schedule", cron="0 9 * * *", action_type="notification",
            action_payload={"message": "m"}, enabled=False, priority=9,
        )  # fmt: skip
        trigger = (await me.get("/triggers", type="schedule"))["triggers"][0]
        assert trigger["id"] in made and (trigger["priority"], trigger["enabled"]) == (9, False)
        assert trigger["id"] in await self.use(me, "enable_trigger", trigger_id=trigger["id"], enabled=True)
        assert (await me.get(f"/triggers/{trigger['id']}"))["nextFire"]
        assert trigger["id"] in await self.use(me, "list_triggers", type="schedule", enabled=True)
        assert "t was fired" in await self.use(me, "fire_trigger", trigger_id=trigger["id"])
        assert '"success": 1' in await self.use(me, "trigger_stats")
        wrong = {"name": "t", "type": "schedule", "cron": "x", "action_type": "goal_check", "action_payload": {}}
        assert "five fields" in await self.use(me, "create_trigger", fails=True, **wrong)
        assert trigger["id"] in await self.use(me, "delete_trigger", trigger_id=trigger["id"])
        for name in ("fire_trigger", "delete_trigger"):
            assert "not found" in await self.use(me, name, fails=True, trigger_id=trigger["id"])

    async def test_one_that_asks_the_assistant_goes_on_by_itself(self, talking: Chatting):
        chat = {"type": "chat", "payload": {"prompt": "Say more", "provider": talking.provider, "model": MODEL}}
        trigger = await make(talking, action=chat, enabled=False)
        await self.use(talking, "fire_trigger", trigger_id=trigger["id"])
        (line,) = await eventually(lambda: history(talking, trigger))
        assert line["status"] == "success" and "Say more" in line["result"]["message"]


@pytest.mark.usefixtures("app")
async def test_an_overview_has_what_is_due_today_and_the_newest_lines(me: OwnPilot):
    late, soon, _ = [await make(me, config={"cron": each}) for each in ("59 23 * * *", "* * * * *", "0 0 29 2 *")]
    await me.data("POST", f"/triggers/{late['id']}/fire")
    found = await overview_of(me.user)
    assert (found.total, found.enabled) == (3 + len(SEEDS), 3)
    assert [each.id for each in found.today][-1] in (late["id"], soon["id"])  # in the last minute of a day: neither
    assert [each.trigger_id for each in found.recent][-1] == late["id"]


@pytest.mark.usefixtures("app")
async def test_the_history_goes_with_its_trigger(me: OwnPilot):
    trigger = await make(me, "webhook", {})
    await me.data("POST", f"/triggers/{trigger['id']}/fire")
    own = firings.of(me.user)
    assert await own.count({"trigger_id": trigger["id"]}) == 1
    await me.data("DELETE", f"/triggers/{trigger['id']}")

    async def left() -> int:
        return await own.count({"trigger_id": trigger["id"]})

    await eventually(left, until=lambda count: not count)
