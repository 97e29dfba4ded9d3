"""Attempts to carry out a step: begun, watched, ended, repeated."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from functions.ownpilot.core.tool_context import ToolError
from functions.ownpilot.plans.history import note
from functions.ownpilot.plans.moves import MAX_ERROR, Move, Moved, change_run, next_move
from functions.ownpilot.plans.order import ABORT, SKIP
from functions.ownpilot.plans.parts import part_result, start_part
from functions.ownpilot.plans.performing import Performed, StepFailed, needed, perform
from functions.ownpilot.plans.reading import goes_on, steps_of
from functions.ownpilot.plans.records import Plan, PlanStatus, PlanStep, PlanStepStatus, StepType, plans, steps
from functions.ownpilot.plans.runs import order_of
from shared import tables
from shared.http.errors import HANDLED, api_error

log = logging.getLogger(__name__)

LOOK = 2.0
"""Seconds between two looks at whether the run of a step was ended."""

LONGEST_PAUSE = 30
"""Seconds before an attempt, at most."""

_BEGUN = (PlanStepStatus.RUNNING, PlanStepStatus.WAITING)
_GONE = (Moved, tables.RecordNotFound)


async def step_move(order: Move) -> Move:
    """Carry out the step `{"step", "attempt"}` of a run, and decide what comes next."""
    try:
        plan, step = await _read(order)
        if plan.run != order["run"]:
            return await next_move(order)
        if not plan.under_way:
            await _stop(plan, step)
        elif step.status in _BEGUN:  # by a host that has died
            return await _carry_out(plan, step)
        elif step.retry_count > order["attempt"]:
            return await _pause(plan, step)
        elif step.status is PlanStepStatus.PENDING and plan.status is PlanStatus.RUNNING:
            return await _carry_out(plan, step)
        else:
            await _note_end(plan, step)
    except _GONE:
        pass
    return await next_move(order)


async def part_ended(order: Move) -> Move:
    """End the step `{"step", "attempt"}` whose part has ended, and decide what comes next."""
    with contextlib.suppress(*_GONE):
        plan, step = await _read(order)
        same = plan.run == order["run"] and step.retry_count == order["attempt"]
        if same and plan.under_way and step.status is PlanStepStatus.RUNNING:
            return await _end_part(plan, step)
    return await step_move(order)


async def _end_part(plan: Plan, step: PlanStep) -> Move:
    try:
        return await _ended(plan, step, Performed(await part_result(plan, step)))
    except StepFailed as failure:
        return await _failed(plan, step, str(failure))


async def _read(order: Move) -> tuple[Plan, PlanStep]:
    return await asyncio.gather(plans.of(order["owner"]).get(order["plan"]), steps.of(order["plan"]).get(order["step"]))


async def _carry_out(plan: Plan, step: PlanStep) -> Move:
    """Begin a step, unless it was begun before, and carry it out. `Moved`."""
    plan, step = await _begin(plan, step)
    try:
        if step.type is StepType.USER_INPUT:
            return await _ask_user(plan, step)
        if step.type is StepType.SUB_PLAN:
            return await start_part(plan, step) or await _end_part(plan, await steps.of(plan.id).get(step.id))
        done = await _watched(plan, perform(plan, step), step.timeout_ms / 1000)
    except StepFailed as failure:
        return await _failed(plan, step, str(failure))
    if done is None:
        await _stop(plan, step)
        return await next_move(order_of(plan))
    return await _ended(plan, step, done)


async def _begin(plan: Plan, step: PlanStep) -> tuple[Plan, PlanStep]:
    """Note that a step is begun."""

    def current(it: Plan) -> None:
        it.current_step = step.order_num
        it.moment()

    def begin(it: PlanStep) -> None:
        it.status, it.started_at, it.error = PlanStepStatus.RUNNING, plan.latest, None
        it.completed_at = it.duration_ms = None

    if step.status not in _BEGUN:
        plan = await change_run(plan, current, PlanStatus.RUNNING)
        step = await steps.of(plan.id).update(step, begin)
    at = step.started_at or step.updated_at
    await note(plan, "step_started", at, of=plan.instance, step_id=step.id, attempt=step.retry_count + 1)
    return plan, step


async def _watched(plan: Plan, work: Coroutine[Any, Any, Performed], seconds: float) -> Performed | None:
    """Return what came of a step; None, within `LOOK` seconds, when its run is ended meanwhile. `StepFailed`."""
    task = asyncio.create_task(_bounded(work, seconds))
    try:
        while not (await asyncio.wait([task], timeout=LOOK))[0]:
            if not await goes_on(plan):
                return None
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])


async def _bounded(work: Coroutine[Any, Any, Performed], seconds: float) -> Performed:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except StepFailed:
        raise
    except ToolError as error:
        raise StepFailed(str(error)) from None
    except HANDLED as error:
        raise StepFailed(api_error(error).message) from error
    except TimeoutError:
        raise StepFailed(f"It did not end within {round(seconds * 1000)} ms and was stopped") from None
    except Exception as error:
        log.exception("a step of a plan failed")
        raise StepFailed("It failed for an unknown reason") from error


async def _ask_user(plan: Plan, step: PlanStep) -> Move:
    """Pause the plan until the user answers."""
    question = needed(step, "question")

    def pause(it: Plan) -> None:
        if it.status is PlanStatus.RUNNING:
            it.status = PlanStatus.PAUSED
            it.moment()

    await steps.of(plan.id).update(step, lambda it: setattr(it, "status", PlanStepStatus.WAITING))
    plan = await change_run(plan, pause)
    await note(plan, "paused", plan.latest or plan.updated_at, step_id=step.id, question=question[:MAX_ERROR])
    return await next_move(order_of(plan))


async def _ended(plan: Plan, step: PlanStep, done: Performed) -> Move:
    """Complete a step."""
    try:
        step = await _settle(plan, step, lambda it: it.complete(done.result, done.jump or it.on_success))
    except ValueError:  # `Unstorable`, or of JSON
        return await _failed(plan, step, "Its result cannot be stored: it has characters that are no text")
    await _note_end(plan, step)
    return await next_move(order_of(plan))


async def _failed(plan: Plan, step: PlanStep, why: str) -> Move:
    """Note that an attempt has failed; have it repeated after a pause, or end the step."""

    def fail(it: PlanStep) -> None:
        it.error, it.child = why[:MAX_ERROR].encode("utf-8", "replace").decode(), None
        it.stop()
        if it.retry_count < it.max_retries:
            it.retry_count += 1
            it.status = PlanStepStatus.PENDING
        elif it.on_failure == SKIP:
            it.status = PlanStepStatus.SKIPPED
        else:
            it.status = PlanStepStatus.FAILED
            it.jump = None if it.on_failure == ABORT else it.on_failure

    step = await _settle(plan, step, fail)
    if step.status is PlanStepStatus.PENDING:
        return await _pause(plan, step)
    await _note_end(plan, step)
    return await next_move(order_of(plan))


async def _pause(plan: Plan, step: PlanStep) -> Move:
    """Wait before the next attempt of a step: 1, 2, 4 ... seconds. `Moved`."""
    await _note_end(plan, step)
    retries = sum(each.retry_count for each in await steps_of(plan.id))

    def wait(it: Plan) -> None:
        it.retry_count = retries
        it.await_event()

    plan = await change_run(plan, wait, PlanStatus.RUNNING)
    return {"do": "wait", "event": plan.awaits, "seconds": min(2 ** (step.retry_count - 1), LONGEST_PAUSE)}


async def _settle(plan: Plan, step: PlanStep, change: Callable[[PlanStep], object]) -> PlanStep:
    """Change a step that is carried out. `Moved` when this attempt has ended already."""

    def checked(it: PlanStep) -> None:
        if it.status not in _BEGUN or it.started_at != step.started_at:
            raise Moved
        change(it)

    return await steps.of(plan.id).update(step, checked)


async def _note_end(plan: Plan, step: PlanStep) -> None:
    """Write down how the latest attempt of a step has ended, if it has."""
    if step.completed_at is None:
        return
    if step.status is PlanStepStatus.COMPLETED:
        await note(
            plan, "step_completed", step.completed_at, of=plan.instance, step_id=step.id, durationMs=step.duration_ms
        )
    else:
        await note(plan, "step_failed", step.completed_at, of=plan.instance, step_id=step.id, error=step.error)


async def _stop(plan: Plan, step: PlanStep) -> None:
    """End a step whose run was ended."""

    def stop(it: PlanStep) -> None:
        it.status, it.error = PlanStepStatus.FAILED, "It was stopped, as the plan was ended"
        it.stop()

    with contextlib.suppress(*_GONE):
        await _note_end(plan, await _settle(plan, step, stop))
