"""The audit log as clients read it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query

from functions.ownpilot.core.audit_log import (
    AuditEvent,
    AuditOutcome,
    Severity,
    Subject,
    end_chain,
    events,
    record_event,
)
from functions.ownpilot.core.entry import Moment, Shown
from functions.ownpilot.core.owner import Owner, routes_for
from shared import tables
from shared.http.errors import InvalidRequest
from shared.http.paging import Paging, SortOrder, given, paging
from shared.http.shapes import EMPTY_IS_ABSENT
from shared.tables import Collection
from shared.tables.page import values_of

routes = routes_for("audit")

MAX_VALUES = 12
"""Values of all filters together: each is a query or, as one of 15 at most, a comparison in a query."""

AT_ONCE = 100
"""Events that are deleted side by side, so that a transaction takes many of them."""


class SubjectShown(Shown):
    """Who did it, or what it was done to."""

    type: str
    id: str
    name: str | None = None


class AuditEventShown(Shown):
    """One event; `metadata` is the same as `details`."""

    id: str
    timestamp: Moment
    type: str
    severity: Severity
    actor: SubjectShown
    resource: SubjectShown
    outcome: AuditOutcome
    details: dict[str, Any]
    metadata: dict[str, Any]
    correlation_id: str | None = None
    checksum: str
    previous_checksum: str


class AuditEvents(Shown):
    """Part of the log; `total` is the number of all events that match."""

    events: list[AuditEventShown]
    count: int
    total: int


class AuditStats(Shown):
    """`last_checksum` is that of the newest event."""

    event_count: int
    last_checksum: str | None


class AuditCleared(Shown):
    """How many events were deleted."""

    deleted: int
    message: str


def shown(event: AuditEvent) -> AuditEventShown:
    """Return an event as clients see it."""
    return AuditEventShown(
        id=event.id, timestamp=event.created_at, type=event.type, severity=event.severity,
        actor=SubjectShown(type=event.actor_type, id=event.actor_id, name=event.actor_name),
        resource=SubjectShown(type=event.resource_type, id=event.resource_id, name=event.resource_name),
        outcome=event.outcome, details=event.details, metadata=event.details, correlation_id=event.correlation_id,
        checksum=event.checksum, previous_checksum=event.previous_checksum,
    )  # fmt: skip


@routes.get("", response_model_exclude_none=True)
async def list_audit_events(
    owner: Owner,
    paging: Annotated[Paging, paging(100)],
    types: Annotated[str | None, Query(description="Types, separated by commas")] = None,
    actor_id: Annotated[str | None, Query(alias="actorId")] = None,
    actor_type: Annotated[str | None, Query(alias="actorType")] = None,
    resource_id: Annotated[str | None, Query(alias="resourceId")] = None,
    resource_type: Annotated[str | None, Query(alias="resourceType")] = None,
    min_severity: Annotated[Severity | None, EMPTY_IS_ABSENT, Query(alias="minSeverity")] = None,
    outcome: Annotated[AuditOutcome | None, EMPTY_IS_ABSENT, Query()] = None,
    since: Annotated[Moment | None, EMPTY_IS_ABSENT, Query(alias="from", description="The earliest time")] = None,
    until: Annotated[
        Moment | None, EMPTY_IS_ABSENT, Query(alias="to", description="The time before which the events were")
    ] = None,
    correlation_id: Annotated[str | None, Query(alias="correlationId")] = None,
    order: SortOrder = "desc",
) -> AuditEvents:
    """The events that match all filters, the newest first.

    With one filter or none, a page costs the same however long the log is. Several filters read the rows of the
    narrowest of them, a thousand a query, and so does the total of a range of time.
    """
    severities = [*Severity]
    where = given(
        correlation_id=correlation_id or None,
        resource_id=resource_id or None,
        actor_id=actor_id or None,
        type=[name.strip() for name in types.split(",") if name.strip()] or None if types else None,
        resource_type=resource_type or None,
        actor_type=actor_type or None,
        outcome=outcome,
        severity=severities[severities.index(min_severity) :] if min_severity not in (None, Severity.DEBUG) else None,
    )
    if sum(map(len, values_of(where).values())) > MAX_VALUES:
        raise InvalidRequest(f"types: the filters can look for {MAX_VALUES} values together; name fewer types")
    page = await events.of(owner.id).page(
        where, between=_range(since, until), limit=paging.limit, offset=paging.offset, order="created_at",
        descending=order == "desc", cursor=paging.cursor,
    )  # fmt: skip
    paging.link(page)
    return AuditEvents(events=[*map(shown, page.items)], count=len(page.items), total=page.total)


def _range(since: datetime | None, until: datetime | None) -> tuple[datetime | None, datetime | None] | None:
    return (since, until) if since or until else None


@routes.get("/stats")
async def get_audit_stats(owner: Owner) -> AuditStats:
    """The number of events, and the checksum of the newest one."""
    page = await events.of(owner.id).page(limit=1)
    return AuditStats(event_count=page.total, last_checksum=page.items[0].checksum if page.items else None)


@routes.delete("")
async def clear_audit_events(owner: Owner, before: Moment | None = None) -> AuditCleared:
    """Delete all events, or those before a time. The deletion is an event itself, the first of a new chain."""
    own, deleted = events.of(owner.id), 0
    if before is None:
        deleted = await own.clear()
    else:
        old: list[str] = []
        async for event in own.all(before=before):
            old.append(event.id)
            if len(old) == AT_ONCE:
                deleted += await _delete(own, old)
                old = []
        deleted += await _delete(own, old)
    end_chain(owner.id)
    details = {"deleted": deleted, **({"before": before.isoformat()} if before else {})}
    await record_event(
        owner.id, "audit.clear", Subject("audit", "log"), severity=Severity.WARN, details=details,
        correlation_id=owner.request_id,
    )  # fmt: skip
    return AuditCleared(deleted=deleted, message=f"{deleted} events deleted")


async def _delete(own: Collection[AuditEvent], ids: Sequence[str]) -> int:
    """Delete these events; return how many that were."""

    async def one(event_id: str) -> bool:
        try:
            await own.delete(event_id)
        except tables.RecordNotFound:  # another request deletes the same
            return False
        return True

    return sum(await asyncio.gather(*map(one, ids)))
