"""Habits, what was done on each day, and streaks."""

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.ownpilot.core.dates import today
from functions.ownpilot.core.habit_records import Frequency, Habit, logs_of
from functions.ownpilot.core.streaks import WEEK, streaks, weekday
from functions.ownpilot.habits import Completion, complete, habits
from shared import tables
from shared.tables.client import client
from tests.support.failing import Failing, Killed
from tests.support.ownpilot import OwnPilot, refused
from tests.support.records import Counting


def day(number: int) -> str:
    return (today() + timedelta(days=number)).isoformat()


async def done(me: OwnPilot, habit: dict[str, Any], *numbers: int, **members: Any) -> dict[str, Any]:
    """What the last of these completions shows of the habit."""
    for number in numbers:
        habit = (await me.post(f"/habits/{habit['id']}/complete", date=day(number), **members))["habit"]
    return habit


async def make(me: OwnPilot, **members: Any) -> dict[str, Any]:
    return (await me.post("/habits", name="Read", **members))["habit"]


class TestHabits:
    async def test_a_new_one_is_daily_and_has_no_streak(self, me: OwnPilot):
        made = await me.post("/habits", name="Read")
        habit = made["habit"]
        assert made["message"] == "Habit created" and habit["id"].startswith("hab_")
        assert {name: habit[name] for name in habit if name not in ("id", "createdAt", "updatedAt")} == {
            "userId": me.user, "name": "Read", "frequency": "daily", "targetDays": [0, 1, 2, 3, 4, 5, 6],
            "targetCount": 1, "isArchived": False, "streakCurrent": 0, "streakLongest": 0, "totalCompletions": 0,
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("given", "expected"),
        [({"frequency": "weekdays"}, [1, 2, 3, 4, 5]), ({"frequency": "weekly"}, [1]),
         ({"frequency": "weekly", "targetDays": [6]}, [6]), ({"frequency": "custom", "targetDays": [5, 0, 5]}, [0, 5]),
         ({"frequency": "daily", "targetDays": [2]}, [0, 1, 2, 3, 4, 5, 6]),
         ({"frequency": "custom"}, 400), ({"frequency": "custom", "targetDays": [7]}, 400),
         ({"frequency": "hourly"}, 400), ({"targetCount": 0}, 400), ({"name": " "}, 400)],
    )  # fmt: skip
    async def test_target_days_follow_from_the_frequency(self, me: OwnPilot, given: dict[str, Any], expected: Any):
        if expected == 400:
            refused(await me.send("POST", "/habits", json={"name": "Read", **given}), 400, "INVALID_REQUEST")
        else:
            assert (await make(me, **given))["targetDays"] == expected

    async def test_lists_hide_archived_ones_and_count_all_that_match(self, me: OwnPilot):
        for name, category in (("a", "x"), ("b", "y"), ("c", "x")):
            await me.post("/habits", name=name, category=category)
        last = (await me.get("/habits"))["habits"][0]
        await me.data("PATCH", f"/habits/{last['id']}", json={"isArchived": True})
        found = await me.get("/habits", limit=1)
        assert ([each["name"] for each in found["habits"]], found["count"]) == (["b"], 2)
        assert [each["name"] for each in (await me.get("/habits", category="x"))["habits"]] == ["a"]
        assert [each["name"] for each in (await me.get("/habits", archived="true"))["habits"]] == ["c"]

    async def test_a_list_without_a_limit_has_all_of_them(self, me: OwnPilot):
        await asyncio.gather(*(make(me) for _ in range(51)))
        found = await me.get("/habits", archived="")
        assert (len(found["habits"]), found["count"]) == (51, 51)

    async def test_figures_are_not_set_by_requests(self, me: OwnPilot):
        habit = await make(me, streakLongest=9, totalCompletions=9, streak=9)
        changed = await me.data("PATCH", f"/habits/{habit['id']}", json={"streakCurrent": 9, "reachedOn": day(0)})
        assert [changed[name] for name in ("streakCurrent", "streakLongest", "totalCompletions")] == [0, 0, 0]

    async def test_a_delete_takes_the_logs(self, me: OwnPilot):
        habit = await make(me)
        await done(me, habit, 0, -1)
        assert await me.data("DELETE", f"/habits/{habit['id']}") == {"message": "Habit deleted"}
        for method, path in (("GET", ""), ("GET", "/history"), ("POST", "/complete"), ("DELETE", "")):
            refused(await me.send(method, f"/habits/{habit['id']}{path}"), 404, "NOT_FOUND")

    async def test_a_delete_of_what_is_no_habit_leaves_the_logs_of_others(self, me: OwnPilot):
        habit = await make(me)
        await done(me, habit, 0)
        first, _, rest = f"{me.user} {habit['id']}".partition(" ")
        refused(await OwnPilot(me.http, first).send("DELETE", f"/habits/{rest}"), 404, "NOT_FOUND")
        assert (await me.get(f"/habits/{habit['id']}/history"))["count"] == 1

    async def test_another_person_sees_none_of_it(self, me: OwnPilot):
        habit = await make(me)
        await done(me, habit, 0)
        other = OwnPilot(me.http)
        for method, path in (("GET", ""), ("GET", "/history"), ("POST", "/complete"), ("PATCH", ""), ("DELETE", "")):
            refused(await other.send(method, f"/habits/{habit['id']}{path}"), 404, "NOT_FOUND")
        assert (await other.get("/habits/stats"))["total"] == 0
        assert (await me.get(f"/habits/{habit['id']}/history"))["count"] == 1


