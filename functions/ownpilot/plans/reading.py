"""How far a plan is: its steps, its end, and what came of it."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from functions.ownpilot.plans.order import in_order
from functions.ownpilot.plans.records import Plan, PlanStatus, PlanStep, PlanStepStatus, plans, steps
from shared import tables

PAUSES = (0.05, 0.1, 0.2, 0.3, 0.5)
"""Seconds between two looks at a plan whose end is waited for; the last one again and again."""


async def steps_of(plan_id: str) -> list[PlanStep]:
    """Return the steps of a plan as lists hold them: without results and what they are to do. 1 query."""
    return [step async for step in steps.of(plan_id).all()]


async def whole_steps_of(plan_id: str) -> list[PlanStep]:
    """Return the steps of a plan, in their order. 1 query."""
    return in_order([step async for step in steps.of(plan_id).scan()])


async def goes_on(plan: Plan) -> bool:
    """Whether a run has not ended. When storage does not tell, it has not. 1 point read."""
    try:
        now = await plans.of(plan.user_id).get(plan.id)
    except tables.RecordNotFound:
        return False
    except tables.StorageUnavailable:
        return True
    return now.run == plan.run and now.under_way


async def wait_for_end(plan: Plan, seconds: float) -> Plan:
    """Return a plan as soon as it does not run any more, at the latest after so many seconds. `RecordNotFound`."""
    until, run, looks = time.monotonic() + seconds, plan.run, 0
    while plan.status is PlanStatus.RUNNING and plan.run == run and time.monotonic() < until:
        await asyncio.sleep(PAUSES[min(looks, len(PAUSES) - 1)])
        plan, looks = await plans.of(plan.user_id).get(plan.id), looks + 1
    return plan


async def result_of(plan: Plan) -> dict[str, Any]:
    """Return what came of a plan: `results` are those of its completed steps by id, `duration` is in milliseconds."""
    found = await whole_steps_of(plan.id)
    completed = [step for step in found if step.status is PlanStepStatus.COMPLETED]
    end = plan.completed_at or datetime.now(UTC)
    return {
        "planId": plan.id, "status": plan.status.value, "completedSteps": len(completed), "totalSteps": len(found),
        "duration": round((end - (plan.started_at or end)).total_seconds() * 1000),
        "results": {step.id: step.result for step in completed}, "error": plan.error,
    }  # fmt: skip
