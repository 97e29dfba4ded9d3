"""Tasks: what a person has to do, and by when."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from fastapi import Query
from pydantic import BeforeValidator, Field

from functions.ownpilot.core.entry import PERSONAL, Entry, Moment, days, iso
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.bodies import example
from shared.http.paging import MAX_LIMIT
from shared.http.resource import resource
from shared.tables import Collection


class TaskStatus(StrEnum):
    """How far a task is."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class Priority(StrEnum):
    """How urgent a task is, the most urgent first."""

    URGENT = "urgent"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


OPEN = (TaskStatus.PENDING, TaskStatus.IN_PROGRESS)
_RANKS = {priority: str(rank) for rank, priority in enumerate(Priority)}


class Task(Entry):
    """Something to do. `completed_at` is there for as long as it is completed."""

    model_config = example(title="Buy milk", dueDate="2030-03-01", priority="high")

    title: str
    description: str | None = None
    status: TaskStatus = TaskStatus.PENDING
    # The document also calls the normal priority medium.
    priority: Annotated[Priority, BeforeValidator(lambda it: "normal" if it == "medium" else it)] = Priority.NORMAL
    due_date: Moment | None = None
    due_time: str | None = None
    reminder_at: Moment | None = None
    category: str | None = None
    tags: list[str] = []
    parent_id: str | None = None
    project_id: str | None = None
    recurrence: str | None = None
    completed_at: Moment | None = None
    rank: str = Field("", exclude=True)
    """Its place in the list: by priority, then by due date, and those without a due date last."""

    def settle(self) -> None:
        """Set what follows from status, priority and due date."""
        completed = self.status is TaskStatus.COMPLETED
        self.completed_at = (self.completed_at or datetime.now(UTC)) if completed else None
        self.rank = f"{_RANKS[self.priority]} {iso(self.due_date) if self.due_date else 'none'}"


tasks = resource(
    routes_for("tasks"), Collection("OwnpilotTasks", Task, plain=True), Owner,
    required=("title",), readonly=("completed_at",),
    filters={"status": "status", "priority": "priority", "category": "category", "projectId": "project_id"},
    search=("title", "description", "category", "tags"), order=("rank", "-created_at"),
    settle=Task.settle, answers=PERSONAL, put=True,
)  # fmt: skip
routes = tasks.routes
TaskShown = tasks.shapes.shown
MANY_DAYS = 3660


async def open_tasks(owner: str, *, first: int | None = None, last: int | None = None) -> list[Task]:
    """Return the open tasks that are due from the day `first` to the day `last` (0 is today), the earliest first."""
    low = None if first is None else days(first)[0]
    high = None if last is None else days(last)[1]
    page = await tasks.list(owner, {"status": OPEN}, between=(low, high), order=("due_date",), limit=MAX_LIMIT)
    return page.items


@routes.get("/today", response_model=list[TaskShown], response_model_exclude_none=True)
async def list_tasks_of_today(owner: Owner) -> list[Task]:
    """The open tasks that are due today (UTC)."""
    return await open_tasks(owner.id, first=0, last=0)


@routes.get("/overdue", response_model=list[TaskShown], response_model_exclude_none=True)
async def list_overdue_tasks(owner: Owner) -> list[Task]:
    """The open tasks that were due before today (UTC)."""
    return await open_tasks(owner.id, last=-1)


@routes.get("/upcoming", response_model=list[TaskShown], response_model_exclude_none=True)
async def list_upcoming_tasks(owner: Owner, days: Annotated[int, Query(ge=0, le=MANY_DAYS)] = 7) -> list[Task]:
    """The open tasks that are due today or in the next days (UTC)."""
    return await open_tasks(owner.id, first=0, last=days)


@routes.post("/{task_id}/complete", response_model=TaskShown, response_model_exclude_none=True)
async def complete_task(task_id: str, owner: Owner) -> Task:
    """Mark a task as completed."""
    return await tasks.change(owner.id, task_id, {"status": TaskStatus.COMPLETED})
