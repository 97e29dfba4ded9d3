"""Habits and what was done on each day, as records."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, computed_field

from functions.ownpilot.core.dates import Day, today
from functions.ownpilot.core.entry import Entry
from functions.ownpilot.core.streaks import WEEK, Streaks, streaks, weekday
from shared.http.bodies import example
from shared.http.errors import InvalidRequest
from shared.tables.plain import PlainCollection

WORKDAYS = (1, 2, 3, 4, 5)
MONDAY = (1,)
MOST = 10_000

Weekday = Annotated[int, Field(ge=0, le=6)]
Count = Annotated[int, Field(ge=1, le=MOST)]


class Frequency(StrEnum):
    """On which days of the week a habit is due."""

    DAILY = "daily"
    WEEKDAYS = "weekdays"
    WEEKLY = "weekly"
    CUSTOM = "custom"


class Habit(Entry, prefix="hab_"):
    """Something to do again and again; `target_days` are the days of the week on which it is due, 0 is Sunday.

    Of the streak, `streak` is its length up to `reached_on`, the last target day that was reached.
    """

    model_config = example(name="Read", frequency="weekdays", targetCount=10, unit="pages")

    name: str
    description: str | None = None
    frequency: Frequency = Frequency.DAILY
    target_days: list[Weekday] = []
    target_count: Count = 1
    unit: str | None = None
    category: str | None = None
    color: str | None = None
    icon: str | None = None
    reminder_time: str | None = None
    is_archived: bool = False
    streak_longest: int = 0
    total_completions: int = 0
    streak: int = Field(default=0, exclude=True)
    reached_on: str | None = Field(default=None, exclude=True)

    @computed_field
    @property
    def streak_current(self) -> int:
        """How many target days in a row were reached, up to today or to the last target day before it."""
        last = date.fromisoformat(self.reached_on) if self.reached_on else None
        return Streaks(self.streak, self.streak_longest, last).current(today(), self.target_days)

    @property
    def is_due(self) -> bool:
        """Whether today is a target day."""
        return weekday(today()) in self.target_days

    @property
    def is_reached(self) -> bool:
        """Whether today is a target day that was reached."""
        last, now = self.reached_on or "", today().isoformat()
        return self.is_due and (last == now or (last > now and self.streak > 1))  # tomorrow's log may be there already

    def settle(self) -> None:
        """Set the target days that follow from the frequency. `InvalidRequest` when there are none."""
        match self.frequency:
            case Frequency.DAILY:
                self.target_days = [*WEEK]
            case Frequency.WEEKDAYS:
                self.target_days = [*WORKDAYS]
            case Frequency.WEEKLY if tuple(self.target_days) in ((), WEEK, WORKDAYS):
                self.target_days = [*MONDAY]
            case _:
                self.target_days = sorted(set(self.target_days))
        if not self.target_days:
            raise InvalidRequest("targetDays: must name a day of the week, from 0 (Sunday) to 6")

    def recount(self, counts: Mapping[str, int]) -> None:
        """Set the figures that follow from what was done on each day."""
        reached = (date.fromisoformat(day) for day, count in counts.items() if count >= self.target_count)
        found = streaks(reached, self.target_days)
        self.streak, self.reached_on = found.last, found.reached_on and found.reached_on.isoformat()
        self.streak_longest = max(self.streak_longest, found.longest)
        self.total_completions = sum(counts.values())


class HabitLog(Entry):
    """What was done on one day."""

    habit_id: str
    date: Day
    count: int
    notes: str | None = None


_logs = PlainCollection("OwnpilotHabitLogs", HabitLog, plain=True)


def logs_of(owner: str, habit_id: str) -> PlainCollection[HabitLog]:
    """Return the logs of one habit, which have a partition of their own."""
    return _logs.of(f"{owner} {habit_id}")


def counts_of(logs: Iterable[HabitLog]) -> dict[str, int]:
    """Return how much was done on each day."""
    return {log.date: log.count for log in logs}


def log_id(day: str) -> str:
    """Return the id of the log of a day: each day has one log, and logs lie in the order of their days."""
    return HabitLog.derived_id(datetime.combine(date.fromisoformat(day), time(), UTC), "day")


def rate(counts: Mapping[str, int], habit: Habit, first: date, last: date) -> int:
    """Return how many of the target days from `first` to `last` were reached, in whole percent; 0 without any."""
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    due = [day.isoformat() for day in days if weekday(day) in habit.target_days]
    done = sum(counts.get(day, 0) >= habit.target_count for day in due)
    return round(100 * done / len(due)) if due else 0
