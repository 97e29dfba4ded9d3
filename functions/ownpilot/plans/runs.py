"""Starting, pausing, resuming and ending the runs of plans."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.ownpilot.core.first_use import ORIGIN
from functions.ownpilot.plans.history import note
from functions.ownpilot.plans.order import progress_of
from functions.ownpilot.plans.reading import steps_of
from functions.ownpilot.plans.records import (
    Plan,
    PlanRun,
    PlanStatus,
    PlanStep,
    PlanStepStatus,
    events,
    instance_of,
    plans,
    runs,
    steps,
)
from functions.ownpilot.plans.sizes import refuse_large
from shared import tables
from shared.deferred import defer
from shared.http.errors import BadRequest
from shared.workflows import WorkflowClient

log = logging.getLogger(__name__)

WORKFLOW = "ownpilot_plan"


def order_of(plan: Plan) -> dict[str, Any]:
    """Return the input of the workflow of the newest run."""
    return {"owner": plan.user_id, "plan": plan.id, "run": plan.run}


async def begin(owner: str, plan_id: str, within: Sequence[str] = ()) -> Plan:
    """Begin a run of a plan; its workflow is to be started then. `within` are the plans of which it is a part.

    `RecordNotFound`; `BadRequest` ALREADY_RUNNING. A row that names the run is written first, so that the upkeep of
    each minute finds a run whose workflow was never started. 1 point read, 3 writes.
    """
    known = await plans.of(owner).get(plan_id)
    _refuse_under_way(known)
    run = max(known.run + 1, time.time_ns() // 1000)
    instance = instance_of(plan_id, run)
    row = PlanRun(
        id=PlanRun.id_of(instance), created_at=ORIGIN, updated_at=datetime.now(UTC), owner=owner, plan_id=plan_id,
        instance=instance, is_part=bool(within),
    )  # fmt: skip
    await runs.insert(row)

    def start(plan: Plan) -> None:
        _refuse_under_way(plan)
        if plan.run != known.run:
            raise BadRequest("The plan was run at this moment by another request", code="ALREADY_RUNNING")
        plan.run = run
        plan.anew = plan.status is PlanStatus.COMPLETED
        plan.status, plan.within = PlanStatus.RUNNING, [*within]
        plan.started_at = plan.since = plan.moment()
        plan.completed_at = plan.error = plan.awaits = plan.conversation_id = None
        plan.retry_count = 0

    plan = await plans.of(owner).update(known, start)
    await note(plan, "started", plan.started_at or plan.updated_at, of=plan.instance)
    return plan


async def start(owner: str, plan_id: str, workflows: WorkflowClient | None) -> Plan:
    """Begin a run and start its workflow; without a client of workflows a queue has it started. As `begin`."""
    plan = await begin(owner, plan_id)
    if workflows is None:
        await defer("ownpilot.start_plan", order_of(plan))
    else:
        await workflows.start_now_or_later(WORKFLOW, plan.instance, order_of(plan))
    return plan


async def start_plan(order: dict[str, Any], workflows: WorkflowClient) -> None:
    """Deferred: start the workflow of a run that was begun."""
    with contextlib.suppress(tables.RecordNotFound):
        plan = await plans.of(order["owner"]).get(order["plan"])
        if plan.under_way and plan.run == order["run"]:
            await workflows.start(WORKFLOW, plan.instance, order)


async def pause(owner: str, plan_id: str) -> bool:
    """Pause a plan after the step that is carried out now; return False when it is not running. `RecordNotFound`."""
    paused = False

    def change(plan: Plan) -> None:
        nonlocal paused
        paused = plan.status is PlanStatus.RUNNING
        if paused:
            plan.status = PlanStatus.PAUSED
            plan.moment()

    plan = await plans.of(owner).update(plan_id, change)
    if paused:
        await note(plan, "paused", plan.latest or plan.updated_at)
    return paused


async def resume(owner: str, plan_id: str, given: dict[str, Any], workflows: WorkflowClient) -> Plan:
    """Go on with a paused plan; `given["input"]` becomes the result of a step that waits for it.

    `RecordNotFound`; `BadRequest` NOT_PAUSED, INPUT_REQUIRED, or INVALID_INPUT when it is none of the options;
    `InvalidRequest` when it is too long.
    """
    plan = await plans.of(owner).get(plan_id)
    _refuse_not_paused(plan)
    found = await steps_of(plan_id)
    waiting = next((step for step in found if step.status is PlanStepStatus.WAITING), None)
    if waiting:
        await _check_answer(plan, waiting.id, given)
        waiting.status = PlanStepStatus.COMPLETED  # as it soon is: it counts for the progress

    def change(plan: Plan) -> None:
        _refuse_not_paused(plan)
        plan.status, plan.progress = PlanStatus.RUNNING, progress_of(found)
        plan.since = plan.moment()

    with contextlib.suppress(tables.RecordNotFound):  # from now on the upkeep looks at it, should the host die below
        await runs.update(PlanRun.id_of(plan.instance), lambda it: setattr(it, "look_at", None))
    # The plan before the step: of answers that come at the same moment, one changes it. When the host dies before the
    # step has its result, the workflow asks again.
    plan = await plans.of(owner).update(plan, change)
    at = plan.latest or plan.updated_at
    if waiting:
        at = await _answer(plan, waiting.id, given["input"]) + timedelta(milliseconds=1)
    await note(plan, "resumed", at)
    await tell(plan, workflows)
    return plan


async def _check_answer(plan: Plan, step_id: str, given: dict[str, Any]) -> None:
    """Check what is given to a waiting step. `BadRequest`, `InvalidRequest`."""
    step = await steps.of(plan.id).get(step_id)
    question = str(step.config.get("question", ""))
    if "input" not in given:
        raise BadRequest(
            f"A step waits for input: {question}"[:1000], code="INPUT_REQUIRED", details={"stepId": step.id}
        )
    refuse_large("input", given["input"])
    options: Any = step.config.get("options")
    if isinstance(options, list) and options and given["input"] not in options:
        raise BadRequest("input: must be one of the options of the step", code="INVALID_INPUT", details=options)


async def _answer(plan: Plan, step_id: str, result: Any) -> datetime:
    """Give a waiting step its result; return when."""

    def change(step: PlanStep) -> None:
        if step.status is not PlanStepStatus.WAITING:  # the plan was aborted meanwhile
            raise _not_paused()
        step.complete(result, step.on_success)

    step = await steps.of(plan.id).update(step_id, change)
    at = step.completed_at or step.updated_at
    await note(plan, "step_completed", at, of=plan.instance, step_id=step.id)
    return at


async def abort(owner: str, plan_id: str, workflows: WorkflowClient | None) -> bool:
    """End a plan that is under way, and those that are parts of it; return False when it is not. `RecordNotFound`.

    The step that is carried out now notices it within seconds. A repeat ends the parts that a crash has left.
    """
    aborted = False

    def cancel(plan: Plan) -> None:
        nonlocal aborted
        aborted = plan.under_way
        if aborted:
            plan.end(PlanStatus.CANCELLED)

    plan = await plans.of(owner).update(plan_id, cancel)
    if plan.status is PlanStatus.CANCELLED and plan.completed_at:
        await note(plan, "cancelled", plan.completed_at, of=plan.instance)
        for step in await steps_of(plan_id):
            if step.child and step.status is PlanStepStatus.RUNNING:
                await _abort_part(plan, step.child, workflows)
        await tell(plan, workflows)
    return aborted


async def _abort_part(plan: Plan, instance: str, workflows: WorkflowClient | None) -> None:
    with contextlib.suppress(tables.RecordNotFound):
        part = await plans.of(plan.user_id).get(instance.rpartition("-")[0])
        if part.instance == instance and part.under_way:
            await abort(plan.user_id, part.id, workflows)


async def delete(owner: str, plan_id: str, workflows: WorkflowClient | None) -> None:
    """End a plan and delete it with all that belongs to it. `RecordNotFound`."""
    await abort(owner, plan_id, workflows)
    await clear(plan_id)
    await plans.of(owner).delete(plan_id)


async def clear(plan_id: str) -> None:
    """Delete the steps and the history of a plan."""
    await asyncio.gather(steps.of(plan_id).clear(), events.of(plan_id).clear())


async def tell(plan: Plan, workflows: WorkflowClient | None) -> None:
    """Wake the workflow of a plan, if it waits. Where that is not possible now, a queue has it done."""
    if plan.awaits is None:
        return
    if workflows is not None:
        try:
            if not await workflows.signal(plan.instance, plan.awaits) and plan.under_way:
                await workflows.start(WORKFLOW, plan.instance, order_of(plan))
            return
        except Exception:
            log.exception("the workflow of %s is woken later", plan.id)
    await defer("ownpilot.wake_plan", {"instance": plan.instance, "event": plan.awaits})


async def wake_plan(value: dict[str, Any], workflows: WorkflowClient) -> None:
    """Deferred: raise the event for which a workflow waits."""
    await workflows.signal(value["instance"], value["event"])


def _refuse_under_way(plan: Plan) -> None:
    if plan.status is PlanStatus.RUNNING:
        raise BadRequest("The plan is already running", code="ALREADY_RUNNING")
    if plan.status is PlanStatus.PAUSED:
        raise BadRequest("The plan has begun and is paused: resume or abort it", code="ALREADY_RUNNING")


def _refuse_not_paused(plan: Plan) -> None:
    if plan.status is not PlanStatus.PAUSED:
        raise _not_paused()


def _not_paused() -> BadRequest:
    return BadRequest("The plan is not paused", code="NOT_PAUSED")
