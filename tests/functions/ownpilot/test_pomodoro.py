"""Sessions of work and breaks, of which one runs at a time."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.ownpilot.core.dates import today
from functions.ownpilot.core.owner import Person
from functions.ownpilot.core.pomodoro_sessions import PomodoroSession, SessionStatus, SessionType, sessions
from functions.ownpilot.pomodoro import get_pomodoro_stats
from tests.support.ownpilot import OwnPilot, data_of, refused
from tests.support.records import Counting

WORK = {"type": "work", "durationMinutes": 25}


class TestSession:
    async def test_one_runs_until_it_is_completed(self, me: OwnPilot):
        assert await me.get("/pomodoro/session") == {"session": None}
        started = (await me.post("/pomodoro/session/start", **WORK, taskDescription="Write"))["session"]
        assert started["id"].startswith("pom_") and started["userId"] == me.user
        assert (started["status"], started["taskDescription"]) == ("running", "Write")
        assert "completedAt" not in started
        assert (await me.get("/pomodoro/session"))["session"] == started
        done = (await me.data("POST", "/pomodoro/session/complete"))["session"]
        assert (done["status"], done["startedAt"]) == ("completed", started["startedAt"])
        assert done["completedAt"] >= done["startedAt"]
        assert await me.get("/pomodoro/session") == {"session": None}

    async def test_a_stop_is_an_interruption_with_its_reason(self, me: OwnPilot):
        await me.post("/pomodoro/session/start", **WORK)
        stopped = (await me.post("/pomodoro/session/stop", reason="Telephone"))["session"]
        assert (stopped["status"], stopped["interruptionReason"]) == ("interrupted", "Telephone")
        await me.post("/pomodoro/session/start", **WORK)
        assert "interruptionReason" not in (await me.data("POST", "/pomodoro/session/stop"))["session"]

    async def test_none_that_runs_is_404(self, me: OwnPilot):
        for action in ("stop", "complete"):
            refused(await me.send("POST", f"/pomodoro/session/{action}"), 404, "NOT_FOUND")

    async def test_of_two_starts_at_once_one_is_refused(self, me: OwnPilot):
        answers = await asyncio.gather(*(me.send("POST", "/pomodoro/session/start", json=WORK) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [201, 400, 400, 400, 400]
        for answer in answers:
            if answer.status_code == 400:
                refused(answer, 400, "SESSION_ACTIVE")
        ends = await asyncio.gather(*(me.send("POST", "/pomodoro/session/complete") for _ in range(3)))
        assert sorted(answer.status_code for answer in ends) == [200, 404, 404]
        assert (await me.get("/pomodoro/stats"))["totalSessions"] == 1

    async def test_each_person_has_a_session(self, me: OwnPilot):
        other = OwnPilot(me.http)
        await me.post("/pomodoro/session/start", **WORK)
        assert await other.get("/pomodoro/session") == {"session": None}
        await other.post("/pomodoro/session/start", **WORK)

    @pytest.mark.parametrize(
        ("body", "name"),
        [({"durationMinutes": 5}, "type"), ({"type": "work"}, "durationMinutes"), (WORK | {"type": "nap"}, "type"),
         *((WORK | {"durationMinutes": wrong}, "durationMinutes") for wrong in (0, -1, 1441, 2.5, "long", None))],
    )  # fmt: skip
    async def test_what_is_wrong_is_named(self, me: OwnPilot, body: dict[str, Any], name: str):
        answer = await me.send("POST", "/pomodoro/session/start", json=body)
        assert refused(answer, 400, "INVALID_REQUEST").startswith(f"{name}: ")

    async def test_the_history_is_newest_first_with_the_number_of_all(self, me: OwnPilot):
        for type_ in ("work", "short_break", "work", "long_break"):
            await me.post("/pomodoro/session/start", type=type_, durationMinutes=5)
            await me.data("POST", "/pomodoro/session/complete")
        await me.post("/pomodoro/session/start", **WORK)
        found = await me.get("/pomodoro/history", limit=2, offset=1)
        assert ([each["type"] for each in found["sessions"]], found["count"]) == (["long_break", "work"], 5)
        of_work = await me.get("/pomodoro/history", type="work")
        assert ([each["status"] for each in of_work["sessions"]], of_work["count"]) == (
            ["running", "completed", "completed"], 3,
        )  # fmt: skip
        assert (await me.get("/pomodoro/history", type=["work", "long_break"]))["count"] == 4
        refused(await me.send("GET", "/pomodoro/history", params={"type": "nap"}), 400, "INVALID_REQUEST")


class TestSettings:
    async def test_what_is_not_changed_has_a_default(self, me: OwnPilot):
        before = await me.get("/pomodoro/settings")
        assert before == {
            "userId": me.user, "workDuration": 25, "shortBreakDuration": 5, "longBreakDuration": 15,
            "sessionsBeforeLongBreak": 4, "autoStartBreaks": False, "autoStartWork": False, "updatedAt": None,
        }  # fmt: skip
        await asyncio.gather(
            me.data("PATCH", "/pomodoro/settings", json={"workDuration": 50}),
            me.data("PATCH", "/pomodoro/settings", json={"autoStartWork": True}),
        )
        after = await me.get("/pomodoro/settings")
        changed = {"workDuration": 50, "autoStartWork": True, "updatedAt": after["updatedAt"]}
        assert after == before | changed and after["updatedAt"]
        answer = await me.send("PATCH", "/pomodoro/settings", json={"workDuration": 0})
        assert refused(answer, 400, "INVALID_REQUEST").startswith("workDuration: ")
        assert data_of(await me.send("PATCH", "/pomodoro/settings")) == after
        refused(await me.send("GET", "/settings/internal:pomodoro"), 403, "FORBIDDEN")


@pytest.mark.usefixtures("account")
class TestStats:
    async def keep(self, owner: str, ended: datetime, type_: str, status: str, minutes: int = 25) -> None:
        done = status == "completed"
        await sessions.of(owner).insert(
            PomodoroSession(
                created_at=ended - timedelta(minutes=minutes), type=SessionType(type_), status=SessionStatus(status),
                duration_minutes=minutes, running=None, completed_at=ended if done else None,
                interrupted_at=None if done else ended,
            )
        )  # fmt: skip

    def day(self, number: int) -> datetime:
        """A minute after midnight: the session began on the day before."""
        return datetime.combine(today(), datetime.min.time(), UTC) + timedelta(days=number, minutes=1)

    async def test_days_are_those_on_which_work_was_completed(self):
        for number in (0, -1, -2, -10, -11, -12, -13):
            await self.keep("streaks", self.day(number), "work", "completed")
        await self.keep("streaks", self.day(-3), "short_break", "completed", 5)
        await self.keep("streaks", self.day(-3), "work", "interrupted")
        await self.keep("streaks", self.day(0), "long_break", "completed", 15)
        await self.keep("streaks", self.day(0), "work", "interrupted")
        found = await get_pomodoro_stats(Person("streaks"))
        assert (found.current_streak, found.best_streak) == (3, 4)
        assert (found.total_sessions, found.total_work_minutes) == (7, 175)
        assert (found.total_break_minutes, found.total_interruptions) == (20, 2)
        now = found.today
        assert (now.date, now.completed_sessions, now.total_work_minutes) == (today().isoformat(), 1, 25)
        assert (now.total_break_minutes, now.interruptions) == (15, 1)

    async def test_a_streak_goes_on_until_a_day_is_over_without_work(self):
        await self.keep("yesterday", self.day(-1), "work", "completed")
        await self.keep("before", self.day(-2), "work", "completed")
        assert [(await get_pomodoro_stats(Person(name))).current_streak for name in ("yesterday", "before")] == [1, 0]

    async def test_stats_cost_a_query_for_the_counters_and_one_for_the_sessions(self, counting: Counting):
        await self.keep("costs", self.day(0), "work", "completed")
        counting.reset()
        found = await get_pomodoro_stats(Person("costs"))
        assert (found.total_sessions, counting.calls) == (1, {"query": 2})
