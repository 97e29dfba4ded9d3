"""The steps of a goal."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from pydantic import BaseModel, Field, model_validator

from functions.ownpilot.core.entry import Given, Shown
from functions.ownpilot.core.goal_steps import (
    MAX_ORDER,
    MAX_STEPS,
    GoalStep,
    check_steps,
    find_step,
    progress_of,
    shapes,
)
from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.goals import Goal, StepShown, goals
from shared.http.bodies import Done, example
from shared.http.operations import checked

routes = routes_for("goals")
NewStep = shapes.new
StepPatch = shapes.patch


async def add_steps(owner: str, goal_id: str, steps: Sequence[Mapping[str, Any] | BaseModel]) -> list[GoalStep]:
    """Add steps to a goal, behind those that it has unless they say where; return them. As `change_steps`."""
    bodies = [checked(NewStep, step) for step in steps]
    made = [GoalStep(goal_id=goal_id, title="") for _ in bodies]
    for step, body in zip(made, bodies, strict=True):
        step.change(body)

    def add(steps: list[GoalStep]) -> None:
        last = max([step.order_num for step in steps], default=0)
        for step, body in zip(made, bodies, strict=True):
            if "order_num" not in body.model_fields_set:
                step.order_num = last = min(last + 1, MAX_ORDER)
        steps += made

    await change_steps(owner, goal_id, add)
    return made


async def change_step(owner: str, goal_id: str, step_id: str, values: Mapping[str, Any] | BaseModel) -> GoalStep:
    """Set these members of a step. `RecordNotFound` when the goal does not have it. As `change_steps`."""
    body = checked(StepPatch, values)

    def change(steps: list[GoalStep]) -> None:
        step = find_step(steps, step_id)
        before = step.model_copy()
        step.change(body)
        if step != before:
            step.updated_at = datetime.now(UTC)

    goal = await change_steps(owner, goal_id, change)
    return find_step(goal.steps, step_id)


async def delete_step(owner: str, goal_id: str, step_id: str) -> None:
    """Delete a step, for which no other one waits from then on. As `change_step`."""

    def delete(steps: list[GoalStep]) -> None:
        steps.remove(find_step(steps, step_id))
        for step in steps:
            if step_id in step.dependencies:
                step.dependencies = [each for each in step.dependencies if each != step_id]
                step.updated_at = datetime.now(UTC)

    await change_steps(owner, goal_id, delete)


async def change_steps(owner: str, goal_id: str, change: Callable[[list[GoalStep]], None]) -> Goal:
    """Change the steps of a goal, and its progress with them, in one conditional write; return the goal.

    `change` alters the list, and is called again when someone else was faster. `RecordNotFound`; `InvalidRequest` for
    too many or too long steps, and for dependencies on unknown steps or in a circle.
    """

    def write(goal: Goal) -> None:
        change(goal.steps)
        goal.steps.sort(key=lambda step: step.order_num)
        check_steps(goal.steps)
        goal.progress = progress_of(goal.steps)

    return await goals.collection.of(owner).update(goal_id, write)


class NewSteps(Given):
    """Steps to add: `{"steps": [...]}`, or a single step itself."""

    model_config = example(steps=[{"title": "Find a course"}, {"title": "Book it", "description": "For May"}])

    steps: list[NewStep] = Field(min_length=1, max_length=MAX_STEPS)

    @model_validator(mode="before")
    @classmethod
    def _one(cls, given: Any) -> Any:
        """Take a body without `steps` as a single step."""
        return {"steps": [cast("Any", given)]} if isinstance(given, dict) and "steps" not in given else given


class Steps(Shown):
    """The steps of a goal, in their order."""

    steps: list[StepShown]
    count: int


class StepsAdded(Steps):
    """The steps that were added."""

    message: str


@routes.get("/{goal_id}/steps")
async def list_goal_steps(goal_id: str, owner: Owner) -> Steps:
    """The steps of a goal, in their order."""
    steps = (await goals.get(owner.id, goal_id)).steps
    return Steps(steps=steps, count=len(steps))


@routes.post("/{goal_id}/steps", status_code=201)
async def add_goal_steps(goal_id: str, body: NewSteps, owner: Owner) -> StepsAdded:
    """Add a step, or several, to a goal. They come behind those that it has, unless they say where."""
    steps = await add_steps(owner.id, goal_id, body.steps)
    return StepsAdded(steps=steps, count=len(steps), message=f"{len(steps)} step{'s' * (len(steps) > 1)} added")


@routes.patch("/{goal_id}/steps/{step_id}", response_model=StepShown)
async def update_goal_step(goal_id: str, step_id: str, body: StepPatch, owner: Owner) -> GoalStep:
    """Change the given members of a step."""
    return await change_step(owner.id, goal_id, step_id, body)


@routes.delete("/{goal_id}/steps/{step_id}")
async def delete_goal_step(goal_id: str, step_id: str, owner: Owner) -> Done:
    """Delete a step; the steps that depend on it do not any more."""
    await delete_step(owner.id, goal_id, step_id)
    return Done(message="Step deleted")
