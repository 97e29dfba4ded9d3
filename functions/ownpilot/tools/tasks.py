"""Tools on tasks."""

from typing import Annotated, Any, Literal

from pydantic import Field

from functions.ownpilot import tasks as room
from functions.ownpilot.core.entry import Given, days
from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools.records import MAX_BATCH, Tags, When, create_all, listed, members, present, shown
from functions.ownpilot.tools.registry import tool

Urgency = Literal["low", "normal", "high", "urgent"]
Status = Literal["pending", "in_progress", "completed", "cancelled"]


class TaskDetails(Given):
    """What a task may have beside its title."""

    due_date: When = None
    priority: Urgency | None = None
    category: str | None = None
    notes: Annotated[str | None, Field(description="What else there is to know")] = None


class NewTask(TaskDetails):
    """A task to add."""

    title: str


class TaskUpdate(TaskDetails):
    """What to change in a task."""

    task_id: str
    title: str | None = None
    status: Status | None = None


def _values(given: TaskDetails) -> dict[str, Any]:
    values = members(given, "task_id")
    if "notes" in values:
        values["description"] = values.pop("notes")
    return values


@tool(category="other", tags=("todo", "add"))
async def create_task(
    context: ToolContext,
    title: str,
    description: str | None = None,
    due_date: When = None,
    priority: Annotated[str | None, Field(description="low, normal, high or urgent")] = None,
    tags: Tags = None,
) -> Any:
    """Create a task, something that the user has to do."""
    values = present(title=title, description=description, due_date=due_date, priority=priority, tags=tags)
    return {"task": shown(room.tasks.shapes.shown, await room.tasks.create(context.owner, values))}


_FILTERS: dict[str, dict[str, Any]] = {
    "open": {"where": {"status": room.OPEN}},
    "all": {"where": {}},
    **{status: {"where": {"status": status}} for status in room.TaskStatus},
    "today": {"where": {"status": room.OPEN}, "first": 0, "last": 0},
    "overdue": {"where": {"status": room.OPEN}, "last": -1},
    "upcoming": {"where": {"status": room.OPEN}, "first": 0, "last": 7},
}


@tool(category="tasks", tags=("todo", "due"))
async def list_tasks(
    context: ToolContext,
    filter: Annotated[str | None, Field(description=f"One of {', '.join(_FILTERS)}; by default open")] = None,
    tag: str | None = None,
) -> Any:
    """List the user's tasks, 50 at most: the open ones by priority, or those that a filter names."""
    chosen = _FILTERS.get(filter or "open")
    if chosen is None:
        raise ToolError(f"filter: must be one of {', '.join(_FILTERS)}")
    options: dict[str, Any] = {}
    if "last" in chosen:
        first, last = chosen.get("first"), chosen["last"]
        between = None if first is None else days(first)[0], days(last)[1]
        options = {"between": between, "order": ("due_date",)}
    return await listed(room.tasks, context.owner, "tasks", chosen["where"], tag=tag, **options)


@tool(category="tasks", tags=("todo", "done", "finish"))
async def complete_task(context: ToolContext, task_id: str) -> Any:
    """Mark a task as completed."""
    task = await room.tasks.change(context.owner, task_id, {"status": room.TaskStatus.COMPLETED})
    return {"task": shown(room.tasks.shapes.shown, task)}


@tool(category="tasks", tags=("todo", "create"))
async def add_task(context: ToolContext, given: NewTask) -> Any:
    """Add a task, something that the user has to do."""
    return {"task": shown(room.tasks.shapes.shown, await room.tasks.create(context.owner, _values(given)))}


@tool(category="tasks", tags=("todo", "change"))
async def update_task(context: ToolContext, given: TaskUpdate) -> Any:
    """Change a task: only what is given changes."""
    task = await room.tasks.change(context.owner, given.task_id, _values(given))
    return {"task": shown(room.tasks.shapes.shown, task)}


@tool(category="tasks", tags=("todo", "remove"), camel=True)
async def delete_task(context: ToolContext, task_id: str) -> str:
    """Delete a task."""
    await room.tasks.delete(context.owner, task_id)
    return "The task was deleted."


@tool(category="tasks", tags=("todo", "several", "create"), camel=True)
async def batch_add_tasks(
    context: ToolContext, tasks: Annotated[list[NewTask], Field(min_length=1, max_length=MAX_BATCH)]
) -> Any:
    """Add several tasks at once."""
    return await create_all(room.tasks, context.owner, "tasks", [_values(each) for each in tasks])
