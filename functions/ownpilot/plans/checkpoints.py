"""Noting how far a plan is, and taking it back."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from functions.ownpilot.core.entry import iso
from functions.ownpilot.plans.history import forget_old_events, note
from functions.ownpilot.plans.reading import steps_of
from functions.ownpilot.plans.records import Plan, PlanStatus, PlanStep, PlanStepStatus, plans, steps
from functions.ownpilot.plans.runs import tell
from functions.ownpilot.plans.sizes import refuse_large
from shared import tables
from shared.http.errors import BadRequest, Conflict
from shared.workflows import WorkflowClient


async def checkpoint(owner: str, plan_id: str, data: Any) -> Plan:
    """Note how far a plan is, with data of the caller's. `RecordNotFound`; `InvalidRequest` for too much of it."""
    refuse_large("data", data)

    def change(plan: Plan) -> None:
        plan.checkpoint = {"data": data, "currentStep": plan.current_step, "createdAt": iso(plan.moment())}

    plan = await plans.of(owner).update(plan_id, change)
    await note(plan, "checkpoint", plan.latest or plan.updated_at)
    await forget_old_events(plan_id)
    return plan


async def rollback(owner: str, plan_id: str, workflows: WorkflowClient | None) -> Plan:
    """Take a plan back: it is pending again, and so are all of its steps, whose results are dropped.

    `RecordNotFound`; `BadRequest` NO_CHECKPOINT; `Conflict` while it runs. The plan comes first, so that a repeat does
    what a crash has left.
    """
    if any(step.status is PlanStepStatus.RUNNING for step in await steps_of(plan_id)):
        plan = await plans.of(owner).get(plan_id)
        if plan.under_way:
            raise Conflict("A step of the plan is carried out at this moment: wait for its end, or abort the plan")

    def change(plan: Plan) -> None:
        if plan.checkpoint is None:
            raise BadRequest("The plan has no checkpoint to go back to", code="NO_CHECKPOINT")
        if plan.status is PlanStatus.RUNNING:
            raise Conflict("The plan is running: pause or abort it first")
        plan.status, plan.progress, plan.current_step = PlanStatus.PENDING, 0, 0
        plan.error = plan.completed_at = plan.started_at = None
        plan.moment()

    plan = await plans.of(owner).update(plan_id, change)
    await reset(plan_id, await steps_of(plan_id))
    await note(plan, "rollback", plan.latest or plan.updated_at)
    await tell(plan, workflows)
    return plan


async def reset(plan_id: str, found: Sequence[PlanStep]) -> None:
    """Make these steps of a plan steps that were not begun. 2 calls for each that was."""
    own = steps.of(plan_id)
    turns = asyncio.Semaphore(10)

    async def one(step: PlanStep) -> None:
        async with turns:
            with contextlib.suppress(tables.RecordNotFound):  # it was deleted meanwhile
                await own.update(step.id, PlanStep.reset)

    await asyncio.gather(*(one(step) for step in found if step.has_begun))
