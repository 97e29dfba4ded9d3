"""What the figures of a person look like to clients: lists and counts, or numbers alone."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from functions.ownpilot import calendar as calendar_room
from functions.ownpilot import goals as goals_room
from functions.ownpilot import habits as habits_room
from functions.ownpilot import memories as memories_room
from functions.ownpilot import notes as notes_room
from functions.ownpilot import tasks as tasks_room
from functions.ownpilot.core.entry import iso
from functions.ownpilot.core.usage import UsageFigures
from functions.ownpilot.costs.reports import usd
from functions.ownpilot.dashboard.figures import DayFigures
from functions.ownpilot.plans.records import Plan, PlanStatus

SHOWN = 10
"""How many of each kind are shown; the counts are those of all."""


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


def data_of(it: DayFigures) -> dict[str, dict[str, Any]]:
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


def streaks(it: DayFigures) -> list[dict[str, Any]]:
    """Return the streaks that go on, the longest first."""
    going = sorted((each for each in it.habits if each.streak_current), key=lambda each: -each.streak_current)
    return [{"id": each.id, "name": each.name, "streak": each.streak_current} for each in going[:SHOWN]]


def stats_of(it: DayFigures) -> dict[str, dict[str, Any]]:
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
