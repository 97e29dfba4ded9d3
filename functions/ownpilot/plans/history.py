"""What has happened to a plan."""

import contextlib
from datetime import datetime
from typing import Annotated, Any

from functions.ownpilot.core.entry import Moment, Shown
from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.plans.records import EventType, Plan, PlanEvent, events, plans
from shared import tables
from shared.http.paging import Paging, paging

KEPT = 1000
"""Events of a plan that are kept, when a run begins."""

RECENT = 10
"""Events that are shown with the plan."""

routes = routes_for("plans")


class EventShown(Shown):
    """Something that has happened to a plan, or to one of its steps."""

    id: str
    plan_id: str
    step_id: str | None
    event_type: str
    details: dict[str, Any]
    created_at: Moment


class PlanHistory(Shown):
    """Part of what has happened, the newest first: `count` events of `total`."""

    plan_id: str
    history: list[EventShown]
    count: int
    total: int


async def note(
    plan: Plan, type_: EventType, at: datetime, *, of: str = "", step_id: str | None = None, **details: Any
) -> None:
    """Write an event down. A repeat with the same moment and `of`, which tells events of a type apart, changes nothing.

    1 write.
    """
    event = PlanEvent(
        id=PlanEvent.derived_id(at, f"{type_} {step_id} {of}"), created_at=at, plan_id=plan.id, step_id=step_id,
        event_type=type_, details={name: value for name, value in details.items() if value is not None},
    )  # fmt: skip
    await events.of(plan.id).insert(event)


async def recent_events(plan_id: str) -> list[PlanEvent]:
    """Return the newest events of a plan. 1 query."""
    found: list[PlanEvent] = []
    async for event in events.of(plan_id).all():
        found.append(event)
        if len(found) == RECENT:
            break
    return found


async def forget_old_events(plan_id: str) -> None:
    """Delete the oldest events of a plan that has more than `KEPT`. 1 query for each 1,000."""
    own = events.of(plan_id)
    number = 0
    async for event in own.all():
        number += 1
        if number > KEPT:
            with contextlib.suppress(tables.RecordNotFound):
                await own.delete(event.id)


@routes.get("/{plan_id}/history")
async def list_plan_history(plan_id: str, owner: Owner, paging: Annotated[Paging, paging(50)]) -> PlanHistory:
    """What has happened to a plan, the newest first."""
    await plans.of(owner.id).get(plan_id)
    page = await events.of(plan_id).page(limit=paging.limit, offset=paging.offset, cursor=paging.cursor)
    paging.link(page)
    shown = [EventShown.model_validate(event) for event in page.items]
    return PlanHistory(plan_id=plan_id, history=shown, count=len(shown), total=page.total)
