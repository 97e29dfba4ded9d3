"""The steps of a goal, which live inside the goal's record, and what follows from them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from typing import Annotated

from pydantic import BaseModel, Field

from functions.ownpilot.core.entry import Entry, Moment
from shared import tables
from shared.http.bodies import example
from shared.http.errors import InvalidRequest
from shared.http.shapes import Answers, Shapes

MAX_STEPS = 500
"""Steps of one goal."""

MAX_CHARACTERS = 256 * 1024
"""Characters of all steps of one goal together: they lie in one record."""

MAX_ORDER = 1_000_000_000
"""The highest `order_num` of a step."""


class StepStatus(StrEnum):
    """How far a step is."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    BLOCKED = "blocked"
    SKIPPED = "skipped"


OPEN = (StepStatus.PENDING, StepStatus.IN_PROGRESS)


class GoalStep(Entry, prefix="step_"):
    """One step; `dependencies` are the ids of the steps of the goal that must be completed before it."""

    model_config = example(title="Read the first chapter")

    user_id: Annotated[str, Field(exclude=True)] = ""
    goal_id: str
    title: str
    description: str | None = None
    status: StepStatus = StepStatus.PENDING
    order_num: Annotated[int, Field(ge=0, le=MAX_ORDER)] = 0
    dependencies: list[str] = []
    result: str | None = None
    completed_at: Moment | None = None

    def change(self, values: BaseModel) -> None:
        """Set the members that are given, and what follows from them."""
        for name in values.model_fields_set:
            setattr(self, name, getattr(values, name))
        completed = self.status is StepStatus.COMPLETED
        self.completed_at = (self.completed_at or datetime.now(UTC)) if completed else None


shapes = Shapes(GoalStep, "steps", Answers(), required=("title",), readonly=("goal_id", "completed_at"))


def progress_of(steps: Sequence[GoalStep]) -> int:
    """Return how many percent of the steps are completed, rounded half up; 0 without steps."""
    done = sum(step.status is StepStatus.COMPLETED for step in steps)
    return (200 * done + len(steps)) // (2 * len(steps)) if steps else 0


def find_step(steps: Sequence[GoalStep], step_id: str) -> GoalStep:
    """Return the step with this id. `RecordNotFound`."""
    for step in steps:
        if step.id == step_id:
            return step
    raise tables.RecordNotFound(GoalStep.__name__, step_id)


def check_steps(steps: Sequence[GoalStep]) -> None:
    """`InvalidRequest` when there are too many or too long steps, or dependencies on unknown steps or in a circle."""
    if len(steps) > MAX_STEPS:
        raise InvalidRequest(f"steps: a goal has at most {MAX_STEPS} steps", code="LIMIT_REACHED")
    if sum(map(_length, steps)) > MAX_CHARACTERS:
        raise InvalidRequest(
            f"steps: those of a goal have at most {MAX_CHARACTERS} characters together", code="LIMIT_REACHED"
        )
    needed = {step.id: step.dependencies for step in steps}
    for dependencies in needed.values():
        if unknown := sorted({*dependencies} - needed.keys()):
            raise InvalidRequest(f"dependencies: the goal has no step {unknown[0]}")
    try:
        TopologicalSorter(needed).prepare()
    except CycleError as error:
        raise InvalidRequest(f"dependencies: these steps wait for each other: {', '.join(error.args[1])}") from None


def _length(step: GoalStep) -> int:
    return sum(map(len, [step.title, step.description or "", step.result or "", *step.dependencies]))


def ready_steps(steps: Sequence[GoalStep]) -> list[GoalStep]:
    """Return the open steps whose dependencies are all completed."""
    done = {step.id for step in steps if step.status is StepStatus.COMPLETED}
    return [step for step in steps if step.status in OPEN and done.issuperset(step.dependencies)]
