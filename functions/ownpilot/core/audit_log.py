"""The audit log: what was done, by whom and to what, written by all groups through one function."""

import hashlib
from collections import OrderedDict
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, NamedTuple, cast

import orjson

from functions.ownpilot.core.entry import Entry, iso
from functions.ownpilot.core.owner import Person
from shared.tables import Collection

MASK = "[REDACTED]"
MAX_TEXT = 1000
MAX_ITEMS = 10
MAX_DEPTH = 8
_SECRET_NAMES = ("password", "apikey", "secret", "token", "authorization", "credential")
_CHAINS = 10_000


class Severity(StrEnum):
    """How serious an event is, the least serious first."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"
    CRITICAL = "critical"


class AuditOutcome(StrEnum):
    """How it ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"


class Subject(NamedTuple):
    """Who did something, or what it was done to: an agent, a user; a tool, a setting."""

    type: str
    id: str
    name: str | None = None


class AuditEvent(Entry, prefix="evt_"):
    """One event. Its checksum covers the event and the checksum before it, which is empty at the start of a chain."""

    type: str
    severity: Severity
    outcome: AuditOutcome
    actor_type: str
    actor_id: str
    actor_name: str | None = None
    resource_type: str
    resource_id: str
    resource_name: str | None = None
    details: dict[str, Any] = {}
    correlation_id: str | None = None
    checksum: str
    previous_checksum: str


# Several filters: the first of these indexes that the filter names is read. So the narrowest come first.
events = Collection(
    "OwnpilotAudit",
    AuditEvent,
    indexes=["correlation_id", "resource_id", "actor_id", "type", "resource_type", "actor_type", "outcome", "severity"],
    counters=["type", "severity", "outcome"],
    view=[name for name in AuditEvent.model_fields if name != "id"],
)

_chains: OrderedDict[str, tuple[date, str]] = OrderedDict()
"""The day and the last checksum of this process's chain in the log of each user."""


async def record_event(
    owner: str,
    type_: str,
    resource: Subject,
    *,
    actor: Subject | None = None,
    severity: Severity = Severity.INFO,
    outcome: AuditOutcome = AuditOutcome.SUCCESS,
    details: dict[str, Any] | None = None,
    correlation_id: str | None = None,
) -> AuditEvent:
    """Write one event into the log of a user; `actor` is that user, unless someone else is named.

    To be awaited after the write that it tells of. In `details`, values under names of secrets are masked, and long
    texts and lists are cut. One transaction. The chain of checksums is one of this process and day, so no writer waits
    for another one.
    """
    actor = actor or Subject("user", owner)
    event = AuditEvent(
        user_id=owner, type=type_, severity=severity, outcome=outcome, correlation_id=correlation_id,
        actor_type=actor.type, actor_id=actor.id, actor_name=actor.name,
        resource_type=resource.type, resource_id=resource.id, resource_name=resource.name,
        details=cast("dict[str, Any]", redacted(details or {})), checksum="", previous_checksum="",
    )  # fmt: skip
    today = datetime.now(UTC).date()
    day, previous = _chains.get(owner, (today, ""))
    event.previous_checksum = previous if day == today else ""
    event.checksum = checksum_of(event)
    _chains[owner] = today, event.checksum
    _chains.move_to_end(owner)
    if len(_chains) > _CHAINS:
        _chains.popitem(last=False)
    try:
        return await events.of(owner).insert(event)
    except BaseException:
        end_chain(owner)  # the event may be missing: those after it begin a chain of their own
        raise


async def record_change(owner: Person, kind: str, id_: str, action: str) -> None:
    """Write down that a person has changed what is configured: a setting, a provider."""
    await record_event(
        owner.id, "config.change", Subject(kind, id_), details={"action": action}, correlation_id=owner.request_id
    )


def checksum_of(event: AuditEvent) -> str:
    """Return the SHA-256 in hex of an event and the checksum before it."""
    covered = {
        name: getattr(event, name) for name in AuditEvent.model_fields if name not in ("checksum", "updated_at")
    } | {"created_at": iso(event.created_at)}
    return hashlib.sha256(orjson.dumps(covered, option=orjson.OPT_SORT_KEYS)).hexdigest()


def end_chain(owner: str) -> None:
    """Let the next event of a user begin a new chain."""
    _chains.pop(owner, None)


def redacted(value: Any, depth: int = 0) -> Any:
    """Return a JSON value without secrets, and with long texts and lists cut."""
    match value:
        case str():
            return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}..."
        case dict() | list() if depth >= MAX_DEPTH:
            return "..."
        case dict():
            members = cast("dict[str, Any]", value)
            return {key: MASK if _is_secret(key) else redacted(each, depth + 1) for key, each in members.items()}
        case list():
            items = cast("list[Any]", value)
            cut = [redacted(each, depth + 1) for each in items[:MAX_ITEMS]]
            return [*cut, f"... {len(items) - MAX_ITEMS} more"] if len(items) > MAX_ITEMS else cut
        case _:
            return value


def _is_secret(name: str) -> bool:
    plain = name.lower().replace("_", "").replace("-", "")
    return any(word in plain for word in _SECRET_NAMES)
