"""Alerts: failed runs and faults of the platform."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query

from functions.gateway.records import Alert, AlertType
from functions.gateway.store import alerts
from shared import tables
from shared.api_keys import CurrentClient
from shared.http.bodies import Done, ResponseBody
from shared.http.paging import Paging, given, paging
from shared.http.routes import router

routes = router("/api/alerts", "alerts")

WIDTH = 50
"""Writes at a time: concurrent writes share transactions."""

Flag = Annotated[Literal["true", "false"] | None, Query()]
"""A query parameter that is `true` or `false`; any other value gets 400."""


class AlertDetail(ResponseBody):
    """An alert."""

    id: str
    type: AlertType
    message: str
    run_id: str | None
    client_id: str | None
    created_at: datetime
    read: bool
    metadata: dict[str, Any]


class AlertList(ResponseBody):
    """A page of alerts; `total` counts all that match, `unread_count` those of them that are unread."""

    alerts: list[AlertDetail]
    total: int
    unread_count: int


class AlertRead(ResponseBody):
    """Whether an alert was read."""

    id: str
    read: bool


class Marked(ResponseBody):
    """How many alerts were marked as read."""

    marked_count: int


class Cleared(ResponseBody):
    """How many alerts were deleted."""

    deleted_count: int


def _flag(value: str | None) -> bool | None:
    return None if value is None else value == "true"


@routes.get("")
async def list_alerts(
    client: CurrentClient,
    paging: Annotated[Paging, paging(100, orders=("created_at", "type"))],
    type: AlertType | None = None,
    unread: Flag = None,
    run_id: str | None = None,
    client_id: str | None = None,
) -> AlertList:
    """All alerts, or those of a type, a run or a client; newest first. `unread=true` leaves out read alerts."""
    where = given(type=type, run_id=run_id, client_id=client_id)
    unread_where = {**where, "read": False}
    if unread == "true":
        where = unread_where
    if run_id is not None:
        return await _list_of_run(where, paging)
    page = await paging.page(alerts, where)
    unread_count = page.total if where == unread_where else await alerts.count(unread_where)
    return _list(page.items, page.total, unread_count)


async def _list_of_run(where: dict[str, Any], paging: Paging) -> AlertList:
    """List the alerts of one run. They are few: filtering and sorting them here is cheaper than more indexes."""
    wanted = {name: value for name, value in where.items() if name not in ("run_id", "read")}
    found = [
        alert
        async for alert in alerts.all({"run_id": where["run_id"]})
        if all(getattr(alert, name) == value for name, value in wanted.items())
    ]
    unread = [alert for alert in found if not alert.read]
    shown = unread if "read" in where else found
    if paging.order == "type":
        shown.sort(key=lambda alert: alert.type, reverse=paging.descending)
    elif not paging.descending:
        shown.reverse()
    return _list(shown[paging.offset : paging.offset + paging.limit], len(shown), len(unread))


def _list(items: list[Alert], total: int, unread: int) -> AlertList:
    return AlertList(alerts=[AlertDetail.model_validate(a) for a in items], total=total, unread_count=unread)


@routes.delete("/clear")
async def clear_alerts(
    client: CurrentClient, type: AlertType | None = None, read: Flag = None, run_id: str | None = None
) -> Cleared:
    """Delete the alerts of all clients; `type`, `run_id` and `read` restrict which ones."""
    where, wanted = given(type=type), _flag(read)
    if run_id is None:
        where |= given(read=wanted)
    found = [
        alert
        async for alert in alerts.all({"run_id": run_id} if run_id is not None else where)
        if type in (None, alert.type) and wanted in (None, alert.read)
    ]
    return Cleared(deleted_count=await _for_each(found, alerts.delete))


@routes.post("/mark-all-read")
async def mark_all_read(client: CurrentClient, run_id: str | None = None) -> Marked:
    """Mark the caller's alerts as read, or those of one of its runs."""
    where = {"client_id": client.id, "read": False} if run_id is None else {"run_id": run_id}
    found = [alert async for alert in alerts.all(where) if not alert.read and alert.client_id == client.id]
    return Marked(marked_count=await _for_each(found, lambda alert_id: alerts.update(alert_id, _set_read)))


async def _for_each(found: list[Alert], act: Callable[[str], Awaitable[object]]) -> int:
    """Call `act` with each alert, `WIDTH` at a time; return how many alerts still existed."""

    async def one(alert_id: str) -> int:
        try:
            await act(alert_id)
        except tables.RecordNotFound:
            return 0
        return 1

    count = 0
    for start in range(0, len(found), WIDTH):
        count += sum(await asyncio.gather(*(one(alert.id) for alert in found[start : start + WIDTH])))
    return count


def _set_read(alert: Alert) -> None:
    alert.read = True


@routes.get("/{alert_id}", response_model=AlertDetail)
async def get_alert(alert_id: str, client: CurrentClient) -> Alert:
    """One alert."""
    return await alerts.get(alert_id)


@routes.post("/{alert_id}/read", response_model=AlertRead)
async def mark_read(alert_id: str, client: CurrentClient) -> Alert:
    """Mark an alert as read."""
    return await alerts.update(alert_id, _set_read)


@routes.delete("/{alert_id}")
async def delete_alert(alert_id: str, client: CurrentClient) -> Done:
    """Delete an alert."""
    await alerts.delete(alert_id)
    return Done(message="Alert deleted")
