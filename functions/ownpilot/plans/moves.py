"""The moves of a plan: what comes next in a run. The workflow makes one after the other.

Every move may be made again after a crash: it finds in the records what it has done, and goes on from there.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from functions.ownpilot.plans.checkpoints import reset
from functions.ownpilot.plans.history import forget_old_events, note
from functions.ownpilot.plans.order import decide, progress_of
from functions.ownpilot.plans.reading import steps_of
from functions.ownpilot.plans.records import (
    UNDER_WAY,
    EventType,
    Plan,
    PlanRun,
    PlanStatus,
    PlanStep,
    PlanStepStatus,
    instance_of,
    plans,
    runs,
    steps,
)
from functions.ownpilot.plans.runs import clear
from shared import tables

Move = dict[str, Any]
"""What the workflow is to do: `end`; carry out a `step` (its `attempt`); `wait` for an `event`, at most `seconds`; or
carry out another plan as a `part`, an `instance` of the workflow and its `input`, and then have the `step` ended."""

END: Move = {"do": "end"}
LONGEST_WAIT = 3600
"""Seconds after which the workflow of a paused plan looks whether it goes on."""

MAX_ERROR = 2000
"""Characters of an error."""


class Moved(Exception):
    """The plan, or its step, is not in the state any more in which it was a moment ago."""


async def next_move(order: Move) -> Move:
    """Decide what comes next in the run `{"owner", "plan", "run"}`; `woken` is the event that has just arrived.

    1 point read and 1 query, and a write of what has changed.
    """
    while True:
        try:
            plan = await plans.of(order["owner"]).get(order["plan"])
        except tables.RecordNotFound:
            await asyncio.gather(clear(order["plan"]), _forget(order["plan"], order["run"]))
            return END
        if plan.run != order["run"] or not plan.under_way:
            await close(plan, order["run"])
            return END
        with contextlib.suppress(Moved, tables.RecordNotFound):
            return await _decide(plan, order.get("woken"))


async def close(plan: Plan, run: int) -> None:
    """Write down how a run has ended, if it is the newest one, and forget that it is under way."""
    if plan.run == run and plan.completed_at:
        await note(plan, cast("EventType", plan.status.value), plan.completed_at, of=plan.instance, error=plan.error)
    await _forget(plan.id, run)


async def _forget(plan_id: str, run: int) -> None:
    with contextlib.suppress(tables.RecordNotFound):
        await runs.delete(PlanRun.id_of(instance_of(plan_id, run)))


async def change_run(plan: Plan, change: Callable[[Plan], object], *among: PlanStatus) -> Plan:
    """Change a plan whose run is the same and has one of these statuses, by default is under way. `Moved`."""

    def checked(it: Plan) -> None:
        if it.run != plan.run or it.status not in (among or UNDER_WAY):
            raise Moved
        change(it)

    return await plans.of(plan.user_id).update(plan, checked)


async def _decide(plan: Plan, woken: str | None) -> Move:
    """Return the next move of a plan that is under way. `Moved` when its status has changed meanwhile."""
    found = await steps_of(plan.id)
    if plan.prepared != plan.run:
        plan, found = await _prepare(plan, found)

    def note_progress(it: Plan) -> None:
        it.progress = progress_of(found)
        if woken and it.awaits == woken:
            it.awaits = None

    plan = await change_run(plan, note_progress)
    if plan.status is PlanStatus.PAUSED:
        return await _wait(plan)
    if plan.timeout_ms and plan.since and datetime.now(UTC) - plan.since > timedelta(milliseconds=plan.timeout_ms):
        return await _end(plan, PlanStatus.FAILED, f"The plan did not end within {plan.timeout_ms} ms")
    decision = decide(found)
    for step in decision.skipped:
        await _mark(plan, step, PlanStepStatus.SKIPPED)
    if decision.step:
        return {"do": "step", "step": decision.step.id, "attempt": decision.step.retry_count}
    if decision.failed:
        return await _end(plan, PlanStatus.FAILED, f"{decision.failed.name}: {decision.failed.error}")
    for step in decision.blocked:
        await _mark(plan, step, PlanStepStatus.BLOCKED)
    if decision.blocked:
        names = ", ".join(step.name for step in decision.blocked[:10])
        return await _end(plan, PlanStatus.FAILED, f"These steps wait for steps that will not be completed: {names}")
    return await _end(plan, PlanStatus.COMPLETED)


async def _prepare(plan: Plan, found: list[PlanStep]) -> tuple[Plan, list[PlanStep]]:
    """Bring the steps into their first state: all of them when the plan was completed, else those that are not done.

    That the run was started is written down again: the host of the request may have died before it did so.
    """
    await note(plan, "started", plan.started_at or plan.updated_at, of=plan.instance)
    done = (PlanStepStatus.COMPLETED, PlanStepStatus.SKIPPED)
    wanted = found if plan.anew else [step for step in found if step.status not in done]
    await asyncio.gather(reset(plan.id, wanted), forget_old_events(plan.id))
    found = await steps_of(plan.id)

    def change(plan: Plan) -> None:
        plan.prepared, plan.total_steps, plan.current_step = plan.run, len(found), 0

    return await change_run(plan, change), found


async def _mark(plan: Plan, step: PlanStep, status: PlanStepStatus) -> None:
    """Give a step that was not begun a status."""

    def change(it: PlanStep) -> None:
        if it.status is PlanStepStatus.PENDING:
            it.status = status

    with contextlib.suppress(tables.RecordNotFound):
        await steps.of(plan.id).update(step.id, change)


async def _wait(plan: Plan) -> Move:
    """Have the workflow of a paused plan wait for an event, and look for itself now and then: events can be lost."""
    plan = await change_run(plan, lambda it: it.awaits or it.await_event(), PlanStatus.PAUSED)
    return {"do": "wait", "event": plan.awaits, "seconds": LONGEST_WAIT}


async def _end(plan: Plan, status: PlanStatus, error: str | None = None) -> Move:
    plan = await change_run(plan, lambda it: it.end(status, error and error[:MAX_ERROR]), PlanStatus.RUNNING)
    await close(plan, plan.run)
    return END
