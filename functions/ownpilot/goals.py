"""Goals: what a person wants to reach, and the steps towards it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, cast

from fastapi import Response
from pydantic import BaseModel, BeforeValidator, Field, model_validator

from functions.ownpilot.core.entry import Entry, Given, Moment, Shown
from functions.ownpilot.core.goal_steps import (
    MAX_STEPS,
    GoalStep,
    check_steps,
    find_step,
    progress_of,
    ready_steps,
    shapes,
)
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.bodies import Done, example
from shared.http.conditions import IfMatch, show_version
from shared.http.operations import checked
from shared.http.paging import Paging, paging
from shared.http.resource import resource
from shared.http.shapes import Answers
from shared.tables import Collection

ROOTS = "null"
"""The value of the filter `parentId` that finds goals without a parent."""

NewStep = shapes.new
StepPatch = shapes.patch
StepShown = shapes.shown


class GoalStatus(StrEnum):
    """How a goal is going."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    ABANDONED = "abandoned"


def within(low: int, high: int) -> BeforeValidator:
    """Round a number to a whole one; one below or above the range counts as its nearest end."""

    def nearest(given: Any) -> Any:
        is_number = isinstance(given, int | float) and not isinstance(given, bool) and given == given
        return round(min(max(given, low), high)) if is_number else given

    return BeforeValidator(nearest)


class Goal(Entry, prefix="goal_"):
    """Something to reach, with its steps in their order. As soon as it has steps, they determine its progress."""

    model_config = example(title="Learn Spanish", priority=8, dueDate="2030-12-31")

    title: str
    description: str | None = None
    status: GoalStatus = GoalStatus.ACTIVE
    priority: Annotated[int, within(1, 10)] = 5
    parent_id: str | None = None
    due_date: Moment | None = None
    progress: Annotated[int, within(0, 100)] = 0
    completed_at: Moment | None = None
    metadata: dict[str, Any] = {}
    parent: str = Field(ROOTS, exclude=True)
    """By which lists are filtered: the parent's id, or `ROOTS`."""
    steps: list[GoalStep] = Field([], exclude=True)

    def settle(self) -> None:
        """Set what follows from status, parent and steps."""
        completed = self.status is GoalStatus.COMPLETED
        self.completed_at = (self.completed_at or datetime.now(UTC)) if completed else None
        self.parent = self.parent_id or ROOTS
        if self.steps:
            self.progress = progress_of(self.steps)


goals = resource(
    routes_for("goals"),
    Collection("OwnpilotGoals", Goal, plain=True, view=[name for name in Goal.model_fields if name != "steps"]), Owner,
    required=("title",), readonly=("completed_at",),
    filters={"status": "status", "parentId": "parent"}, limit=20, order=("-priority", "-created_at"),
    settle=Goal.settle, answers=Answers(item="goal"), only=("list", "create", "update", "delete"),
)  # fmt: skip
routes = goals.routes
GoalShown = goals.shapes.shown


async def add_steps(owner: str, goal_id: str, steps: Sequence[Mapping[str, Any] | BaseModel]) -> list[GoalStep]:
    """Add steps to a goal, behind those that it has unless they say where; return them. As `change_steps`."""
    bodies = [checked(NewStep, step) for step in steps]
    made = [GoalStep(goal_id=goal_id, title="") for _ in bodies]
    for step, body in zip(made, bodies, strict=True):
        step.change(body)

    def add(before: list[GoalStep]) -> list[GoalStep]:
        last = max([step.order_num for step in before], default=0)
        for step, body in zip(made, bodies, strict=True):
            if "order_num" not in body.model_fields_set:
                step.order_num = last = last + 1
        return [*before, *made]

    await change_steps(owner, goal_id, add)
    return made


async def change_step(
    owner: str, goal_id: str, step_id: str, values: Mapping[str, Any] | BaseModel, *, if_match: str | None = None
) -> GoalStep:
    """Set these members of a step. `RecordNotFound` when the goal does not have it. As `change_steps`."""
    body = checked(StepPatch, values)

    def change(steps: list[GoalStep]) -> None:
        find_step(steps, step_id).change(body)

    goal = await change_steps(owner, goal_id, change, if_match=if_match)
    return find_step(goal.steps, step_id)


