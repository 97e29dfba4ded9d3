"""A firing: the action of a trigger, one line in its history, and the workflow that sees to both."""

import asyncio
import contextlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.durable_functions as df
import orjson

from functions.ownpilot.core.happenings import shortened
from functions.ownpilot.core.trigger_rules import is_polled
from functions.ownpilot.core.trigger_store import (
    Firing,
    FiringStatus,
    Trigger,
    TriggerType,
    firings,
    stored_triggers,
)
from functions.ownpilot.triggers.actions import Outcome, act
from functions.ownpilot.triggers.conditions import judge
from shared import tables
from shared.workflows import ACTIVE, WorkflowClient

bp = df.Blueprint()

WORKFLOW = "ownpilot_firing"
RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=10_000, max_number_of_attempts=60)
"""While storage does not answer: ten minutes."""

MAX_TEXT = 10_000
"""Characters of a text in the history."""

AT_ONCE = 4
"""Firings of one user that an instance works on at once: their places are shared with the work of all others."""

PAUSE = timedelta(seconds=10)
"""After which a firing that has found no place looks again."""

COUNTED = [FiringStatus.SUCCESS, FiringStatus.FAILURE]
OFF = "The trigger was switched off before its action began"
BUSY = "The firing before this one had not ended"

_running: Counter[str] = Counter()
"""The firings that this instance works on, by user."""


async def start(workflows: WorkflowClient, order: dict[str, Any]) -> None:
    """Start a firing. A repeat with the same order starts no other one.

    The order is `{"user", "trigger", "occasion"}`; `event` is what has happened, `by_hand` that a person wants it. The
    occasion is made of the trigger's id, and the due time or the event.
    """
    await workflows.start(WORKFLOW, _instance_of(order["occasion"]), order)


async def still_fires(workflows: WorkflowClient, occasion: str) -> bool:
    """Whether a firing that was started has not ended. 1 call to the Functions host."""
    return await workflows.status(_instance_of(occasion)) in ACTIVE


def _instance_of(occasion: str) -> str:
    return f"ownpilot-firing-{occasion.replace(' ', '-')}"


async def start_firing(order: dict[str, Any], workflows: WorkflowClient) -> None:
    """Deferred: start a firing that an event has caused, or a tool."""
    await start(workflows, order)


@bp.orchestration_trigger(context_name="context")
def ownpilot_firing(ctx: df.DurableOrchestrationContext):
    """Fire a trigger, as soon as its user has a place for it; the input is that of `start`."""
    order = ctx.get_input()
    had_place = yield ctx.call_activity_with_retry("ownpilot_fire", RETRY, order)
    if had_place is False:
        yield ctx.create_timer(ctx.current_utc_datetime + PAUSE)
        ctx.continue_as_new(order)


@bp.activity_trigger(input_name="order")
async def ownpilot_fire(order: dict) -> bool:
    """Do a firing, and return True; False when the instance works on `AT_ONCE` of the user's."""
    owner = order["user"]
    if _running[owner] >= AT_ONCE:
        return False
    _running[owner] += 1
    try:
        await _fire_once(owner, order)
    finally:
        _running[owner] -= 1
        if not _running[owner]:
            del _running[owner]
    return True


async def _fire_once(owner: str, order: dict[str, Any]) -> None:
    """Carry out the action of a firing, unless the history has its line; write that line and count it.

    When the host dies in between, the action is carried out again; the history has one line all the same.
    """
    occasion = order["occasion"]
    try:
        trigger = await stored_triggers.of(owner).get(order["trigger"])
    except tables.RecordNotFound:  # deleted meanwhile
        return
    try:
        done = await firings.of(owner).find("occasion", occasion)
    except tables.RecordNotFound:
        why = await _why(owner, trigger, order.get("event"))
        await fire(owner, trigger, why=why, occasion=occasion, by_hand=order.get("by_hand", False))
    else:
        await _count(owner, done)


async def _why(owner: str, trigger: Trigger, event: dict[str, Any] | None) -> str:
    if event is not None:
        return orjson.dumps(event).decode()
    if trigger.type is TriggerType.CONDITION and is_polled(trigger.config):
        return await judge(owner, trigger.config)
    return ""


async def fire_now(owner: str, trigger: Trigger, depth: int = 0) -> Firing:
    """Fire a trigger by hand, also one that is switched off; the history is written when the caller has left, too."""
    return await asyncio.shield(asyncio.ensure_future(fire(owner, trigger, by_hand=True, depth=depth)))


async def fire(
    owner: str, trigger: Trigger, *, why: str = "", occasion: str | None = None, by_hand: bool = False, depth: int = 0
) -> Firing:
    """Carry out a trigger's action, then write and count its line in the history, which is returned.

    A trigger that is switched off is fired `by_hand` only. An `occasion` has one line, however often it is fired.
    """
    begun = datetime.now(UTC)
    if not by_hand and not trigger.enabled:
        outcome, status = Outcome(OFF), FiringStatus.SKIPPED
    else:
        outcome = await act(owner, trigger, why, depth)
        status = FiringStatus.FAILURE if outcome.failed else FiringStatus.SUCCESS
    message = shortened(outcome.message, MAX_TEXT)
    line = Firing(
        user_id=owner, trigger_id=trigger.id, trigger_name=trigger.name, fired_at=begun, status=status,
        result=None if outcome.failed else {"message": message, "data": shortened(outcome.data, MAX_TEXT)},
        error=message if outcome.failed else None, occasion=occasion,
        duration_ms=round((datetime.now(UTC) - begun).total_seconds() * 1000),
    )  # fmt: skip
    try:
        line = await firings.of(owner).insert(line)
    except tables.RecordConflict:  # the same firing has run twice at once
        line = await firings.of(owner).find("occasion", occasion or "")
    await _count(owner, line)
    return line


async def skip(owner: str, trigger: Trigger, occasion: str) -> None:
    """Write the line of a firing that is left out, as the one before it has not ended."""
    line = Firing(
        user_id=owner, trigger_id=trigger.id, trigger_name=trigger.name, fired_at=datetime.now(UTC),
        status=FiringStatus.SKIPPED, result={"message": BUSY, "data": None}, occasion=occasion,
    )  # fmt: skip
    with contextlib.suppress(tables.RecordConflict):
        await firings.of(owner).insert(line)


async def _count(owner: str, line: Firing) -> None:
    """Bring the trigger's figures up to its history, from which they can be counted again whenever this is repeated."""
    if line.status is FiringStatus.SKIPPED:
        return
    count = await firings.of(owner).count({"trigger_id": line.trigger_id, "status": COUNTED})

    def note(trigger: Trigger) -> None:
        trigger.fire_count = max(trigger.fire_count, count)
        trigger.last_fired = max(trigger.last_fired or line.fired_at, line.fired_at)

    try:
        await stored_triggers.of(owner).update(line.trigger_id, note, touch=False)
    except tables.RecordNotFound:  # deleted meanwhile, and its history with it
        await firings.of(owner).clear({"trigger_id": line.trigger_id})
