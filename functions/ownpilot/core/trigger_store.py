"""Triggers as they are kept, when they are due, and the history of what they did."""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from functions.ownpilot.core.cron import next_due, zone_of
from functions.ownpilot.core.entry import Entry, Moment, NotBlank, days
from functions.ownpilot.core.trigger_rules import CHECKED_EVERY, check_action, check_config, interval_of, is_polled
from shared import sealing, tables
from shared.http.bodies import example
from shared.http.errors import InvalidRequest
from shared.sealing import Context
from shared.tables import Collection, Record

MASKED = "********"
RECENT = 10
"""Entries of the history that are shown beside a trigger."""


class TriggerType(StrEnum):
    """What fires a trigger."""

    SCHEDULE = "schedule"
    EVENT = "event"
    CONDITION = "condition"
    WEBHOOK = "webhook"


class Trigger(Entry, prefix="trigger_"):
    """What is done when something happens. `next_fire` is when it is due next, or looked at next.

    `planned` is a hash of what `next_fire` was worked out from, and `claimed` the due time that was taken last. The
    secret of a webhook is sealed; `config` shows a mask in its place.
    """

    model_config = example(
        name="Daily standup", type="schedule", config={"cron": "0 9 * * 1-5", "timezone": "Europe/Berlin"},
        action={"type": "chat", "payload": {"prompt": "Ask me about my goals for today."}},
    )  # fmt: skip

    name: NotBlank
    description: Annotated[str | None, Field(max_length=2000)] = None
    type: TriggerType
    config: dict[str, Any]
    action: dict[str, Any]
    enabled: bool = True
    priority: Annotated[int, Field(ge=1, le=10)] = 5
    last_fired: Moment | None = None
    next_fire: Moment | None = None
    fire_count: int = 0
    sealed_secret: Annotated[str | None, Field(exclude=True)] = None
    planned: Annotated[str, Field(exclude=True)] = ""
    claimed: Annotated[Moment | None, Field(exclude=True)] = None

    def settle(self) -> None:
        """Check what the trigger is made of, seal its secret, and work out when it is due. `BadRequest`."""
        self.config = check_config(self.type, self.config)
        self.action = check_action(self.action)
        self._seal()
        known = json.dumps([self.type, self.enabled, self.config], sort_keys=True)
        planned = hashlib.sha256(known.encode()).hexdigest()
        if planned != self.planned:  # else a change of the name would pass over a due time of this minute
            self.planned, self.next_fire = planned, self.due_after(datetime.now(UTC))

    def due_after(self, moment: datetime) -> datetime | None:
        """Return when it is due next, None when no clock fires it. `InvalidCron`, `UnknownZone`."""
        if not self.enabled:
            return None
        if self.type is TriggerType.SCHEDULE:
            return next_due(self.config["cron"], zone_of(self.config.get("timezone")), moment)
        if self.type is TriggerType.CONDITION and is_polled(self.config):
            looked_at = _minute(moment) + CHECKED_EVERY
            return max(looked_at, _minute(self.last_fired) + interval_of(self.config)) if self.last_fired else looked_at
        return None

    @property
    def secret(self) -> str | None:
        """The secret of a webhook. `SealBroken`."""
        return None if self.sealed_secret is None else sealing.unseal(self.sealed_secret, self._context)

    @property
    def _context(self) -> Context:
        return Context(stored_triggers.table, self.id, "sealed_secret")

    def _seal(self) -> None:
        """Seal the secret of a webhook; what another type calls a secret is dropped."""
        given = self.config.get("secret")
        self.config = {name: value for name, value in self.config.items() if name != "secret"}
        if not given or self.type is not TriggerType.WEBHOOK:
            self.sealed_secret = None
            return
        if given != MASKED:
            self.sealed_secret = sealing.seal(given, self._context)
        elif self.sealed_secret is None:
            raise InvalidRequest("config.secret: must be a secret, not its mask")
        self.config["secret"] = MASKED


class FiringStatus(StrEnum):
    """What came of a firing; `skipped`: the trigger was switched off before, or the firing before it had not ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    SKIPPED = "skipped"


class Firing(Entry, prefix="hist_"):
    """One line of the history. `occasion` names the due time or the event, which has one line; None: by hand."""

    trigger_id: str
    trigger_name: str
    fired_at: Moment
    status: FiringStatus
    result: Any = None
    error: str | None = None
    duration_ms: int = 0
    occasion: Annotated[str | None, Field(exclude=True)] = None


class DueTime(Record):
    """A note to look at a trigger at this moment: it is due then, or was just changed."""

    user_id: str
    trigger_id: str
    at: datetime


stored_triggers = Collection("OwnpilotTriggers", Trigger, plain=True)
firings = Collection(
    "OwnpilotFirings",
    Firing,
    unique=["occasion"],
    indexes=["trigger_id", ("trigger_id", "status")],
    counters=["trigger_id", "status", ("trigger_id", "status")],
    view=[name for name in Firing.model_fields if name != "id"],
)
# One partition for all users: a timer finds what is due by one range, whoever the triggers belong to.
due_times = Collection("OwnpilotDue", DueTime, indexes=["trigger_id"], orders=["at"])
sealing.declare(stored_triggers, "sealed_secret")


async def note_due(owner: str, trigger_id: str, at: datetime | None) -> None:
    """Note that a trigger is due, unless it is noted already. 1 transaction; nothing for None."""
    if at is None:
        return
    note = DueTime(id=DueTime.derived_id(at, trigger_id), user_id=owner, trigger_id=trigger_id, at=at)
    with contextlib.suppress(tables.RecordConflict):
        await due_times.insert(note)


async def note_all_due(owner: str, known: Set[tuple[str, datetime | None]] = frozenset()) -> int:
    """Note the due times of all triggers of a user but the `known` ones, after an import; return how many those are.

    1 query, and 1 write for each.
    """
    found = [(each.id, each.next_fire) async for each in stored_triggers.of(owner).all()]
    missing = [each for each in found if each[1] is not None and each not in known]
    for trigger_id, at in missing:
        await note_due(owner, trigger_id, at)
    return len(missing)


async def history_of(owner: str, trigger_id: str, limit: int = RECENT) -> Sequence[Firing]:
    """Return the newest entries of a trigger's history. 1 query."""
    return (await firings.of(owner).page({"trigger_id": trigger_id}, limit=limit, total=False)).items


@dataclass(frozen=True)
class TriggerOverview:
    """A user's triggers at a glance: `today` are those that are due before the end of the day, the next one first."""

    total: int
    enabled: int
    today: Sequence[Trigger]
    recent: Sequence[Firing]


async def overview_of(owner: str) -> TriggerOverview:
    """Return a user's triggers at a glance. 1 query for each 1,000 triggers and 1 of the history, side by side."""

    async def read() -> list[Trigger]:
        return [each async for each in stored_triggers.of(owner).all()]

    found, recent = await asyncio.gather(read(), firings.of(owner).page(limit=RECENT, total=False))
    _, midnight = days()
    scheduled = [(each.next_fire, each) for each in found if each.type is TriggerType.SCHEDULE and each.next_fire]
    today = [each for at, each in sorted(scheduled, key=lambda pair: pair[0]) if at < midnight]
    return TriggerOverview(len(found), sum(each.enabled for each in found), today, recent.items)


async def note_change(owner: str, trigger_id: str) -> None:
    """Note that a trigger is to be looked at in a minute: what a change leaves undone that is interrupted is done then.

    To be called before the change. 1 transaction.
    """
    await note_due(owner, trigger_id, datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=1))


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
