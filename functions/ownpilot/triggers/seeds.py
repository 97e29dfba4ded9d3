"""The triggers that everyone has from the start, switched off."""

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends

from functions.ownpilot.core.first_use import ORIGIN, give_once
from functions.ownpilot.core.owner import Owner, Person
from functions.ownpilot.core.trigger_store import Trigger, TriggerType, stored_triggers
from shared import tables


def _trigger(name: str, about: str, type_: str, config: Mapping[str, Any], action: str, **payload: Any) -> None:
    SEEDS[name] = {
        "name": name, "description": about, "type": TriggerType(type_), "config": dict(config), "enabled": False,
        "action": {"type": action, "payload": payload},
    }  # fmt: skip


SEEDS: dict[str, dict[str, Any]] = {}

_trigger(
    "Morning briefing", "Every morning at eight: what the day holds", "schedule", {"cron": "0 8 * * *"}, "chat",
    prompt="Give me a short briefing for today: my tasks, my calendar and my active goals.",
)  # fmt: skip
_trigger(
    "Goals at rest", "When an active goal was not changed for three days", "condition",
    {"condition": "stale_goals", "threshold": 3, "checkInterval": 1440}, "goal_check",
)  # fmt: skip
_trigger(
    "Deadlines ahead", "When an active goal is due within a week", "condition",
    {"condition": "upcoming_deadline", "threshold": 7, "checkInterval": 1440}, "notification",
)  # fmt: skip
_trigger(
    "Memories of the week", "On Sunday evening: what was remembered", "schedule", {"cron": "0 18 * * 0"},
    "memory_summary",
)  # fmt: skip
_trigger(
    "Goals that need a push", "When an active goal is below 20 percent", "condition",
    {"condition": "low_progress", "threshold": 20, "checkInterval": 1440}, "notification",
)  # fmt: skip
_trigger("Evening look at the goals", "Every evening at nine", "schedule", {"cron": "0 21 * * *"}, "goal_check")


async def seed(owner: str) -> None:
    """Give a user these triggers, once. The cost of `give_once`; the first time 6 writes at once."""
    await give_once(owner, "triggers", _store_all)


async def _store_all(owner: str) -> None:
    await asyncio.gather(*(_store(owner, values) for values in SEEDS.values()))


async def _store(owner: str, values: dict[str, Any]) -> None:
    """Store one; its id follows from its name, so that of two requests at once each stores the same."""
    id_ = Trigger.derived_id(ORIGIN, f"{owner} {values['name']}")
    record = Trigger(id=id_, created_at=datetime.now(UTC), user_id=owner, **values)
    record.settle()
    with contextlib.suppress(tables.RecordConflict):
        await stored_triggers.of(owner).insert(record)


async def _seeded_owner(owner: Owner) -> Person:
    await seed(owner.id)
    return owner


SeededOwner = Annotated[Person, Depends(_seeded_owner)]
"""Parameter type of whose triggers a list shows: one who was given these."""
