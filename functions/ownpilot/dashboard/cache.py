"""The briefing that a model wrote last for a person, until what it tells of has changed."""

from datetime import UTC, datetime, timedelta
from typing import Any

from functions.ownpilot.core.entry import Entry, Moment
from shared import tables
from shared.tables.plain import PlainCollection

KEPT = timedelta(minutes=30)
_ORIGIN = datetime(2020, 1, 1, tzinfo=UTC)


class StoredBriefing(Entry):
    """A briefing as it is answered; `version` is that of the data and of the model that was asked for."""

    version: str
    briefing: dict[str, Any]
    expires_at: Moment


_briefings = PlainCollection("OwnpilotBriefings", StoredBriefing, plain=True)


def _id_of(owner: str) -> str:
    return StoredBriefing.derived_id(_ORIGIN, owner)


async def cached(owner: str, version: str) -> dict[str, Any] | None:
    """Return the briefing of this version, None when there is none or it is too old. 1 point read."""
    try:
        found = await _briefings.of(owner).get(_id_of(owner))
    except tables.RecordNotFound:
        return None
    return found.briefing if found.version == version and datetime.now(UTC) < found.expires_at else None


async def keep(owner: str, version: str, briefing: dict[str, Any], expires_at: datetime) -> None:
    """Keep a briefing in place of the one before. 1 transaction."""
    record = StoredBriefing(
        id=_id_of(owner), created_at=_ORIGIN, updated_at=datetime.now(UTC), user_id=owner, version=version,
        briefing=briefing, expires_at=expires_at,
    )  # fmt: skip
    await _briefings.of(owner).store([record])


async def forget(owner: str) -> bool:
    """Delete the briefing that is kept; return whether there was one. 1 or 2 calls."""
    try:
        await _briefings.of(owner).delete(_id_of(owner))
    except tables.RecordNotFound:
        return False
    return True
