"""Starting, pausing, resuming and ending the runs of plans: what people and other plans may do with them."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from functions.ownpilot.core.entry import iso
from functions.ownpilot.core.first_use import ORIGIN
from functions.ownpilot.plans.history import forget_old_events, note
from functions.ownpilot.plans.order import in_order, progress_of
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
from shared import tables
from shared.deferred import defer
from shared.http.errors import BadRequest, Conflict
from shared.workflows import WorkflowClient

log = logging.getLogger(__name__)

WORKFLOW = "ownpilot_plan"
PAUSES = (0.05, 0.1, 0.2, 0.3, 0.5)
"""Seconds between two looks at a plan whose end is waited for; the last one again and again."""


async def steps_of(plan_id: str) -> list[PlanStep]:
    """Return the steps of a plan as lists hold them: without results and what they are to do. 1 query."""
    return [step async for step in steps.of(plan_id).all()]


async def whole_steps_of(plan_id: str) -> list[PlanStep]:
    """Return the steps of a plan, in their order. 1 query."""
    return in_order([step async for step in steps.of(plan_id).scan()])


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
    instance = instance_of(plan_id, known.run + 1)
    row = PlanRun(
        id=PlanRun.id_of(instance), created_at=ORIGIN, updated_at=datetime.now(UTC), owner=owner, plan_id=plan_id,
        instance=instance, is_part=bool(within),
    )  # fmt: skip
    await runs.insert(row)

    def start(plan: Plan) -> None:
        _refuse_under_way(plan)
        if plan.run != known.run:
            raise BadRequest("The plan was run at this moment by another request", code="ALREADY_RUNNING")
        plan.run += 1
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

    `RecordNotFound`; `BadRequest` NOT_PAUSED, INPUT_REQUIRED, or INVALID_INPUT when it is none of the options.
    """
    plan = await plans.of(owner).get(plan_id)
    _refuse_not_paused(plan)
    found = await steps_of(plan_id)
    waiting = next((step for step in found if step.status is PlanStepStatus.WAITING), None)
    if waiting:
        await _answer(plan, waiting.id, given)
        found = await steps_of(plan_id)

    def change(plan: Plan) -> None:
        _refuse_not_paused(plan)
        plan.status, plan.progress = PlanStatus.RUNNING, progress_of(found)
        plan.since = plan.moment()

    plan = await plans.of(owner).update(plan, change)
    await note(plan, "resumed", plan.latest or plan.updated_at)
    await tell(plan, workflows)
    return plan


async def _answer(plan: Plan, step_id: str, given: dict[str, Any]) -> None:
    """Give a waiting step its result."""
    step = await steps.of(plan.id).get(step_id)
    question = str(step.config.get("question", ""))
    if "input" not in given:
        raise BadRequest(
            f"A step waits for input: {question}"[:1000], code="INPUT_REQUIRED", details={"stepId": step.id}
        )
    options: Any = step.config.get("options")
    if isinstance(options, list) and options and given["input"] not in options:
        raise BadRequest("input: must be one of the options of the step", code="INVALID_INPUT", details=options)

    def change(step: PlanStep) -> None:
        if step.status is not PlanStepStatus.WAITING:
            raise _not_paused()
        step.complete(given["input"], step.on_success)

    step = await steps.of(plan.id).update(step, change)
    await note(plan, "step_completed", step.completed_at or step.updated_at, of=plan.instance, step_id=step.id)


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


async def checkpoint(owner: str, plan_id: str, data: Any) -> Plan:
    """Note how far a plan is, with data of the caller's. `RecordNotFound`."""

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


async def delete(owner: str, plan_id: str, workflows: WorkflowClient | None) -> None:
    """End a plan and delete it with all that belongs to it. `RecordNotFound`."""
    await abort(owner, plan_id, workflows)
    await clear(plan_id)
    await plans.of(owner).delete(plan_id)


async def clear(plan_id: str) -> None:
    """Delete the steps and the history of a plan."""
    await asyncio.gather(steps.of(plan_id).clear(), events.of(plan_id).clear())


async def goes_on(plan: Plan) -> bool:
    """Whether a run has not ended. When storage does not tell, it has not. 1 point read."""
    try:
        now = await plans.of(plan.user_id).get(plan.id)
    except tables.RecordNotFound:
        return False
    except tables.StorageUnavailable:
        return True
    return now.run == plan.run and now.under_way


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
