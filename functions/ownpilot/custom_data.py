"""Custom data: tables that a person defines, and their records."""

from typing import Annotated, Any, cast

import orjson
from fastapi import Query, Response
from pydantic import AfterValidator, Field

from functions.ownpilot.core.custom_records import (
    CustomRecord,
    add_record,
    change_record,
    custom_records,
    delete_table,
    list_records,
    record_of,
    search_records,
)
from functions.ownpilot.core.custom_tables import (
    CustomColumn,
    CustomTable,
    NewTable,
    create_table,
    custom_tables,
    table_of,
)
from functions.ownpilot.core.entry import Given, Moment, Shown
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.bodies import example
from shared.http.conditions import IfMatch, show_version
from shared.http.errors import InvalidRequest
from shared.http.json import not_blank, plain
from shared.http.paging import MAX_LIMIT, MAX_OFFSET, Paging, paging
from shared.http.shapes import Deleted

routes = routes_for("custom-data")

Filled = Annotated[str, AfterValidator(not_blank)]


class TableShown(Shown):
    """The definition of a table."""

    id: str
    name: str
    display_name: str
    description: str | None = None
    columns: list[CustomColumn]
    created_at: Moment
    updated_at: Moment


class TableListed(TableShown):
    """The definition of a table, and how many records it has."""

    record_count: int


class TableStats(Shown):
    """How many records a table has, and when the newest one was added."""

    record_count: int
    last_record: Moment | None = None


class TableDetails(TableShown):
    """The definition of a table, and its numbers."""

    stats: TableStats


class RecordData(Given):
    """The values of a record by column."""

    model_config = example(data={"title": "Pancakes", "servings": 4})

    data: dict[str, Any]


class RecordShown(Shown):
    """A record of a table."""

    id: str
    table_id: str
    data: dict[str, Any]
    created_at: Moment
    updated_at: Moment


class CustomRecords(Shown):
    """Part of the records of a table; `total` is the number of all that match."""

    records: list[RecordShown]
    total: int
    limit: int
    offset: int
    has_more: bool


class RecordQuery(Given):
    """What to look for."""

    model_config = example(query="pancakes")

    query: Filled
    limit: Annotated[int, Field(ge=1), AfterValidator(lambda given: min(given, MAX_LIMIT))] = 20
    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET)] = 0


class RecordsFound(Shown):
    """Part of the records in which a text was found; `total` is the number of all of them."""

    records: list[RecordShown]
    total: int
    query: str


@routes.get("/tables", response_model_exclude_none=True)
async def list_custom_tables(owner: Owner, paging: Annotated[Paging, paging(MAX_LIMIT)]) -> list[TableListed]:
    """The tables of the caller by their names for people, with the numbers of their records."""
    page = await custom_tables.of(owner.id).page(
        order="display_name", descending=False, limit=paging.limit, offset=paging.offset, cursor=paging.cursor
    )
    paging.link(page)
    counts = (await custom_records.of(owner.id).totals()).by("table_id")
    return [TableListed(**dict(table), record_count=counts[table.id]) for table in page.items]


@routes.post("/tables", status_code=201, response_model=TableShown, response_model_exclude_none=True)
async def create_custom_table(body: NewTable, owner: Owner) -> CustomTable:
    """Create a table; its name must not be taken."""
    return await create_table(owner.id, body)


@routes.get("/tables/{table}", response_model_exclude_none=True)
async def get_custom_table(table: str, owner: Owner) -> TableDetails:
    """One table, by its id or its name."""
    found = await table_of(owner.id, table)
    page = await list_records(owner.id, found, limit=1)
    stats = TableStats(record_count=page.total, last_record=page.items[0].created_at if page.items else None)
    return TableDetails(**dict(found), stats=stats)


@routes.delete("/tables/{table}")
async def delete_custom_table(table: str, owner: Owner) -> Deleted:
    """Delete a table with its records. Its name may be used again at once."""
    await delete_table(owner.id, table)
    return Deleted()


