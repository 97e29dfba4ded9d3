"""What a person has to do, has planned and has spent, read side by side for the page that shows it all."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from pydantic import BaseModel

from functions.ownpilot import calendar as calendar_room
from functions.ownpilot import goals as goals_room
from functions.ownpilot import habits as habits_room
from functions.ownpilot import memories as memories_room
from functions.ownpilot import notes as notes_room
from functions.ownpilot import tasks as tasks_room
from functions.ownpilot.calendar import CalendarEvent
from functions.ownpilot.core.custom_records import custom_records
from functions.ownpilot.core.custom_tables import CustomTable, custom_tables
from functions.ownpilot.core.entry import days, iso
from functions.ownpilot.core.goal_steps import GoalStep, ready_steps
from functions.ownpilot.core.habit_records import Habit
from functions.ownpilot.core.trigger_store import TriggerOverview, overview_of
from functions.ownpilot.core.usage import UsageByDay, UsageDays, UsageFigures, read_usage
from functions.ownpilot.costs.reports import usd
from functions.ownpilot.goals import Goal, GoalStatus
from functions.ownpilot.memories import Memory
from functions.ownpilot.notes import Note
from functions.ownpilot.plans.records import Plan, PlanStatus
from functions.ownpilot.plans.records import plans as stored_plans
from functions.ownpilot.tasks import OPEN, Task, TaskStatus

SHOWN = 10
"""How many of each kind are shown; the counts are those of all."""

WEEK = 7

T = TypeVar("T")


async def _all(records: AsyncIterator[T]) -> list[T]:
    return [each async for each in records]


@dataclass(frozen=True)
class Figures:
    """Everything that the page shows, as records. `today` is the day (UTC) that it is about."""

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

    @property
    def open_tasks(self) -> list[Task]:
        """The tasks that are not done, by due date, those without one last."""
        latest = datetime.max.replace(tzinfo=UTC)
        return sorted((each for each in self.tasks if each.status in OPEN), key=lambda each: each.due_date or latest)

    @property
    def overdue(self) -> list[Task]:
        """The open tasks that were due before today."""
        return [each for each in self.open_tasks if each.due_date and each.due_date < days()[0]]

    @property
    def due_today(self) -> list[Task]:
        """The open tasks that are due today."""
        first, end = days()
        return [each for each in self.open_tasks if each.due_date and first <= each.due_date < end]

    @property
    def completed(self) -> int:
        """How many tasks are done."""
        return sum(each.status is TaskStatus.COMPLETED for each in self.tasks)

    @property
    def todays_events(self) -> list[CalendarEvent]:
        """What begins today."""
        end = days()[1]
        return [each for each in self.events if each.start_time < end]

    @property
    def later_events(self) -> list[CalendarEvent]:
        """What begins in the days after today."""
        end = days()[1]
        return [each for each in self.events if each.start_time >= end]

    @property
    def next_actions(self) -> list[tuple[Goal, GoalStep]]:
        """The steps that can be done now, those of the most important goals first."""
        return [(goal, step) for goal in self.goals for step in ready_steps(goal.steps)]

    @property
    def progress(self) -> int:
        """The average progress of the goals, in whole percent."""
        return round(sum(each.progress for each in self.goals) / len(self.goals)) if self.goals else 0

    @property
    def overdue_goals(self) -> int:
        """How many goals were due before today."""
        return sum(each.due_date is not None and each.due_date < days()[0] for each in self.goals)

    @property
    def due_habits(self) -> list[Habit]:
        """The habits that are due today."""
        return [each for each in self.habits if each.is_due]

    @property
    def at_risk(self) -> list[Habit]:
        """The habits whose streak ends unless they are done today."""
        return [each for each in self.due_habits if not each.is_reached and each.streak_current > 0]

    @property
    def spent_today(self) -> UsageFigures:
        """What calls of models used today."""
        return self.usage.total(UsageDays(self.today, self.today))

    @property
    def spent_this_month(self) -> UsageFigures:
        """What they used in this month."""
        return self.usage.total(UsageDays.of("month", self.today))

    def plans_in(self, status: PlanStatus) -> list[Plan]:
        """Return the plans with this status, the newest first."""
        return [each for each in self.plans if each.status is status]

    @property
    def plan_counts(self) -> dict[str, int]:
        """How many plans there are, and how many are under way or wait to be started."""
        running, pending = (len(self.plans_in(each)) for each in (PlanStatus.RUNNING, PlanStatus.PENDING))
        return {"total": len(self.plans), "running": running, "pending": pending}

    def recent_memories(self) -> list[Memory]:
        """The memories of the last seven days."""
        return [each for each in self.memories if each.created_at >= days(1 - WEEK, 0)[0]]


async def figures_of(owner: str) -> Figures:
    """Read all of it, side by side: 13 queries, and more where a person keeps more than 1,000 of something."""
    today = datetime.now(UTC).date()
    first, end = days(0, WEEK)
    goals = goals_room.goals.collection.of(owner)
    read = await asyncio.gather(
        _all(tasks_room.tasks.collection.of(owner).all()),
        _all(calendar_room.calendar.collection.of(owner).all(order="start_time", between=(first, end))),
        _all(goals.scan({"status": GoalStatus.ACTIVE})),
        _all(habits_room.habits.collection.of(owner).all({"is_archived": False})),
        _all(memories_room.memories.collection.of(owner).all()),
        _all(notes_room.notes.collection.of(owner).all({"is_archived": False})),
        read_usage(owner, UsageDays.of("month", today)),
        _all(custom_tables.of(owner).all()),
        custom_records.of(owner).totals(),
        overview_of(owner),
        _all(stored_plans.of(owner).all()),
    )
    tasks, events, active, habits, memories, notes, usage, tables, rows, triggers, plans = read
    return Figures(
        today, tasks, sorted(events, key=lambda each: each.start_time),
        sorted(active, key=lambda each: -each.priority), habits, memories, notes, usage, tables,
        {str(name): count for name, count in rows.by("table_id").items()}, triggers, plans,
    )  # fmt: skip


def shown(shape: type[BaseModel], records: Sequence[object]) -> list[dict[str, Any]]:
    """Return the first of these records as clients see them."""
    return [
        shape.model_validate(each).model_dump(mode="json", by_alias=True, exclude_none=True)
        for each in records[:SHOWN]
    ]  # fmt: skip


def used(figures: UsageFigures) -> dict[str, Any]:
    """Return what calls of models used: tokens, USD, calls."""
    tokens = figures.input_tokens + figures.output_tokens
    return {"totalTokens": tokens, "totalCost": usd(figures.cost), "totalCalls": figures.requests}


def data_of(it: Figures) -> dict[str, dict[str, Any]]:
    """Return the data of the page: lists of at most `SHOWN` each, and the counts of all."""
    task, event, habit = tasks_room.TaskShown, calendar_room.calendar.shapes.shown, habits_room.HabitShown
    memory, note = memories_room.MemoryShown, notes_room.notes.shapes.shown
    by_importance = sorted(it.memories, key=lambda each: -each.importance)
    recent = it.recent_memories()
    return {
        "tasks": {
            "pending": shown(task, it.open_tasks), "dueToday": shown(task, it.due_today),
            "overdue": shown(task, it.overdue),
            "counts": {
                "pending": len(it.open_tasks), "dueToday": len(it.due_today), "overdue": len(it.overdue),
                "total": len(it.tasks), "due": len(it.due_today), "completed": it.completed,
            },
        },
        "calendar": {
            "todayEvents": shown(event, it.todays_events), "upcomingEvents": shown(event, it.later_events),
            "counts": {"today": len(it.todays_events), "upcoming": len(it.later_events)},
        },
        "goals": {
            "active": shown(goals_room.GoalShown, it.goals),
            "nextActions": [
                {**each, "goalTitle": goal.title}
                for (goal, _), each in zip(
                    it.next_actions, shown(goals_room.StepShown, [step for _, step in it.next_actions]), strict=False
                )
            ],
            "stats": {
                "activeCount": len(it.goals), "averageProgress": it.progress, "overdueCount": it.overdue_goals,
            },
        },
        "triggers": {
            "scheduledToday": [
                {"id": each.id, "name": each.name, "nextFire": each.next_fire and iso(each.next_fire)}
                for each in it.triggers.today[:SHOWN]
            ],
            "recentHistory": [
                {"id": each.id, "triggerId": each.trigger_id, "triggerName": each.trigger_name,
                 "firedAt": iso(each.fired_at), "status": each.status}
                for each in it.triggers.recent[:SHOWN]
            ],
            "counts": {"enabled": it.triggers.enabled, "scheduledToday": len(it.triggers.today)},
        },
        "memories": {
            "recent": shown(memory, recent), "important": shown(memory, by_importance),
            "stats": {"total": len(it.memories), "recentCount": len(recent)},
        },
        "habits": {
            "todayProgress": {
                "completed": sum(each.is_reached for each in it.due_habits), "total": len(it.due_habits),
                "habits": shown(habit, it.due_habits),
            },
            "streaksAtRisk": shown(habit, it.at_risk), "streaks": streaks(it),
        },
        "notes": {
            "pinned": shown(note, [each for each in it.notes if each.is_pinned]), "recent": shown(note, it.notes),
        },
        "costs": {"daily": used(it.spent_today), "monthly": used(it.spent_this_month)},
        "plans": {
            "running": [plan_shown(each) for each in it.plans_in(PlanStatus.RUNNING)[:SHOWN]],
            "pendingApproval": [plan_shown(each) for each in it.plans_in(PlanStatus.PENDING)[:SHOWN]],
            "counts": it.plan_counts,
        },
        "customData": {
            "tables": [
                {"id": each.id, "name": each.name, "displayName": each.display_name,
                 "recordCount": it.rows.get(each.id, 0)}
                for each in it.tables[:SHOWN]
            ],
            "totalRecords": sum(it.rows.values()),
        },
    }  # fmt: skip


def plan_shown(plan: Plan) -> dict[str, Any]:
    """Return a plan in short."""
    return {
        "id": plan.id, "name": plan.name, "goal": plan.goal, "status": plan.status, "progress": plan.progress,
        "createdAt": iso(plan.created_at),
    }  # fmt: skip


def streaks(it: Figures) -> list[dict[str, Any]]:
    """Return the streaks that go on, the longest first."""
    going = sorted((each for each in it.habits if each.streak_current), key=lambda each: -each.streak_current)
    return [{"id": each.id, "name": each.name, "streak": each.streak_current} for each in going[:SHOWN]]


def stats_of(it: Figures) -> dict[str, dict[str, Any]]:
    """Return the page in numbers."""
    data = data_of(it)
    return {
        "tasks": {
            "due": len(it.due_today), "overdue": len(it.overdue), "completed": it.completed,
            "pending": len(it.open_tasks), "total": len(it.tasks),
        },
        "calendar": data["calendar"]["counts"],
        "goals": {"active": len(it.goals), "progress": it.progress, "overdue": it.overdue_goals},
        "habits": {
            "dueToday": len(it.due_habits), "completedToday": sum(each.is_reached for each in it.due_habits),
            "streaks": streaks(it),
        },
        "memories": data["memories"]["stats"],
        "notes": {"total": len(it.notes), "pinned": sum(each.is_pinned for each in it.notes)},
        "triggers": data["triggers"]["counts"], "plans": it.plan_counts,
        "costs": data["costs"],
    }  # fmt: skip
