"""What a person has to do, has planned and has spent, read side by side for the page that shows it all."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import TypeVar

from functions.ownpilot import calendar as calendar_room
from functions.ownpilot import goals as goals_room
from functions.ownpilot import habits as habits_room
from functions.ownpilot import memories as memories_room
from functions.ownpilot import notes as notes_room
from functions.ownpilot import tasks as tasks_room
from functions.ownpilot.calendar import CalendarEvent
from functions.ownpilot.core.custom_records import custom_records
from functions.ownpilot.core.custom_tables import CustomTable, custom_tables
from functions.ownpilot.core.entry import days
from functions.ownpilot.core.goal_steps import GoalStep, ready_steps
from functions.ownpilot.core.habit_records import Habit
from functions.ownpilot.core.trigger_store import TriggerOverview, overview_of
from functions.ownpilot.core.usage import UsageByDay, UsageDays, UsageFigures, read_usage
from functions.ownpilot.goals import Goal, GoalStatus
from functions.ownpilot.memories import Memory
from functions.ownpilot.notes import Note
from functions.ownpilot.plans.records import Plan, PlanStatus
from functions.ownpilot.plans.records import plans as stored_plans
from functions.ownpilot.tasks import OPEN, Task, TaskStatus

WEEK = 7

T = TypeVar("T")


async def _all(records: AsyncIterator[T]) -> list[T]:
    return [each async for each in records]


@dataclass(frozen=True)
class DayFigures:
    """Everything that the page shows, as records. `today` is the day (UTC) that it is about.

    What follows from the records is worked out once.
    """

    today: date
    tasks: Sequence[Task]
    events: Sequence[CalendarEvent]
    goals: Sequence[Goal]
    habits: Sequence[Habit]
    memories: Sequence[Memory]
    notes: Sequence[Note]
    usage: UsageByDay
    tables: Sequence[CustomTable]
    rows: dict[str, int]
    triggers: TriggerOverview
    plans: Sequence[Plan]

    @cached_property
    def _today(self) -> tuple[datetime, datetime]:
        return days()

    @cached_property
    def open_tasks(self) -> list[Task]:
        """The tasks that are not done, by due date, those without one last."""
        latest = datetime.max.replace(tzinfo=UTC)
        return sorted((each for each in self.tasks if each.status in OPEN), key=lambda each: each.due_date or latest)

    @cached_property
    def overdue(self) -> list[Task]:
        """The open tasks that were due before today."""
        first, _ = self._today
        return [each for each in self.open_tasks if each.due_date and each.due_date < first]

    @cached_property
    def due_today(self) -> list[Task]:
        """The open tasks that are due today."""
        first, end = self._today
        return [each for each in self.open_tasks if each.due_date and first <= each.due_date < end]

    @cached_property
    def completed(self) -> int:
        """How many tasks are done."""
        return sum(each.status is TaskStatus.COMPLETED for each in self.tasks)

    @cached_property
    def todays_events(self) -> list[CalendarEvent]:
        """What begins today."""
        _, end = self._today
        return [each for each in self.events if each.start_time < end]

    @cached_property
    def later_events(self) -> list[CalendarEvent]:
        """What begins in the days after today."""
        _, end = self._today
        return [each for each in self.events if each.start_time >= end]

    @cached_property
    def next_actions(self) -> list[tuple[Goal, GoalStep]]:
        """The steps that can be done now, those of the most important goals first."""
        return [(goal, step) for goal in self.goals for step in ready_steps(goal.steps)]

    @cached_property
    def progress(self) -> int:
        """The average progress of the goals, in whole percent."""
        return round(sum(each.progress for each in self.goals) / len(self.goals)) if self.goals else 0

    @cached_property
    def overdue_goals(self) -> int:
        """How many goals were due before today."""
        first, _ = self._today
        return sum(each.due_date is not None and each.due_date < first for each in self.goals)

    @cached_property
    def due_habits(self) -> list[Habit]:
        """The habits that are due today."""
        return [each for each in self.habits if each.is_due]

    @cached_property
    def at_risk(self) -> list[Habit]:
        """The habits whose streak ends unless they are done today."""
        return [each for each in self.due_habits if not each.is_reached and each.streak_current > 0]

    @cached_property
    def spent_today(self) -> UsageFigures:
        """What calls of models used today."""
        return self.usage.total(UsageDays(self.today, self.today))

    @cached_property
    def spent_this_month(self) -> UsageFigures:
        """What they used in this month."""
        return self.usage.total(UsageDays.of("month", self.today))

    def plans_in(self, status: PlanStatus) -> list[Plan]:
        """Return the plans with this status, the newest first."""
        return [each for each in self.plans if each.status is status]

    @cached_property
    def plan_counts(self) -> dict[str, int]:
        """How many plans there are, and how many are under way or wait to be started."""
        running, pending = (len(self.plans_in(each)) for each in (PlanStatus.RUNNING, PlanStatus.PENDING))
        return {"total": len(self.plans), "running": running, "pending": pending}

    def recent_memories(self) -> list[Memory]:
        """The memories of the last seven days."""
        first, _ = days(1 - WEEK, 0)
        return [each for each in self.memories if each.created_at >= first]


async def figures_of(owner: str) -> DayFigures:
    """Read all of it, side by side: 13 queries, and more where a person keeps more than 1,000 of something."""
    today = datetime.now(UTC).date()
    first, end = days(0, WEEK)
    goals = goals_room.goals.collection.of(owner)
    kept = asyncio.gather(
        _all(tasks_room.tasks.collection.of(owner).all()),
        _all(calendar_room.calendar.collection.of(owner).all(order="start_time", between=(first, end))),
        _all(goals.scan({"status": GoalStatus.ACTIVE})),
        _all(habits_room.habits.collection.of(owner).all({"is_archived": False})),
        _all(memories_room.memories.collection.of(owner).all()),
        _all(notes_room.notes.collection.of(owner).all({"is_archived": False})),
    )
    others = asyncio.gather(
        read_usage(owner, UsageDays.of("month", today)), _all(custom_tables.of(owner).all()),
        custom_records.of(owner).totals(), overview_of(owner), _all(stored_plans.of(owner).all()),
    )  # fmt: skip
    # In two parts, as the types of more than six results are not known to the checker.
    (tasks, events, active, habits, memories, notes), (usage, tables, rows, triggers, plans) = await asyncio.gather(
        kept, others
    )
    return DayFigures(
        today, tasks, sorted(events, key=lambda each: each.start_time),
        sorted(active, key=lambda each: -each.priority), habits, memories, notes, usage, tables,
        {str(name): count for name, count in rows.by("table_id").items()}, triggers, plans,
    )  # fmt: skip
