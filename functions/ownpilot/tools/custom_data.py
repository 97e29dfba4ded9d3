"""Tools on the tables that a user defines."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

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
from functions.ownpilot.core.custom_tables import MAX_COLUMNS, create_table, custom_tables, table_of
from functions.ownpilot.core.entry import Given
from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.custom_data import RecordShown, TableListed, TableShown
from functions.ownpilot.tools.records import MAX_BATCH, MOST, Limit, add_all, members, shown
from functions.ownpilot.tools.registry import tool
from shared.http.paging import MAX_LIMIT
from shared.tables import Page

Table = Annotated[str, Field(description="The name or the id of a table")]
Data = Annotated[dict[str, Any], Field(description="The values by the names of the columns")]


class NewColumn(Given):
    """A column of a new table."""

    name: str
    display_name: Annotated[str | None, Field(description="Its name for people")] = None
    type: Literal["text", "number", "boolean", "date", "datetime", "json"]
    required: bool | None = None


class TableDefinition(Given):
    """A table to create."""

    name: Annotated[str, Field(description="In lower case, with _ between words")]
    display_name: Annotated[str, Field(description="Its name for people")]
    description: str | None = None
    columns: Annotated[list[NewColumn], Field(min_length=1, max_length=MAX_COLUMNS)]


def _shown(record: CustomRecord) -> dict[str, Any]:
    return shown(RecordShown, record)


def _part(page: Page[CustomRecord]) -> dict[str, Any]:
    return {"records": [_shown(each) for each in page.items], "total": page.total}


@tool(category="customData", tags=("database", "show"))
async def list_custom_tables(context: ToolContext) -> Any:
    """List the tables that the user has defined, with their columns and the numbers of their records."""
    page = await custom_tables.of(context.owner).page(order="display_name", descending=False, limit=MAX_LIMIT)
    counts = (await custom_records.of(context.owner).totals()).by("table_id")
    tables = [shown(TableListed, TableListed(**dict(each), record_count=counts[each.id])) for each in page.items]
    return {"tables": tables, "total": page.total}


@tool(category="customData", tags=("database", "columns", "schema"))
async def describe_custom_table(context: ToolContext, table: Table) -> Any:
    """Show the columns of a table, and how many records it has."""
    found = await table_of(context.owner, table)
    page = await list_records(context.owner, found, limit=1)
    return {"table": shown(TableListed, TableListed(**dict(found), record_count=page.total))}


@tool(category="customData", tags=("database", "define", "new"))
async def create_custom_table(context: ToolContext, given: TableDefinition) -> Any:
    """Create a table for records of the user's own kind."""
    values = members(given)
    # A column has no name for people of its own: that is told in its description.
    values["columns"] = [
        {"description" if name == "display_name" else name: value for name, value in column.items()}
        for column in values["columns"]
    ]
    return {"table": shown(TableShown, await create_table(context.owner, values))}


@tool(category="customData", tags=("database", "remove"))
async def delete_custom_table(
    context: ToolContext,
    table: Table,
    confirm: Annotated[bool, Field(description="Must be true: all records of the table are lost")],
) -> str:
    """Delete a table with all of its records."""
    if not confirm:
        raise ToolError("Nothing was deleted. Ask the user first, then call again with confirm: true.")
    await delete_table(context.owner, table)
    return "The table and its records were deleted."


@tool(category="customData", tags=("database", "create", "row"))
async def add_custom_record(context: ToolContext, table: Table, data: Data) -> Any:
    """Add a record to a table."""
    return {"record": _shown(await add_record(context.owner, await table_of(context.owner, table), data))}


@tool(category="customData", tags=("database", "create", "rows", "several"))
async def batch_add_custom_records(
    context: ToolContext,
    table: Table,
    records: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MAX_BATCH)],
) -> Any:
    """Add several records to a table at once; each is its values by the names of the columns."""
    found = await table_of(context.owner, table)

    async def add(data: Mapping[str, Any]) -> Any:
        return _shown(await add_record(context.owner, found, data))

    return await add_all("records", records, found.data, add)


@tool(category="customData", tags=("database", "rows", "find"))
async def list_custom_records(
    context: ToolContext,
    table: Table,
    limit: Limit = MOST,
    offset: Annotated[int, Field(ge=0, description="How many to pass over")] = 0,
    filter: Annotated[dict[str, Any] | None, Field(description="The values that columns must have")] = None,
) -> Any:
    """List the records of a table, the newest first."""
    found = await table_of(context.owner, table)
    return _part(await list_records(context.owner, found, equal=filter, limit=limit, offset=offset))


@tool(category="customData", tags=("database", "rows", "find"))
async def search_custom_records(context: ToolContext, table: Table, query: str, limit: Limit = 20) -> Any:
    """Find the records of a table that have a text in any of their values."""
    found = await table_of(context.owner, table)
    return _part(await search_records(context.owner, found, query, limit=limit))


@tool(category="customData", tags=("database", "row", "show"), camel=True)
async def get_custom_record(context: ToolContext, record_id: str) -> Any:
    """Show a record of any table."""
    table, record = await record_of(context.owner, record_id)
    return {"table": table.name, "record": _shown(record)}


@tool(category="customData", tags=("database", "row", "change"), camel=True)
async def update_custom_record(context: ToolContext, record_id: str, data: Data) -> Any:
    """Change values of a record; null removes a value, and those that are not named stay."""
    return {"record": _shown(await change_record(context.owner, record_id, data))}


@tool(category="customData", tags=("database", "row", "remove"), camel=True)
async def delete_custom_record(context: ToolContext, record_id: str) -> str:
    """Delete a record of any table."""
    await custom_records.of(context.owner).delete(record_id)
    return "The record was deleted."
