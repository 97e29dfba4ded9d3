"""The records of the tables that a person defines. Those of all tables of a person lie in one partition."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from functions.ownpilot.core.custom_tables import CustomTable, custom_tables, table_of
from functions.ownpilot.core.database_operations import is_overtaken
from functions.ownpilot.core.entry import Entry
from shared import tables
from shared.deferred import defer
from shared.tables import Collection, Page
from shared.tables.page import Place

TURN = 300
"""Seconds after which the deletion of records is continued in another call: no Function runs longer than 600."""

_READ = 999
"""Records of a query: a list without its total reads one row more, and a response has 1,000."""


class CustomRecord(Entry, prefix="rec_"):
    """A record; `data` holds the values of the columns that have one."""

    table_id: str
    data: dict[str, Any]


custom_records = Collection(
    "OwnpilotRows", CustomRecord, indexes=["table_id"], counters=["table_id"],
    view=["table_id", "data", "created_at", "updated_at"],
)  # fmt: skip


async def add_record(owner: str, table: CustomTable, data: Mapping[str, Any]) -> CustomRecord:
    """Store a new record of a table. `BadRequest` as in `CustomTable.data`. 1 call."""
    record = CustomRecord(user_id=owner, table_id=table.id, data=table.data(data))
    return await custom_records.of(owner).insert(record)


async def record_of(owner: str, record_id: str, table: str | None = None) -> tuple[CustomTable, CustomRecord]:
    """Return a record and its table. `RecordNotFound`, also for a record of another table than the named one."""
    own = custom_records.of(owner)
    if table is None:
        record = await own.get(record_id)
        return await custom_tables.of(owner).get(record.table_id), record
    found, record = await asyncio.gather(table_of(owner, table), own.get(record_id))
    if record.table_id != found.id:
        raise tables.RecordNotFound(CustomRecord.__name__, record_id)
    return found, record


async def change_record(
    owner: str,
    record_id: str,
    data: Mapping[str, Any],
    *,
    table: str | None = None,
    if_match: str | None = None,
) -> CustomRecord:
    """Merge data into a record; null removes a value. As `record_of`; `RecordChanged`, `InvalidRequest`."""
    found, record = await record_of(owner, record_id, table)

    def merge(record: CustomRecord) -> None:
        record.data = found.data(data, record.data)

    return await custom_records.of(owner).update(record, merge, if_match=if_match)


async def list_records(
    owner: str,
    table: CustomTable,
    *,
    equal: Mapping[str, Any] | None = None,
    limit: int = 50,
    offset: int = 0,
    cursor: str | None = None,
) -> Page[CustomRecord]:
    """Return a page of the records of a table, the newest first; with `equal`, of those that have these values.

    2 calls at any length of the table; with `equal`, it is read whole, a thousand records a query.
    """
    if not equal:
        own = custom_records.of(owner)
        return await own.page({"table_id": table.id}, limit=limit, offset=offset, cursor=cursor)
    wanted = table.criteria(equal)

    def fits(data: dict[str, Any]) -> bool:
        return all(_same(data.get(name), value) for name, value in wanted.items())

    return await _chosen(owner, table, fits, limit, offset, cursor)


async def search_records(
    owner: str, table: CustomTable, text: str, *, limit: int = 20, offset: int = 0, cursor: str | None = None
) -> Page[CustomRecord]:
    """Return a page of the records in which a text is found, in any value and whatever its case; the newest first.

    The table is read whole, a thousand records a query.
    """
    folded = text.casefold()

    def fits(data: dict[str, Any]) -> bool:
        return any(folded in _text(value) for value in data.values())

    return await _chosen(owner, table, fits, limit, offset, cursor)


async def delete_table(owner: str, table: str) -> None:
    """Delete a table; its records are deleted later, and are not found any more. `RecordNotFound`.

    The order for the rest comes first: it also deletes the definition, so after a crash nothing is left half deleted.
    It waits for requests that are adding a record at this moment.
    """
    found = await table_of(owner, table)
    value = {"user": owner, "table": found.id, "at": datetime.now(UTC).isoformat()}
    # A table that a restore brings back may be deleted again on the same day.
    await defer("ownpilot.clear_custom_table", value, item_id=f"{found.id} {value['at']}", delay=1)
    with contextlib.suppress(tables.RecordNotFound):  # the deferred work was faster
        await custom_tables.of(owner).delete(found.id)


async def clear_custom_table(value: dict[str, str]) -> None:
    """Deferred work: delete the definition of a table, if it is still there, and all of its records.

    Not when a restore has brought the table back since that was ordered.
    """
    user, table = value["user"], value["table"]
    if await is_overtaken(user, value.get("at")):
        return
    with contextlib.suppress(tables.RecordNotFound):
        await custom_tables.of(user).delete(table)
    try:
        async with asyncio.timeout(TURN):
            await custom_records.of(user).clear({"table_id": table})
    except TimeoutError:
        await defer("ownpilot.clear_custom_table", value)


async def _chosen(
    owner: str,
    table: CustomTable,
    fits: Callable[[dict[str, Any]], bool],
    limit: int,
    offset: int,
    cursor: str | None,
) -> Page[CustomRecord]:
    """Return a page of the records of a table whose data fits."""
    own, total, behind = custom_records.of(owner), 0, None
    offset = Place.offset_of(cursor) if cursor else offset
    items: list[CustomRecord] = []
    while True:
        page = await own.page({"table_id": table.id}, limit=_READ, total=False, cursor=behind)
        for record in page.items:
            if fits(record.data):
                if offset <= total < offset + limit:
                    items.append(record)
                total += 1
        behind = page.cursor
        if not behind:
            end = offset + len(items)
            return Page(items, str(Place(offset=end)) if items and end < total else None, total=total)


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; for Python, true equals 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _text(value: Any) -> str:
    """Return a value as a text to search in."""
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).casefold()