class TestCompletion:
    async def test_the_same_day_adds_up(self, me: OwnPilot):
        habit = await make(me, targetCount=3)
        first = await me.data("POST", f"/habits/{habit['id']}/complete")
        assert (first["log"]["date"], first["log"]["count"], first["habit"]["streakCurrent"]) == (day(0), 1, 0)
        assert first["message"] == f"1 of 3 on {day(0)}"
        second = await me.post(f"/habits/{habit['id']}/complete", count=2, notes="Evening")
        assert (second["log"]["count"], second["log"]["notes"]) == (3, "Evening")
        assert second["log"]["id"] == first["log"]["id"]
        assert (second["habit"]["streakCurrent"], second["habit"]["totalCompletions"]) == (1, 3)

    async def test_many_at_once_are_all_counted(self, me: OwnPilot):
        habit = await make(me)
        path = f"/habits/{habit['id']}/complete"
        await asyncio.gather(*(me.post(path, date=day(-number)) for number in (0, 0, 0, 1, 1, 2)))
        found = await me.get(f"/habits/{habit['id']}")
        assert (found["habit"]["totalCompletions"], found["habit"]["streakCurrent"]) == (6, 3)
        assert [log["count"] for log in found["recentLogs"]] == [3, 2, 1]

    @pytest.mark.parametrize(
        "members",
        [{"date": "2026-02-30"}, {"date": "1969-12-31"}, {"date": "9999-12-31"}, {"count": 0}, {"count": 1e9}],
    )
    async def test_what_is_wrong_is_refused(self, me: OwnPilot, members: dict[str, Any]):
        habit = await make(me)
        answer = await me.send("POST", f"/habits/{habit['id']}/complete", json=members)
        assert refused(answer, 400, "INVALID_REQUEST").startswith(next(iter(members)))
        assert (await me.get(f"/habits/{habit['id']}/history"))["count"] == 0

    async def test_a_streak_goes_on_until_a_target_day_is_over(self, me: OwnPilot):
        habit = await make(me)
        assert (await done(me, habit, -1, -2, -3))["streakCurrent"] == 3
        assert (await done(me, habit, 1))["streakCurrent"] == 1  # tomorrow, where it is tomorrow already
        assert (await done(me, habit, 0))["streakCurrent"] == 5
        old = await make(me)
        shown = await done(me, old, -2, -3)
        assert (shown["streakCurrent"], shown["streakLongest"]) == (0, 2)

    async def test_days_that_are_no_target_days_neither_count_nor_break(self, me: OwnPilot):
        other_day = (weekday(today()) + 1) % 7
        habit = await make(me, frequency="custom", targetDays=[weekday(today())])
        shown = await done(me, habit, 0, -7, -14, -3, -28)
        assert (shown["streakCurrent"], shown["streakLongest"], shown["totalCompletions"]) == (3, 3, 5)
        never = await done(me, await make(me, frequency="custom", targetDays=[other_day]), 0, -1)
        assert (never["streakCurrent"], never["streakLongest"], never["totalCompletions"]) == (0, 0, 2)

    async def test_the_longest_streak_is_kept(self, me: OwnPilot):
        habit = await make(me)
        await done(me, habit, -20, -21, -22)
        await me.data("PATCH", f"/habits/{habit['id']}", json={"targetCount": 5})
        shown = await done(me, habit, 0, count=5)
        assert (shown["streakCurrent"], shown["streakLongest"]) == (1, 3)


