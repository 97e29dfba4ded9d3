"""Tools on plans."""

from typing import Annotated, Any, Literal

from pydantic import Field

from functions.ownpilot import plans as room
from functions.ownpilot.core.entry import Given
from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.plans import reading, runs
from functions.ownpilot.plans.examples import have_examples
from functions.ownpilot.plans.records import Plan, PlanStatus, plans
from functions.ownpilot.plans.steps import PlanStepShown, add_step
from functions.ownpilot.tools.records import listed, members, present, shown
from functions.ownpilot.tools.registry import tool

Status = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]
PATIENCE = 15.0
"""Seconds for which `execute_plan` waits for the end of a plan."""


class PlanStepToAdd(Given):
    """A step to add to a plan."""

    plan_id: str
    order: Annotated[int, Field(description="Its place: the step with the lowest number comes first")]
    type: Literal["tool_call", "llm_decision", "user_input", "condition", "parallel", "loop", "sub_plan"]
    name: str
    description: str | None = None
    tool_name: Annotated[str | None, Field(description="The tool that the step uses")] = None
    tool_args: Annotated[
        dict[str, Any] | None,
        Field(description="The tool's arguments; for condition, parallel and sub_plan, what the step is to do"),
    ] = None
    prompt: Annotated[str | None, Field(description="What the model is to decide")] = None
    choices: Annotated[list[str] | None, Field(description="What the model can choose from")] = None
    question: Annotated[str | None, Field(description="What the user is asked")] = None
    dependencies: Annotated[list[str] | None, Field(description="The ids of the steps to complete before")] = None
    max_retries: int | None = None


@tool(category="automation", tags=("plan", "add", "steps"))
async def create_plan(
    context: ToolContext,
    name: str,
    goal: Annotated[str, Field(description="What the plan is to reach")],
    description: str | None = None,
    priority: Annotated[int | None, Field(description="From 1 to 10, the most important; by default 5")] = None,
) -> Any:
    """Create a plan without steps, which add_plan_step adds and execute_plan carries out."""
    values = present(name=name, goal=goal, description=description, priority=priority)
    plan = await room.plans.create(context.owner, values)

    def mark(it: Plan) -> None:
        it.source, it.source_id = "assistant", context.session or None

    return {"plan": shown(room.PlanShown, await plans.of(context.owner).update(plan, mark))}


@tool(category="automation", tags=("plan", "steps"))
async def add_plan_step(context: ToolContext, given: PlanStepToAdd) -> Any:
    """Add a step to a plan."""
    config: dict[str, Any] = present(
        toolName=given.tool_name, toolArgs=given.tool_args, prompt=given.prompt, choices=given.choices,
        question=given.question,
    )  # fmt: skip
    if given.type in ("condition", "parallel", "sub_plan"):
        config = given.tool_args or {}
    values = members(given, "plan_id", "order", "tool_name", "tool_args", "prompt", "choices", "question")
    step = await add_step(context.owner, given.plan_id, {**values, "order_num": given.order, "config": config})
    return {"step": shown(PlanStepShown, step)}


@tool(category="automation", tags=("plan", "find"))
async def list_plans(context: ToolContext, status: Status | None = None) -> Any:
    """List the user's plans, 50 at most, the most important first."""
    await have_examples(context.owner)
    return await listed(room.plans, context.owner, "plans", {"status": status})


@tool(category="automation", tags=("plan", "show", "steps"))
async def get_plan_details(context: ToolContext, plan_id: str) -> Any:
    """Show a plan with its steps, their results, and what has happened lately."""
    _, details = await room.details_of(context.owner, plan_id)
    return {"plan": details.model_dump(mode="json", by_alias=True, exclude_none=True)}


@tool(category="automation", tags=("plan", "run", "start"))
async def execute_plan(context: ToolContext, plan_id: str) -> Any:
    """Carry out a plan. One that takes longer than a few seconds runs on; get_plan_details tells what came of it."""
    if context.source == "plan":
        raise ToolError("A plan carries out another one by a step of the type sub_plan.")
    plan = await reading.wait_for_end(await runs.start(context.owner, plan_id, None), PATIENCE)
    result = await reading.result_of(plan)
    if plan.status in (PlanStatus.FAILED, PlanStatus.CANCELLED):
        raise ToolError(f"The plan is {plan.status}: {plan.error or 'it was aborted'}")
    return {"result": result}


@tool(category="automation", tags=("plan", "stop", "wait"))
async def pause_plan(context: ToolContext, plan_id: str) -> str:
    """Pause a plan after the step that is being carried out."""
    return "The plan is paused." if await runs.pause(context.owner, plan_id) else "The plan is not running."


@tool(category="automation", tags=("plan", "remove", "stop"))
async def delete_plan(context: ToolContext, plan_id: str) -> str:
    """Delete a plan with its steps; one that is under way is ended."""
    await runs.delete(context.owner, plan_id, None)
    return "The plan was deleted."
