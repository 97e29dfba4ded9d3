"""What fires triggers at their times: a look each minute at what is due, and an hourly one at what is noted."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from functions.ownpilot.core.trigger_rules import interval_of
from functions.ownpilot.core.trigger_store import (
    DueTime,
    Trigger,
    TriggerType,
    due_times,
    note_all_due,
    note_due,
    stored_triggers,
)
from functions.ownpilot.triggers.conditions import judge
from functions.ownpilot.triggers.firing import skip, start, still_fires
from shared import tables
from shared.faults import Sweep
from shared.workflows import WorkflowClient

AT_ONCE = 16
TURN = 50.0
"""Seconds after which the rest is left to the next minute: other timers' work waits for this one's."""

PATIENCE = 20.0
"""Seconds for one trigger: the look at it that is given up is repeated in the next minute."""

NEW = timedelta(minutes=10)
"""For how long the note of a trigger that does not exist is kept."""


class _Moved(Exception):
    """The trigger is no longer due at the time that was noted."""


async def fire_due_triggers(workflows: WorkflowClient) -> str | None:
    """Every minute: fire the triggers that are due. 1 call when none is, however many there are."""
    return await fire_due(workflows, datetime.now(UTC))


async def fire_due(workflows: WorkflowClient, now: datetime) -> str | None:
    """Fire the triggers that are due at this moment. A failure with one does not stop the others."""
    waiting: defaultdict[str, list[DueTime]] = defaultdict(list)
    async for due in due_times.all(order="at", between=(None, now + timedelta(milliseconds=1))):
        waiting[due.trigger_id].append(due)
    if not waiting:
        return None
    end, turns = time.monotonic() + TURN, asyncio.Semaphore(AT_ONCE)
    async with Sweep("firing triggers") as sweep:

        async def look(found: Sequence[DueTime]) -> int:
            fired = 0
            async with turns:
                for due in sorted(found, key=lambda each: each.at) if time.monotonic() < end else ():
                    done = None
                    with sweep.item(f"trigger {due.trigger_id}"):
                        async with asyncio.timeout(PATIENCE):
                            done = await _handle(workflows, due, now)
                    if done is None:  # a trigger remembers only the last due time that was claimed: none after this one
                        break
                    fired += done
            return fired

        counts = await asyncio.gather(*map(look, waiting.values()))
    return f"fired {sum(counts)} of {len(waiting)} triggers that were looked at"


async def _handle(workflows: WorkflowClient, due: DueTime, now: datetime) -> bool | None:
    """Fire the trigger if it is due; return whether it was fired, None when that is for another one to say.

    Moving the trigger's `next_fire` on is the write that decides: of several instances, one succeeds. The note goes
    last, so that a crash leaves it.
    """
    try:
        trigger = await stored_triggers.of(due.user_id).get(due.trigger_id)
    except tables.RecordNotFound:  # deleted, or not stored yet: a new one is noted first
        if due.at + NEW < now:
            await _forget(due)
        return False
    before = trigger.claimed
    if trigger.next_fire == due.at:
        try:
            trigger = await _move_on(trigger, due.at, now)
        except (_Moved, tables.RecordNotFound):  # another instance has claimed it, or a request has changed it
            return None
    elif trigger.claimed != due.at:  # the note is of a change, which may have been interrupted before it noted more
        await note_due(due.user_id, trigger.id, trigger.next_fire)
    fires = trigger.claimed == due.at  # if it was claimed before, its workflow may be missing: a crash came between
    if fires:
        occasion = _occasion(trigger, due.at)
        if before and before < due.at and await still_fires(workflows, _occasion(trigger, before)):
            await skip(due.user_id, trigger, occasion)
        else:
            await start(workflows, {"user": due.user_id, "trigger": trigger.id, "occasion": occasion})
    await _forget(due)
    return fires


def _occasion(trigger: Trigger, at: datetime) -> str:
    return f"{trigger.id} {at:%Y%m%dT%H%M%SZ}"


async def _move_on(trigger: Trigger, at: datetime, now: datetime) -> Trigger:
    """Set the next due time, behind `now`, whatever was missed meanwhile; claim this one unless its condition fails.

    `_Moved` when the trigger is no longer due at that time, or was changed.
    """
    moment, claimed, enabled = max(at, now), True, True
    try:
        following = trigger.due_after(moment)
    except ValueError:  # a time zone that no longer exists
        following, enabled = None, False
    if trigger.type is TriggerType.CONDITION and following is not None:
        resting = interval_of(trigger.config)
        rests = trigger.last_fired is not None and moment < trigger.last_fired + resting
        claimed = not rests and bool(await judge(trigger.user_id, trigger.config))
        if claimed:
            following = max(following, moment.replace(second=0, microsecond=0) + resting)
    await note_due(trigger.user_id, trigger.id, following)

    def move(stored: Trigger) -> None:
        if (stored.next_fire, stored.planned) != (at, trigger.planned):
            raise _Moved
        stored.next_fire, stored.enabled = following, enabled
        stored.claimed = at if claimed else stored.claimed

    return await stored_triggers.of(trigger.user_id).update(trigger, move, touch=False)


async def _forget(due: DueTime) -> None:
    with contextlib.suppress(tables.RecordNotFound):
        await due_times.delete(due.id)


async def repair_due_times(workflows: WorkflowClient) -> str:
    """Every hour: note the due times that are missing, of all users who have some."""
    noted: defaultdict[str, set[tuple[str, datetime | None]]] = defaultdict(set)
    async for due in due_times.all(order="at"):
        noted[due.user_id].add((due.trigger_id, due.at))
    turns = asyncio.Semaphore(AT_ONCE)
    async with Sweep("repairing due times") as sweep:

        async def repair(owner: str, known: set[tuple[str, datetime | None]]) -> int:
            async with turns:
                with sweep.item("due times of a user"):
                    return await note_all_due(owner, known)
            return 0

        missing = await asyncio.gather(*(repair(*each) for each in noted.items()))
    return f"noted {sum(missing)} due times that were missing, for {len(noted)} users"