class TestFigures:
    async def test_the_rate_is_of_target_days_since_the_first_one(self, me: OwnPilot):
        habit = await make(me)
        await done(me, habit, -3, -1, -40)
        found = await me.get(f"/habits/{habit['id']}")
        # 29 days before today, of which two were reached; today is not over yet.
        assert (found["completionRate"], found["weeklyCompletions"], found["monthlyCompletions"]) == (7, 2, 2)
        assert [log["date"] for log in found["recentLogs"]] == [day(-1), day(-3)]
        young = await make(me)
        assert (await me.get(f"/habits/{young['id']}"))["completionRate"] == 0
        await done(me, young, 0, -1, -2)
        assert (await me.get(f"/habits/{young['id']}"))["completionRate"] == 100

    async def test_the_history_is_a_range_of_days(self, me: OwnPilot):
        habit = await make(me)
        await done(me, habit, 0, -5, -3, -1)
        path = f"/habits/{habit['id']}/history"
        found = await me.get(path, startDate=day(-5), endDate=day(-1), limit=2)
        assert ([log["date"] for log in found["logs"]], found["count"]) == ([day(-1), day(-3)], 3)
        assert [log["date"] for log in (await me.get(path, endDate=day(-2)))["logs"]] == [day(-3), day(-5)]
        refused(await me.send("GET", path, params={"startDate": day(0), "endDate": day(-1)}), 400, "INVALID_REQUEST")

    async def test_stats_count_what_is_due_today(self, me: OwnPilot):
        reached, idle = await make(me), await make(me)
        resting = await make(me, frequency="custom", targetDays=[(weekday(today()) + 2) % 7])
        archived = await make(me)
        await done(me, reached, 0, -1)
        await done(me, archived, -1, -2, -3)
        await me.data("PATCH", f"/habits/{archived['id']}", json={"isArchived": True})
        found = await me.get("/habits/stats")
        lines = {line["id"]: line for line in found.pop("habits")}
        assert found == {
            "total": 4, "active": 3, "archived": 1, "completedToday": 1, "completionRate": 50, "bestStreak": 3,
        }  # fmt: skip
        assert {lines[each["id"]]["completedToday"] for each in (idle, resting)} == {False}
        assert (lines[resting["id"]]["dueToday"], lines[reached["id"]]["streakCurrent"]) == (False, 2)
        part = await me.get("/habits/stats", limit=1, offset=1)
        assert (len(part["habits"]), part["active"]) == (1, 3)
        empty = await OwnPilot(me.http).get("/habits/stats")
        assert (empty["completionRate"], empty["bestStreak"], empty["habits"]) == (0, 0, [])


class TestStreaks:
    @settings(deadline=None)
    @given(
        st.sets(st.integers(min_value=0, max_value=40)), st.sets(st.integers(min_value=0, max_value=6), min_size=1),
        st.integers(min_value=0, max_value=42),
    )  # fmt: skip
    def test_they_are_those_of_a_slow_count(self, offsets: set[int], targets: set[int], now: int):
        first = date(2028, 2, 1)
        reached = {first + timedelta(days=offset) for offset in offsets if offset <= now}
        run, runs = 0, [0]
        for number in range(now + 1):
            each = first + timedelta(days=number)
            if weekday(each) in targets:
                run = run + 1 if each in reached else 0 if number < now else run  # today is not over
                runs.append(run)
        found = streaks(reached, targets)
        assert (found.current(first + timedelta(days=now), targets), found.longest) == (run, max(runs))

    def test_a_leap_day_is_a_day(self):
        days = [date(2028, 2, 28), date(2028, 2, 29), date(2028, 3, 1)]
        assert streaks(days).longest == 3
        assert streaks([days[0], days[2]]).longest == 1
        assert streaks([date(2027, 2, 28), date(2027, 3, 1)]).longest == 2

    def test_the_calendar_has_a_beginning(self):
        assert streaks([date(1, 1, 1), date(1, 1, 2)]) == (2, 2, date(1, 1, 2))
        assert streaks([date(1, 1, 1)], WEEK).current(date(1, 1, 1)) == 1

    def test_tomorrow_does_not_complete_today(self):
        habit = Habit(name="Read", frequency=Frequency.DAILY)
        habit.settle()
        habit.recount({day(1): 1})
        assert (habit.is_reached, habit.streak_current) == (False, 1)
        habit.recount({day(1): 1, day(0): 1})
        assert habit.is_reached


@pytest.mark.usefixtures("account")
class TestMethods:
    async def test_a_completion_costs_four_calls(self, counting: Counting):
        habit = await habits.create("costs", {"name": "Read"})
        await complete("costs", habit.id, Completion(date=day(-1)))
        counting.reset()
        await complete("costs", habit.id, Completion())
        assert counting.calls == {"get": 1, "query": 1, "write": 2}
        counting.reset()
        await complete("costs", habit.id, Completion())
        assert counting.calls == {"get": 2, "query": 1, "write": 2}

    async def test_figures_lost_in_a_crash_are_made_good_by_the_next_completion(self):
        habit = await habits.create("killed", {"name": "Read"})
        await complete("killed", habit.id, Completion(date=day(-2)))
        wire = client().wire
        inner, wire.transport = wire.transport, Failing(wire.transport, habits.collection.table + "(", Killed())
        with pytest.raises(Killed):
            await complete("killed", habit.id, Completion(date=day(-1)))
        wire.transport = inner
        assert (await habits.get("killed", habit.id)).total_completions == 1
        _, after = await complete("killed", habit.id, Completion())
        assert (after.total_completions, after.streak_current) == (3, 3)

    async def test_a_delete_that_was_interrupted_can_be_repeated_and_leaves_no_log(self):
        habit = await habits.create("deleted", {"name": "Read"})
        await complete("deleted", habit.id, Completion(date=day(-1)))
        wire, own = client().wire, logs_of("deleted", habit.id)
        inner, wire.transport = wire.transport, Failing(wire.transport, habits.collection.table + "(", Killed())
        with pytest.raises(Killed):
            await habits.delete("deleted", habit.id)
        wire.transport = inner
        assert await own.count() == 0  # the logs go first, so the delete can be repeated
        await habits.delete("deleted", habit.id)
        with pytest.raises(tables.RecordNotFound):
            await complete("deleted", habit.id, Completion())
