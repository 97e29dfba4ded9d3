"""The runs of plans when a restore replaces the plans: those of before it, and those that it brings back."""

import contextlib
from datetime import datetime

from functions.ownpilot.plans.checkpoints import reset
from functions.ownpilot.plans.moves import Moved, change_run, close
from functions.ownpilot.plans.reading import steps_of
from functions.ownpilot.plans.records import Plan, PlanStatus, PlanStepStatus, plans
from functions.ownpilot.plans.runs import tell
from shared import tables

REASON = "The plan ran when a backup was made or restored. Execute it again to carry out the steps that are not done"


async def cancel_runs(owner: str, before: datetime) -> None:
    """Cancel the plans that are under way since before the restore began, and end their workflows if they have any.

    For before and after the restore. Plans that it brings back do not go on by themselves: what they did after the
    backup would be done twice. 1 query, and for each plan that is under way another one and some writes.
    """
    for plan in [each async for each in plans.of(owner).all() if each.under_way]:
        if (plan.started_at or before) <= before:
            with contextlib.suppress(Moved, tables.RecordNotFound):
                await _cancel(plan)


async def _cancel(plan: Plan) -> None:
    begun = (PlanStepStatus.RUNNING, PlanStepStatus.WAITING)
    await reset(plan.id, [step for step in await steps_of(plan.id) if step.status in begun])
    plan = await change_run(plan, lambda it: it.end(PlanStatus.CANCELLED, REASON))
    await close(plan, plan.run)
    await tell(plan, None)
