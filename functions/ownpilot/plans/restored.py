"""Plans that a restore has brought back in the middle of a run."""

import contextlib

from functions.ownpilot.plans.checkpoints import reset
from functions.ownpilot.plans.moves import Moved, change_run, close
from functions.ownpilot.plans.reading import steps_of
from functions.ownpilot.plans.records import Plan, PlanRun, PlanStatus, PlanStepStatus, plans, runs
from shared import tables

REASON = "The plan ran when the backup was made. Execute it again to carry out the steps that are not done"


async def cancel_lost_runs(owner: str) -> None:
    """Cancel the plans that are under way by their records and that no workflow carries out any more.

    They do not go on by themselves: what they did after the backup would be done twice. 1 query; for each plan that is
    under way 1 point read, and 1 query and some writes if its run is lost.
    """
    for plan in [each async for each in plans.of(owner).all() if each.under_way]:
        try:
            await runs.get(PlanRun.id_of(plan.instance))
        except tables.RecordNotFound:
            with contextlib.suppress(Moved, tables.RecordNotFound):
                await _cancel(plan)


async def _cancel(plan: Plan) -> None:
    begun = (PlanStepStatus.RUNNING, PlanStepStatus.WAITING)
    await reset(plan.id, [step for step in await steps_of(plan.id) if step.status in begun])
    plan = await change_run(plan, lambda it: it.end(PlanStatus.CANCELLED, REASON))
    await close(plan, plan.run)
