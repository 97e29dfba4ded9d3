"""Goals: what a person wants to reach, and the steps towards it."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Response
from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator

from functions.ownpilot.core.entry import Entry, Moment, Shown
from functions.ownpilot.core.goal_steps import (
    GoalStep,
    progress_of,
    ready_steps,
    shapes,
)
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.bodies import example
from shared.http.conditions import show_version
from shared.http.paging import Paging, paging
from shared.http.resource import resource
from shared.http.shapes import Answers
from shared.tables import Collection

ROOTS = "null"
"""The value of the filter `parentId` that finds goals without a parent."""

StepShown = shapes.shown


class GoalStatus(StrEnum):
    """How a goal is going."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    ABANDONED = "abandoned"


def within(low: int, high: int) -> WrapValidator:
    """Round a number to a whole one; one below or above the range, also as a text, counts as its nearest end."""

    def nearest(given: Any, read: ValidatorFunctionWrapHandler) -> int:
        number = read(round(min(max(given, low), high)) if isinstance(given, int | float) else given)
        return min(max(number, low), high)

    return WrapValidator(nearest)


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
    parent: Annotated[str, Field(exclude=True)] = ROOTS
    """By which lists are filtered: the parent's id, or `ROOTS`."""
    steps: Annotated[list[GoalStep], Field(exclude=True)] = []

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
    actions = [Action(**dict(step), goal_title=goal.title) for goal, step in part]
    return Actions(actions=actions, count=len(actions), total=len(found))


@routes.get("/{goal_id}")
async def get_goal(goal_id: str, owner: Owner, response: Response) -> GoalWithSteps:
    """One goal with its steps."""
    goal = await goals.get(owner.id, goal_id)
    show_version(response, goal)
    return GoalWithSteps.model_validate(goal)
