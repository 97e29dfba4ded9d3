"""The dashboard: the day in lists, in numbers, and in words of a model or of rules."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from functions.ownpilot.core.entry import days, iso
from functions.ownpilot.core.usage import Price, record_usage
from functions.ownpilot.dashboard import briefing, cache, figures
from functions.ownpilot.dashboard.figures import figures_of
from functions.ownpilot.dashboard.page import data_of
from functions.ownpilot.tasks import Task
from infra.local.environment import Environment
from shared.tables import StorageUnavailable
from shared.tables.client import client
from tests.support.ownpilot import MODEL, Chatting, OwnPilot, chatting, script
from tests.support.records import Counting

WRITTEN = {
    "summary": "A busy day.", "priorities": ["Call Ann"], "insights": ["Much is late"], "suggestedFocusAreas": ["Rest"],
}  # fmt: skip
NOW = datetime.now(UTC)


def told(*turns: Any) -> str:
    """The title of a task that tells the stand-in of a model what to answer."""
    return script(*turns)


@pytest.fixture
async def asking(http: httpx.AsyncClient, stack: Environment) -> Chatting:
    """A person with a provider that can be asked, the default one."""
    person = await chatting(http, stack.ports["providers"])
    await person.data("PATCH", f"/local-providers/{person.provider}/set-default")
    return person


async def fill(me: OwnPilot) -> None:
    """A day with something of each kind."""
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    for title, due in (("late", "2020-01-01"), ("now", iso(midnight)), ("later", "2100-01-01")):
        await me.post("/tasks", title=title, dueDate=due)
    done = await me.post("/tasks", title="done")
    await me.post(f"/tasks/{done['id']}/complete")
    await me.post("/calendar", title="today", startTime=iso(midnight + timedelta(hours=1)))
    await me.post("/calendar", title="soon", startTime=iso(midnight + timedelta(days=2)))
    await me.post("/calendar", title="far", startTime=iso(midnight + timedelta(days=30)))
    for priority, progress in ((9, 40), (3, 60)):
        goal = (await me.post("/goals", title=f"goal {priority}", priority=priority, progress=progress))["goal"]["id"]
        await me.post(f"/goals/{goal}/steps", steps=[{"title": f"step {priority}"}])
    habit = (await me.post("/habits", name="read"))["habit"]["id"]
    await me.post(f"/habits/{habit}/complete", date=(NOW.date() - timedelta(days=1)).isoformat())
    await me.post("/memories", type="fact", content="likes tea", importance=0.9)
    await me.post("/notes", title="pinned", content="c", isPinned=True)
    await me.post("/notes", title="plain", content="c")
    await me.post("/custom-data/tables", name="recipes", displayName="r", columns=[{"name": "title", "type": "text"}])
    await me.post("/custom-data/tables/recipes/records", data={"title": "t"})


def titles(items: list[dict[str, Any]]) -> list[str]:
    return [each["title"] for each in items]


@pytest.mark.usefixtures("app")
class TestFigures:
    async def test_the_day_in_lists_and_numbers(self, me: OwnPilot):
        await fill(me)
        await record_usage(me.user, "p", "m", price=Price(1, 2), input_tokens=10**6, output_tokens=10**6)
        data = await me.get("/dashboard/data")
        tasks, calendar, goals, habits = data["tasks"], data["calendar"], data["goals"], data["habits"]
        assert tasks["counts"] == {
            "pending": 3, "dueToday": 1, "overdue": 1, "total": 4, "due": 1, "completed": 1,
        }  # fmt: skip
        assert [titles(tasks[name]) for name in ("overdue", "dueToday", "pending")] == [
            ["late"], ["now"], ["late", "now", "later"],
        ]  # fmt: skip
        assert (titles(calendar["todayEvents"]), titles(calendar["upcomingEvents"])) == (["today"], ["soon"])
        assert calendar["counts"] == {"today": 1, "upcoming": 1}
        assert titles(goals["active"]) == ["goal 9", "goal 3"]
        assert [(each["goalTitle"], each["title"]) for each in goals["nextActions"]] == [
            ("goal 9", "step 9"), ("goal 3", "step 3"),
        ]  # fmt: skip
        assert goals["stats"] == {"activeCount": 2, "averageProgress": 0, "overdueCount": 0}
        assert habits["todayProgress"]["total"] == 1 and habits["todayProgress"]["completed"] == 0
        assert [each["name"] for each in habits["streaksAtRisk"]] == ["read"]
        assert [each["streak"] for each in habits["streaks"]] == [1]
        assert data["memories"]["stats"] == {"total": 1, "recentCount": 1}
        assert (titles(data["notes"]["pinned"]), len(data["notes"]["recent"])) == (["pinned"], 2)
        assert data["costs"]["daily"] == {"totalTokens": 2 * 10**6, "totalCost": 3, "totalCalls": 1}
        assert data["customData"]["totalRecords"] == 1
        assert data["customData"]["tables"][0]["recordCount"] == 1
        stats = await me.get("/dashboard/stats")
        assert stats["tasks"] == {"due": 1, "overdue": 1, "completed": 1, "pending": 3, "total": 4}
        assert stats["calendar"] == {"today": 1, "upcoming": 1} and stats["goals"]["active"] == 2
        assert stats["notes"] == {"total": 2, "pinned": 1} and stats["costs"] == data["costs"]

    async def test_an_empty_day(self, me: OwnPilot):
        data = await me.get("/dashboard/data")
        assert data["tasks"]["pending"] == [] and data["goals"]["stats"]["averageProgress"] == 0
        assert data["costs"]["monthly"] == {"totalTokens": 0, "totalCost": 0, "totalCalls": 0}

    async def test_it_costs_at_most_twenty_calls(self, me: OwnPilot):
        wire = client().wire
        wire.transport = counting = Counting(wire.transport)
        data_of(await figures_of(me.user))
        assert 5 < counting.calls.total() <= 20

    async def test_what_is_due_is_worked_out_once(self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch):
        late = datetime.now(UTC) - timedelta(days=2)
        found = replace(
            await figures_of(me.user), tasks=[Task(title=f"t{n}", due_date=late, rank="") for n in range(3)]
        )
        asked: list[object] = []
        monkeypatch.setattr(figures, "days", lambda *given: asked.append(given) or days(*given))
        assert len(found.overdue) == 3 and found.due_today == found.todays_events == []
        assert len(asked) == 1 and found.open_tasks is found.open_tasks


@pytest.mark.usefixtures("app")
class TestBriefing:
    async def test_without_a_provider_rules_make_it(self, me: OwnPilot):
        await fill(me)
        answer = await me.get("/dashboard/briefing")
        made = answer["aiBriefing"]
        assert made["modelUsed"] == briefing.BY_RULES and answer["cached"] is made["cached"] is False
        assert "3 open tasks" in made["summary"] and "1 task overdue" in made["summary"]
        assert made["priorities"][:2] == ["Overdue: late", "Due today: now"]
        assert made["insights"] == made["suggestions"] and "read" in made["insights"][0]
        assert answer["aiError"] and answer["data"]["tasks"]["counts"]["overdue"] == 1
        assert set(made) == {
            "id", "summary", "priorities", "insights", "suggestions", "suggestedFocusAreas", "generatedAt", "expiresAt",
            "modelUsed", "cached",
        }  # fmt: skip

    async def test_a_model_writes_it_and_it_is_kept_until_something_changes(self, asking: Chatting):
        await asking.post("/tasks", title=told([f"Here it is: {json.dumps(WRITTEN)} Enjoy!", {"usage": [7, 5]}]))
        first = await asking.get("/dashboard/briefing")
        made = first["aiBriefing"]
        assert {name: made[name] for name in WRITTEN} == WRITTEN and "aiError" not in first
        assert made["modelUsed"] == f"{asking.provider}/{MODEL}" and first["cached"] is False
        assert made["expiresAt"] > made["generatedAt"]
        again = await asking.get("/dashboard/briefing", aiOnly=True)
        assert again["cached"] is True and again["aiBriefing"]["id"] == made["id"] and "data" not in again
        usage = await asking.get("/costs/usage")
        assert [usage["daily"][name] for name in ("totalRequests", "totalTokens")] == [1, 12]
        assert (await asking.get("/chat/history"))["total"] == 0  # a briefing is no conversation
        renewed = await asking.get("/dashboard/briefing", refresh=True)
        assert renewed["cached"] is False and renewed["aiBriefing"]["id"] != made["id"]
        assert (await asking.data("DELETE", "/dashboard/briefing/cache")) == {"cleared": True}
        assert (await asking.data("DELETE", "/dashboard/briefing/cache")) == {"cleared": False}
        kept = await asking.get("/dashboard/briefing")
        assert kept["cached"] is False
        await asking.post("/notes", title="not a part of it", content="c")
        assert (await asking.get("/dashboard/briefing"))["cached"] is True
        await asking.post("/notes", title="pinned", content="c", isPinned=True)
        assert (await asking.get("/dashboard/briefing"))["cached"] is False
        assert (await asking.get("/dashboard/briefing"))["cached"] is True
        named = await asking.get("/dashboard/briefing", provider=asking.provider, model=MODEL)
        assert named["cached"] is False and named["aiBriefing"]["modelUsed"] == made["modelUsed"]

    @pytest.mark.parametrize(
        ("turn", "why"),
        [(["no JSON at all"], "not a briefing"), ([json.dumps({"priorities": []})], "not a briefing"),
         ([json.dumps({**WRITTEN, "summary": " "})], "summary"),
         ([json.dumps({**WRITTEN, "insights": [1]})], "briefing"),
         ([{"error": 401, "message": "wrong key"}], "wrong key")],
    )  # fmt: skip
    async def test_rules_stand_in_for_a_model_that_gives_none(self, asking: Chatting, turn: list[Any], why: str):
        await asking.post("/tasks", title=told(turn))
        answer = await asking.get("/dashboard/briefing")
        assert answer["aiBriefing"]["modelUsed"] == briefing.BY_RULES
        assert why in answer["aiError"]
        assert (await asking.get("/dashboard/briefing"))["cached"] is False

    async def test_an_unknown_provider_is_no_error(self, asking: Chatting):
        answer = await asking.get("/dashboard/briefing", provider="nobody")
        assert answer["aiBriefing"]["modelUsed"] == briefing.BY_RULES and "nobody" in answer["aiError"]

    async def test_a_model_that_is_silent_is_given_up(self, asking: Chatting, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(briefing, "SECONDS", 0.5)
        await asking.post("/tasks", title=told([{"stall": True}]))
        made = await briefing.briefing_of(briefing.BriefingOrder(asking.user, data_of(await figures_of(asking.user))))
        assert made.body["modelUsed"] == briefing.BY_RULES and "has not answered" in (made.error or "")

    async def test_it_is_told_when_it_cannot_be_kept(self, asking: Chatting, monkeypatch: pytest.MonkeyPatch):
        async def fail(*_: Any) -> None:
            raise StorageUnavailable("no")

        monkeypatch.setattr(cache, "keep", fail)
        await asking.post("/tasks", title=told([json.dumps(WRITTEN)]))
        made = await briefing.briefing_of(briefing.BriefingOrder(asking.user, data_of(await figures_of(asking.user))))
        assert made.error is None and made.body["summary"] == WRITTEN["summary"]


@pytest.mark.usefixtures("app")
class TestStream:
    async def events(self, me: OwnPilot, **query: Any) -> list[Any]:
        answer = await me.send("GET", "/dashboard/briefing/stream", params=query)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in re.split("\n\n", answer.text) if line and not line.startswith(":")]
        assert all(line.startswith("data: ") and "\n" not in line for line in lines)
        *data, last = [line.removeprefix("data: ") for line in lines]
        assert last == "[DONE]"
        return [json.loads(each) for each in data]

    async def test_it_sends_what_the_model_writes_then_the_briefing(self, asking: Chatting):
        text = json.dumps(WRITTEN)
        await asking.post("/tasks", title=told([text]))
        *chunks, last = await self.events(asking)
        assert {each["type"] for each in chunks} == {"chunk"} and len(chunks) > 1
        assert "".join(each["content"] for each in chunks) == text
        assert last["type"] == "complete" and last["briefing"]["summary"] == WRITTEN["summary"]
        [kept] = await self.events(asking)
        assert kept["briefing"] == {**last["briefing"], "cached": True}
        assert len(await self.events(asking, refresh=True)) > 1

    async def test_rules_end_it_too(self, me: OwnPilot):
        [last] = await self.events(me)
        assert last["type"] == "complete" and last["aiError"]
        assert last["briefing"]["modelUsed"] == briefing.BY_RULES
