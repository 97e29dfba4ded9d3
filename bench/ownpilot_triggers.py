"""OwnPilot's triggers: what the timer of each minute costs among many of them, and each that is due."""

import asyncio
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.figures import Figure, times
from bench.growth import Timed, measured
from bench.services import Client, running
from functions.ownpilot.core.trigger_store import Trigger, TriggerType, note_due, stored_triggers
from functions.ownpilot.triggers.timers import fire_due
from shared.workflows import WorkflowClient
from tests.support.environments import connected

OWNER, TRIGGERS, DUE_AT_ONCE = "bench", 10_000, 50
BASE = "/ownpilot/api/v1/triggers"
ROUNDS, GOAL = 10, 5000


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


async def on_the_host() -> list[Figure]:
    """Measure on the local host from the run of the timer to the line in the history."""
    async with running() as own, connected(**own.environment.app_settings):
        await _fired(own)
        taken = [await _fired(own) for _ in range(ROUNDS)]
    return times("a trigger that is due, from the timer to its history", taken, at_most=GOAL)


async def _fired(own: Client) -> float:
    """The seconds until a new trigger, which is due, has fired."""
    url, user, at = f"{own.environment.url}{BASE}", str(uuid.uuid4()), datetime.now(UTC).replace(microsecond=0)
    body = {
        "name": "t", "type": "schedule", "config": {"cron": "0 0 29 2 *"}, "action": {"type": "notification"},
    }  # fmt: skip
    async with own.http.post(url, json=body, params={"userId": user}) as made:
        trigger = (await made.json())["data"]["trigger"]["id"]
    await note_due(user, trigger, at)
    await stored_triggers.of(user).update(trigger, lambda it: setattr(it, "next_fire", at))
    start = time.perf_counter()
    async with own.http.post(f"{own.environment.url}/admin/functions/maintenance_minute", json={}) as answer:
        answer.raise_for_status()
    while True:
        async with own.http.get(f"{url}/{trigger}/history", params={"userId": user}) as answer:
            if (await answer.json())["data"]["count"]:
                return time.perf_counter() - start
        await asyncio.sleep(0.02)
