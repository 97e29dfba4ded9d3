"""Tools on goals and their steps."""

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from functions.ownpilot import goals as room
from functions.ownpilot.core.entry import Given
from functions.ownpilot.core.goal_steps import MAX_STEPS, StepStatus
from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.goals.steps import add_steps, change_step
from functions.ownpilot.tools.records import When, capped, listed, members, shown
from functions.ownpilot.tools.registry import tool

Status = Literal["active", "paused", "completed", "abandoned"]
MOST_GOALS, MOST_ACTIONS = 30, 20


class NewGoal(Given):
    """A goal to add."""

    title: str
    description: str | None = None
    priority: Annotated[float | None, Field(description="From 1 to 10, the most important; by default 5")] = None
    due_date: When = None
    parent_id: Annotated[str | None, Field(description="The id of the goal that it is a part of")] = None


class GoalUpdate(Given):
    """What to change in a goal."""

    goal_id: str
    status: Status | None = None
    progress: Annotated[float | None, Field(description="In percent; steps, where there are some, decide it")] = None
    title: str | None = None
    description: str | None = None
    priority: Annotated[float | None, Field(description="From 1 to 10, the most important")] = None
    due_date: When = None


class NewStep(Given):
    """A step to add."""

    title: str
    description: str | None = None


@tool(category="goals", tags=("add", "aim", "plan"))
async def create_goal(context: ToolContext, given: NewGoal) -> Any:
    """Create a goal, something that the user wants to reach."""
    return {"goal": shown(room.GoalShown, await room.goals.create(context.owner, members(given)))}


@tool(category="goals", tags=("find",))
async def list_goals(
    context: ToolContext,
    status: Status | None = None,
    limit: Annotated[int, Field(description=f"How many to show, {MOST_GOALS} at most"), capped(MOST_GOALS)] = 20,
) -> Any:
    """List the user's goals, the most important first."""
    return await listed(room.goals, context.owner, "goals", {"status": status}, limit=limit)


@tool(category="goals", tags=("change", "progress", "complete"))
async def update_goal(context: ToolContext, given: GoalUpdate) -> Any:
    """Change a goal: only what is given changes."""
    goal = await room.goals.change(context.owner, given.goal_id, members(given, "goal_id"))
    return {"goal": shown(room.GoalShown, goal)}


@tool(category="goals", tags=("steps", "split", "plan"), camel=True)
async def decompose_goal(
    context: ToolContext,
    goal_id: str,
    steps: Annotated[list[NewStep], Field(min_length=1, max_length=MAX_STEPS)],
) -> Any:
    """Add steps to a goal, in the order in which they are to be done."""
    added = await add_steps(context.owner, goal_id, [members(each) for each in steps])
    return {"steps": [shown(room.StepShown, each) for each in added], "added": len(added)}


@tool(category="goals", tags=("steps", "todo", "next"))
async def get_next_actions(
    context: ToolContext,
    limit: Annotated[int, Field(description=f"How many to show, {MOST_ACTIONS} at most"), capped(MOST_ACTIONS)] = 5,
) -> Any:
    """List the steps that can be done now, those of the most important goals first."""
    found = await room.next_actions(context.owner)
    actions = [{**shown(room.StepShown, step), "goalTitle": goal.title} for goal, step in found[:limit]]
    return {"actions": actions, "total": len(found)}


@tool(category="goals", tags=("steps", "done", "finish"), camel=True)
async def complete_step(
    context: ToolContext, step_id: str, result: Annotated[str | None, Field(description="What came of it")] = None
) -> Any:
    """Mark a step of a goal as completed."""
    async for goal in room.goals.collection.of(context.owner).scan():
        if any(step.id == step_id for step in goal.steps):
            values = {"status": StepStatus.COMPLETED, **({} if result is None else {"result": result})}
            step = await change_step(context.owner, goal.id, step_id, values)
            return {"step": shown(room.StepShown, step), "goalTitle": goal.title}
    raise ToolError("No goal has this step. get_goal_details shows the steps of a goal with their ids.")


@tool(category="goals", tags=("steps", "show"), camel=True)
async def get_goal_details(context: ToolContext, goal_id: str) -> Any:
    """Show a goal with its steps."""
    return {"goal": shown(room.GoalWithSteps, await room.goals.get(context.owner, goal_id))}


@tool(category="goals", tags=("statistics", "count", "progress"))
async def goal_stats(context: ToolContext) -> Any:
    """Count the user's goals: in total, by status, overdue ones, and the average progress of the active ones."""
    found = [each async for each in room.goals.collection.of(context.owner).all()]
    active = [each for each in found if each.status is room.GoalStatus.ACTIVE]
    now = datetime.now(UTC)
    return {
        "total": len(found),
        "byStatus": Counter(each.status.value for each in found),
        "overdue": sum(each.due_date is not None and each.due_date < now for each in active),
        "averageProgress": round(sum(each.progress for each in active) / len(active)) if active else 0,
    }
