"""The workflow of a run, and the upkeep that starts it again when it was lost."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.durable_functions as df

from functions.ownpilot.plans.attempts import part_ended, step_move
from functions.ownpilot.plans.moves import close, next_move
from functions.ownpilot.plans.parts import interrupt
from functions.ownpilot.plans.records import Plan, PlanRun, PlanStatus, plans, runs
from functions.ownpilot.plans.runs import WORKFLOW, abort, order_of, tell
from shared import tables
from shared.faults import Sweep
from shared.workflows import ACTIVE, WorkflowClient

bp = df.Blueprint()

MOVES = 50
"""Moves of one execution of the workflow; then it continues as a new one, so that the history stays short."""

SOON = timedelta(minutes=1)
"""How old a run must be for the upkeep to look after it: until then the request may be about to start its workflow."""

LONG = timedelta(hours=1)
"""How old, besides, the row of a run must be that no request begins any more; and between two looks at a paused one."""

AT_ONCE = 8
"""Runs that are looked at at the same time."""

RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=2000, max_number_of_attempts=5)


@bp.orchestration_trigger(context_name="context")
def ownpilot_plan(ctx: df.DurableOrchestrationContext):
    """Carry out one run of a plan, from move to move.

    The input is `{"owner", "plan", "run"}`, and the next `move` where an earlier execution has decided it.
    """
    given: Any = ctx.get_input()
    order, move = {name: given[name] for name in ("owner", "plan", "run")}, given.get("move")
    if move is None:
        move = yield ctx.call_activity_with_retry("ownpilot_plan_next", RETRY, order)
    for _ in range(MOVES):
        if move["do"] == "end":
            return
        if move["do"] == "step":
            move = yield ctx.call_activity_with_retry("ownpilot_plan_step", RETRY, {**order, **move})
        elif move["do"] == "part":
            with contextlib.suppress(Exception):  # how the part has ended is in its record
                yield ctx.call_sub_orchestrator("ownpilot_plan", move["input"], move["instance"])
            move = yield ctx.call_activity_with_retry("ownpilot_plan_part", RETRY, {**order, **move})
        else:
            wake = ctx.wait_for_external_event(move["event"])
            pause = ctx.create_timer(ctx.current_utc_datetime + timedelta(seconds=move["seconds"]))
            winner = yield ctx.task_any([wake, pause])
            if winner == wake:
                pause.cancel()  # pyright: ignore[reportAttributeAccessIssue]
            move = yield ctx.call_activity_with_retry("ownpilot_plan_next", RETRY, {**order, "woken": move["event"]})
    ctx.continue_as_new({**order, "move": move})


@bp.activity_trigger(input_name="order")
async def ownpilot_plan_next(order: dict) -> dict:
    """Decide what comes next."""
    return await next_move(order)


@bp.activity_trigger(input_name="order")
async def ownpilot_plan_step(order: dict) -> dict:
    """Carry out a step, and decide what comes next."""
    return await step_move(order)


@bp.activity_trigger(input_name="order")
async def ownpilot_plan_part(order: dict) -> dict:
    """End a step whose part has ended, and decide what comes next."""
    return await part_ended(order)


async def follow_plans(workflows: WorkflowClient) -> None:
    """Every minute: look after the runs that have not ended, every hour after one that is paused.

    1 query for each 1,000 runs, and 1 point read for each that is looked at.
    """
    now = datetime.now(UTC)
    due = [each async for each in runs.all() if each.updated_at < now - SOON and (each.look_at or now) <= now]
    async with Sweep("plans under way") as sweep:

        async def look(row: PlanRun) -> None:
            with sweep.item(f"plan {row.plan_id}"):
                await _follow(row, workflows, now - SOON)

        for first in range(0, len(due), AT_ONCE):
            await asyncio.gather(*map(look, due[first : first + AT_ONCE]))


async def _follow(row: PlanRun, workflows: WorkflowClient, before: datetime) -> None:
    """Start the workflow of a run again if it was lost, or wake it if it was not told; close a run that has ended."""
    run = int(row.instance.rpartition("-")[2])
    try:
        plan = await plans.of(row.owner).get(row.plan_id)
    except tables.RecordNotFound:
        await runs.delete(row.id)
        return
    if plan.run < run:  # a request has died before it began this run, or a restore has brought back an older one
        if row.updated_at < before - LONG:
            await runs.delete(row.id)
        return
    if plan.run > run or not plan.under_way:
        if plan.run == run:
            await tell(plan, workflows)
        await close(plan, run)
    elif row.is_part and not await _is_wanted(plan):
        await abort(plan.user_id, plan.id, workflows)
    elif plan.status is PlanStatus.PAUSED:
        with contextlib.suppress(tables.RecordNotFound):  # it has ended meanwhile
            await runs.update(row, lambda it: setattr(it, "look_at", datetime.now(UTC) + LONG))
    elif plan.updated_at < before:
        if await workflows.status(row.instance) in ACTIVE:
            await tell(plan, workflows)
        elif not row.is_part:
            await workflows.start(WORKFLOW, row.instance, order_of(plan))
        elif plan.prepared == plan.run:  # its workflow was there; the whole starts a new one
            await interrupt(plan)


async def _is_wanted(part: Plan) -> bool:
    """Whether the plan that a plan is a part of is under way."""
    try:
        return (await plans.of(part.user_id).get(part.within[-1])).under_way
    except tables.RecordNotFound:
        return False
