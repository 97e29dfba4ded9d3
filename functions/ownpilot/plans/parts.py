"""Plans that are carried out as a step of another plan."""

import contextlib
from typing import Any

from functions.ownpilot.plans.moves import Move, Moved, change_run
from functions.ownpilot.plans.performing import StepFailed, needed
from functions.ownpilot.plans.reading import goes_on, result_of
from functions.ownpilot.plans.records import Plan, PlanStatus, PlanStep, plans, steps
from functions.ownpilot.plans.runs import abort, begin, order_of
from functions.ownpilot.plans.sizes import bounded
from shared import tables
from shared.http.errors import BadRequest

DEEPEST = 10
"""How many plans can be in each other."""

LOOK = 5
"""Seconds between two looks at a part whose end is not reported."""


async def start_part(plan: Plan, step: PlanStep) -> Move | None:
    """Begin a run of the plan that a step names, unless the step has done so; None when that run has ended already.

    `StepFailed`, `Moved`. A run that is under way since before a crash of this plan's workflow has another waiter, who
    is gone: it is looked at every few seconds.
    """
    other, within = needed(step, "subPlanId"), [*plan.within, plan.id]
    if other in within or len(within) >= DEEPEST:
        raise StepFailed(f"A plan cannot be a part of itself, and at most {DEEPEST} plans can be in each other")
    if step.child is None:
        part = await _begun(plan, other, within)
        step = await steps.of(plan.id).update(step, lambda it: setattr(it, "child", part.instance))
        if not await goes_on(plan):  # it was aborted before the part could be found
            await abort(plan.user_id, part.id, None)
    else:
        part = await _known(plan, step)
        if part is None or not part.under_way:
            return None
        if part.prepared == part.run:
            plan = await change_run(plan, Plan.await_event)
            return {"do": "wait", "event": plan.awaits, "seconds": LOOK}
    return {"do": "part", "instance": step.child, "input": order_of(part), "step": step.id, "attempt": step.retry_count}


async def _begun(plan: Plan, other: str, within: list[str]) -> Plan:
    try:
        return await begin(plan.user_id, other, within)
    except tables.RecordNotFound:
        raise StepFailed("config.subPlanId: there is no such plan") from None
    except BadRequest as error:
        part = await plans.of(plan.user_id).get(other)
        if part.under_way and part.within == within:  # begun by this step, and the host has died before it was noted
            return part
        raise StepFailed(f"{part.name}: {error.message}") from None


async def _known(plan: Plan, step: PlanStep) -> Plan | None:
    """Return the plan of the run that a step has started; None when it was deleted, or has another run by now."""
    part_id, _, run = (step.child or "").rpartition("-")
    try:
        part = await plans.of(plan.user_id).get(part_id)
    except tables.RecordNotFound:
        return None
    return part if part.run == int(run) else None


async def part_result(plan: Plan, step: PlanStep) -> dict[str, Any]:
    """Return what came of the part that a step has started, its results `bounded`. `StepFailed` if not completed."""
    part = await _known(plan, step)
    if part is None:
        raise StepFailed("The plan was deleted or begun anew")
    if part.status is PlanStatus.COMPLETED:
        result = await result_of(part)
        return {**result, "results": bounded(result["results"])}
    if part.under_way:  # its workflow has failed
        await interrupt(part)
    raise StepFailed(f"The plan {part.name} is {part.status}: {part.error or 'it was not completed'}")


async def interrupt(part: Plan) -> None:
    """End a run whose workflow has failed, so that the step that has started it may start it again."""
    with contextlib.suppress(Moved):
        await change_run(part, lambda it: it.end(PlanStatus.FAILED, "The plan was interrupted"))