@routes.get("/tables/{table}/records", response_model=CustomRecords)
async def list_custom_records(
    table: str,
    owner: Owner,
    paging: Annotated[Paging, paging(50)],
    filter_: Annotated[str | None, Query(alias="filter", description='Values by column: {"servings": 4}')] = None,
) -> dict[str, Any]:
    """The records of a table, the newest first.

    A page costs the same however many there are. With a filter, the whole table is read, a thousand records a query.
    """
    page = await list_records(
        owner.id, await table_of(owner.id, table), equal=_object(filter_) if filter_ else None, limit=paging.limit,
        offset=paging.offset, cursor=paging.cursor,
    )  # fmt: skip
    paging.link(page)
    part = {"limit": paging.limit, "offset": paging.offset, "has_more": page.cursor is not None}
    return {"records": page.items, "total": page.total, **part}


def _object(text: str) -> dict[str, Any]:
    try:
        given: Any = plain(orjson.loads(text))
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise InvalidRequest('filter: must be a JSON object such as {"servings": 4}')
    return cast("dict[str, Any]", given)


@routes.post("/tables/{table}/records", status_code=201, response_model=RecordShown)
async def add_custom_record(table: str, body: RecordData, owner: Owner, response: Response) -> CustomRecord:
    """Add a record to a table. Columns without a value get their default; what belongs to no column is left out."""
    record = await add_record(owner.id, await table_of(owner.id, table), body.data)
    show_version(response, record)
    return record


@routes.get("/tables/{table}/records/{record_id}", response_model=RecordShown)
async def get_custom_record(table: str, record_id: str, owner: Owner, response: Response) -> CustomRecord:
    """One record of a table."""
    _, record = await record_of(owner.id, record_id, table)
    show_version(response, record)
    return record


@routes.patch("/tables/{table}/records/{record_id}", response_model=RecordShown)
async def update_custom_record(
    table: str, record_id: str, body: RecordData, owner: Owner, if_match: IfMatch, response: Response
) -> CustomRecord:
    """Change the given values of a record; null removes a value."""
    record = await change_record(owner.id, record_id, body.data, table=table, if_match=if_match)
    show_version(response, record)
    return record


@routes.delete("/tables/{table}/records/{record_id}")
async def delete_custom_record(table: str, record_id: str, owner: Owner) -> Deleted:
    """Delete a record of a table."""
    await record_of(owner.id, record_id, table)
    await custom_records.of(owner.id).delete(record_id)
    return Deleted()


@routes.post("/tables/{table}/search", response_model=RecordsFound)
async def search_custom_records(table: str, body: RecordQuery, owner: Owner) -> dict[str, Any]:
    """The records with a text in any of their values. The whole table is read, a thousand records a query."""
    found = await table_of(owner.id, table)
    page = await search_records(owner.id, found, body.query, limit=body.limit, offset=body.offset)
    return {"records": page.items, "total": page.total, "query": body.query}


@routes.get("/tables/{table}/search", response_model=list[RecordShown])
async def find_custom_records(
    table: str, owner: Owner, paging: Annotated[Paging, paging(20)], q: Annotated[Filled, Query()]
) -> list[CustomRecord]:
    """The same with the text in the query, as a bare array."""
    found = await table_of(owner.id, table)
    page = await search_records(
        owner.id, found, q, limit=paging.limit, offset=paging.offset, cursor=paging.cursor
    )  # fmt: skip
    paging.link(page)
    return page.items


@routes.put("/records/{record_id}", response_model=RecordShown)
async def replace_custom_record(
    record_id: str, body: RecordData, owner: Owner, if_match: IfMatch, response: Response
) -> CustomRecord:
    """Change the given values of a record of any table; null removes a value."""
    record = await change_record(owner.id, record_id, body.data, if_match=if_match)
    show_version(response, record)
    return record


@routes.delete("/records/{record_id}")
async def delete_any_custom_record(record_id: str, owner: Owner) -> Deleted:
    """Delete a record of any table."""
    await custom_records.of(owner.id).delete(record_id)
    return Deleted()
