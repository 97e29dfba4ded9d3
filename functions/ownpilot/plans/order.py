"""Which step of a plan comes next: pure functions of its steps."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from functions.ownpilot.plans.records import PlanStep, PlanStepStatus

ABORT, SKIP = "abort", "skip"
"""What `on_failure` may be, beside the id of a step."""

_OPEN = (PlanStepStatus.RUNNING, PlanStepStatus.WAITING)
_LEFT = (PlanStepStatus.PENDING, PlanStepStatus.BLOCKED)
"""Of a step that is not done; it is blocked already when a host has died before it ended the plan for that."""


@dataclass(frozen=True)
class Decision:
    """What follows from the states of the steps.

    First the steps in `skipped` are passed over. Then `step` is carried out; without one, the plan fails because of
    `failed`, or because the steps in `blocked` wait for what will not be completed; without those it is completed.
    """

    skipped: Sequence[PlanStep] = ()
    step: PlanStep | None = None
    failed: PlanStep | None = None
    blocked: Sequence[PlanStep] = ()


def in_order(steps: Collection[PlanStep]) -> list[PlanStep]:
    """Return steps by their numbers, those with the same one by age."""
    return sorted(steps, key=lambda step: (step.order_num, step.id))


def decide(steps: Collection[PlanStep]) -> Decision:
    """Return what is to be done next.

    A step that was begun is carried out first: its host has died. Then the first one in order whose dependencies are
    all completed; a dependency on a step that is not there any more does not count.
    """
    ordered = in_order(steps)
    failed = next((step for step in ordered if step.status is PlanStepStatus.FAILED and step.jump is None), None)
    if failed:
        return Decision(failed=failed)
    begun = next((step for step in ordered if step.status in _OPEN), None)
    skipped = _passed_over(ordered)
    gone = {step.id for step in skipped}
    left = [step for step in ordered if step.status in _LEFT and step.id not in gone]
    unmet = {step.id for step in ordered if step.status is not PlanStepStatus.COMPLETED}
    step = begun or next((step for step in left if unmet.isdisjoint(step.dependencies)), None)
    return Decision(skipped, step, blocked=() if step else left)


def _passed_over(ordered: Sequence[PlanStep]) -> list[PlanStep]:
    """Return the pending steps between those that jump and where they jump to, which must be further on."""
    places = {step.id: place for place, step in enumerate(ordered)}
    found: dict[str, PlanStep] = {}
    for place, step in enumerate(ordered):
        if step.jump and step.status in (PlanStepStatus.COMPLETED, PlanStepStatus.FAILED):
            between = ordered[place + 1 : places.get(step.jump, 0)]
            found |= {each.id: each for each in between if each.status is PlanStepStatus.PENDING}
    return [*found.values()]


def progress_of(steps: Collection[PlanStep]) -> int:
    """Return how many percent of the steps are completed, rounded half up; 0 without steps."""
    done = sum(step.status is PlanStepStatus.COMPLETED for step in steps)
    return (200 * done + len(steps)) // (2 * len(steps)) if steps else 0


def why_not(dependencies: Mapping[str, Sequence[str]]) -> str | None:
    """Return what is wrong with the dependencies of steps, by their ids: unknown steps, a circle; None when nothing."""
    for needed in dependencies.values():
        if unknown := sorted({*needed} - dependencies.keys()):
            return f"the plan has no step {unknown[0][:100]}"
    try:
        TopologicalSorter(dependencies).prepare()
    except CycleError as error:
        return f"these steps wait for each other: {', '.join(error.args[1])}"
    return None
