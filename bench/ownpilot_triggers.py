"""OwnPilot's triggers: what the timer of each minute costs among many of them, and each that is due."""

from datetime import UTC, datetime, timedelta
from typing import Any

from bench.figures import Figure
from bench.growth import Timed, measured
from functions.ownpilot.core.trigger_store import Trigger, TriggerType, note_due, stored_triggers
from functions.ownpilot.triggers.timers import fire_due
from shared.workflows import WorkflowClient

OWNER, TRIGGERS, DUE_AT_ONCE = "bench", 10_000, 50


class _Started(WorkflowClient):
    """Starts nothing: the Functions host's part is not measured here."""

    def __init__(self) -> None:
        pass

    async def start(self, name: str, instance_id: str, value: Any = None) -> None:
        pass


async def figures(timed: Timed) -> list[Figure]:
    """Measure the timer with nothing due among many triggers, and with some that are due at once."""
    own, started = stored_triggers.of(OWNER), _Started()
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    for number in range(TRIGGERS):
        await note_due(OWNER, Trigger.new_id(), now + timedelta(days=1, minutes=number))
    made: list[Trigger] = []
    for number in range(DUE_AT_ONCE):
        trigger = Trigger(
            user_id=OWNER, name=f"t{number}", type=TriggerType.SCHEDULE, config={"cron": "* * * * *"},
            action={"type": "goal_check"},
        )  # fmt: skip
        trigger.settle()
        await note_due(OWNER, trigger.id, trigger.next_fire)
        made.append(await own.insert(trigger))
    clock = max(each.next_fire or now for each in made)

    async def next_minute() -> None:
        nonlocal clock
        await fire_due(started, clock)
        clock += timedelta(minutes=1)

    idle = await measured(
        f"timer of triggers with {TRIGGERS:,} of them, none due", lambda: fire_due(started, now - timedelta(1)), timed
    )
    due = await measured(f"timer of triggers: {DUE_AT_ONCE} due at once", next_minute, timed)
    for figure in (*idle, *due):
        most = {"calls": 1, "ms": 5} if figure in idle else {"calls": 1 + 4 * DUE_AT_ONCE, "ms": None}
        figure.at_most = most.get(figure.unit)
    return [*idle, *due]