async def delete_step(owner: str, goal_id: str, step_id: str) -> None:
    """Delete a step, for which no other one waits from then on. As `change_step`."""

    def delete(steps: list[GoalStep]) -> None:
        steps.remove(find_step(steps, step_id))
        for step in steps:
            step.dependencies = [each for each in step.dependencies if each != step_id]

    await change_steps(owner, goal_id, delete)


async def change_steps(
    owner: str,
    goal_id: str,
    change: Callable[[list[GoalStep]], list[GoalStep] | None],
    *,
    if_match: str | None = None,
) -> Goal:
    """Change the steps of a goal, and its progress with them, in one conditional write; return the goal.

    `change` alters the list or returns another one, and may be called again with newer steps. `RecordNotFound`,
    `RecordChanged`; `InvalidRequest` for too many steps, and dependencies on unknown steps or in a circle.
    """

    def write(goal: Goal) -> None:
        steps = change(goal.steps)
        goal.steps = sorted(goal.steps if steps is None else steps, key=lambda step: step.order_num)
        check_steps(goal.steps)
        goal.progress = progress_of(goal.steps)

    return await goals.collection.of(owner).update(goal_id, write, if_match=if_match)


async def next_actions(owner: str) -> list[tuple[Goal, GoalStep]]:
    """Return the steps of active goals that can be done now, by the goal's priority and the steps' order.

    1 query for each 1,000 goals.
    """
    found = [
        (goal, step)
        async for goal in goals.collection.of(owner).scan({"status": GoalStatus.ACTIVE})
        for step in ready_steps(goal.steps)
    ]
    return sorted(found, key=lambda each: (-each[0].priority, each[1].order_num))


class GoalWithSteps(GoalShown):
    """A goal with its steps, in their order."""

    steps: list[StepShown]


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


class Action(StepShown):
    """A step that can be done now."""

    goal_title: str


class Actions(Shown):
    """Part of the steps that can be done now; `total` is the number of all of them."""

    actions: list[Action]
    count: int
    total: int


@routes.get("/active", response_model=goals.shapes.page)
async def list_active_goals(owner: Owner, paging: Annotated[Paging, paging(10)]) -> Any:
    """The active goals, by priority."""
    page = await goals.list(
        owner.id, {"status": GoalStatus.ACTIVE}, limit=paging.limit, offset=paging.offset, cursor=paging.cursor
    )
    paging.link(page)
    return {"goals": page.items, "total": page.total}


@routes.get("/next-actions")
async def list_next_actions(owner: Owner, paging: Annotated[Paging, paging(5)]) -> Actions:
    """The open steps of active goals whose dependencies are all completed, by the goal's priority and their order."""
    found = await next_actions(owner.id)
    part = found[paging.offset : paging.offset + paging.limit]
    actions = [Action(**StepShown.model_validate(step).__dict__, goal_title=goal.title) for goal, step in part]
    return Actions(actions=actions, count=len(actions), total=len(found))


@routes.get("/{goal_id}")
async def get_goal(goal_id: str, owner: Owner, response: Response) -> GoalWithSteps:
    """One goal with its steps."""
    goal = await goals.get(owner.id, goal_id)
    show_version(response, goal)
    return GoalWithSteps.model_validate(goal)


@routes.get("/{goal_id}/steps")
async def list_goal_steps(goal_id: str, owner: Owner) -> Steps:
    """The steps of a goal, in their order."""
    steps = (await goals.get(owner.id, goal_id)).steps
    return Steps(steps=steps, count=len(steps))


@routes.post("/{goal_id}/steps", status_code=201)
async def add_goal_steps(goal_id: str, body: NewSteps, owner: Owner) -> StepsAdded:
    """Add a step, or several, to a goal. They come behind those that it has, unless they say where."""
    steps = await add_steps(owner.id, goal_id, body.steps)
    return StepsAdded(steps=steps, count=len(steps), message=f"{len(steps)} steps added")


@routes.patch("/{goal_id}/steps/{step_id}", response_model=StepShown)
async def update_goal_step(goal_id: str, step_id: str, body: StepPatch, owner: Owner, if_match: IfMatch) -> GoalStep:
    """Change the given members of a step."""
    return await change_step(owner.id, goal_id, step_id, body, if_match=if_match)


@routes.delete("/{goal_id}/steps/{step_id}")
async def delete_goal_step(goal_id: str, step_id: str, owner: Owner) -> Done:
    """Delete a step; the steps that depend on it do not any more."""
    await delete_step(owner.id, goal_id, step_id)
    return Done(message="Step deleted")
