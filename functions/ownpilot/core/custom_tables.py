"""Tables that a person defines: their columns, and which values these take."""

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from functions.ownpilot.core.entry import CAMEL, Entry, Given, iso, moment
from shared import tables
from shared.http.bodies import example
from shared.http.errors import BadRequest, InvalidRequest
from shared.http.json import not_blank
from shared.http.operations import MAX_CHARACTERS, checked
from shared.tables import Collection

MAX_TABLES = 1000
MAX_COLUMNS = 200
MAX_NAME = 128
MAX_DATA = 1024 * 1024
"""Bytes of a record's data as JSON."""


class ColumnType(StrEnum):
    """What a column holds."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    JSON = "json"


_WANTED = {
    ColumnType.TEXT: "must be a text",
    ColumnType.NUMBER: "must be a number",
    ColumnType.BOOLEAN: "must be true or false",
    ColumnType.DATE: "must be a date such as 2026-01-31",
    ColumnType.DATETIME: "must be a time in ISO 8601, such as 2026-01-31T09:00:00Z",
}

Name = Annotated[str, Field(max_length=MAX_NAME), AfterValidator(not_blank)]


class CustomColumn(BaseModel):
    """A column; a new record without a value for it gets the default value."""

    model_config = CAMEL

    name: Name
    type: ColumnType
    required: bool = False
    default_value: Any = None
    description: str | None = None

    @model_validator(mode="after")
    def _check_default(self) -> Self:
        if self.default_value is not None:
            self.default_value = self.accept(self.default_value)
        return self

    def accept(self, value: Any) -> Any:
        """Return a value as it is stored: a time in UTC, anything else unchanged. ValueError for another type."""
        match self.type, value:
            case (ColumnType.JSON, _) | (ColumnType.TEXT, str()) | (ColumnType.BOOLEAN, bool()):
                return value
            case ColumnType.NUMBER, int() | float() if not isinstance(value, bool) and abs(value) <= sys.float_info.max:
                return value
            case ColumnType.DATE, str():
                try:
                    return date.fromisoformat(value).isoformat()
                except ValueError:
                    raise ValueError(_WANTED[self.type]) from None
            case ColumnType.DATETIME, str():
                return iso(moment(value))
            case _:
                raise ValueError(_WANTED[self.type])


def name_of(text: str) -> str:
    """Return the name of a table: in lower case, with `_` for what is no letter from a to z, digit or `_`."""
    return re.sub(r"[^a-z0-9_]", "_", text.lower())


class CustomTable(Entry, prefix="table_"):
    """The definition of a table."""

    name: str
    display_name: str
    description: str | None = None
    columns: list[CustomColumn]

    def data(self, given: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the data of a record: the given values over those before, or over the defaults for a new record.

        Null is no value, and what belongs to no column is left out. `BadRequest` ADD_FAILED when a new record lacks a
        required value; `InvalidRequest` when a changed one does, and for values of another type; LIMIT_REACHED.
        """
        is_new = before is None
        data = {column.name: column.default_value for column in self.columns} if before is None else {**before}
        data |= {column.name: self.value(column, given[column.name]) for column in self.columns if column.name in given}
        data = {name: value for name, value in data.items() if value is not None}
        if missing := [column.name for column in self.columns if column.required and column.name not in data]:
            raise InvalidRequest(f"data.{missing[0]}: is required", code="ADD_FAILED" if is_new else None)
        if len(json.dumps(data, ensure_ascii=False).encode()) > MAX_DATA:
            raise InvalidRequest("data: a record holds at most 1 MiB of JSON", code="LIMIT_REACHED")
        return data

    def criteria(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that a filter asks for, as they are stored. `InvalidRequest`."""
        columns = {column.name: column for column in self.columns}
        if unknown := sorted(given.keys() - columns.keys()):
            raise InvalidRequest(f"filter: the table {self.name} has no column {unknown[0]}")
        return {name: self.value(columns[name], value, "filter") for name, value in given.items()}

    @staticmethod
    def value(column: CustomColumn, given: Any, where: str = "data") -> Any:
        """Return a value of a column as it is stored. `InvalidRequest` names the place in the request."""
        try:
            return None if given is None else column.accept(given)
        except ValueError as error:
            field = f"{where}.{column.name}"
            details = [{"field": field, "message": str(error)}]
            raise InvalidRequest(f"{field}: {error}", details=details) from error


custom_tables = Collection("OwnpilotTables", CustomTable, plain=True, unique=["name"])


def _differ(columns: list[CustomColumn]) -> list[CustomColumn]:
    """ValueError when two columns have the same name."""
    names = Counter(column.name for column in columns)
    if repeated := [name for name, times in names.items() if times > 1]:
        raise ValueError(f"{repeated[0]} is there twice")
    return columns


class NewTable(Given):
    """A table to create. Its name is taken in lower case, with `_` for what is no letter from a to z, digit or `_`."""

    model_config = example(
        name="recipes",
        displayName="Recipes",
        columns=[{"name": "title", "type": "text", "required": True}, {"name": "servings", "type": "number"}],
    )

    name: Annotated[Name, AfterValidator(name_of)]
    display_name: Name
    description: str | None = None
    columns: Annotated[list[CustomColumn], Field(min_length=1, max_length=MAX_COLUMNS), AfterValidator(_differ)]


async def create_table(owner: str, values: Mapping[str, Any] | NewTable) -> CustomTable:
    """Store a new table. `InvalidRequest` when the name is taken; LIMIT_REACHED. 2 calls."""
    body, own = checked(NewTable, values), custom_tables.of(owner)
    if len(body.model_dump_json()) > MAX_CHARACTERS:  # a list has all definitions, and each use of a record reads one
        raise BadRequest(f"A definition has at most {MAX_CHARACTERS} characters of JSON", code="LIMIT_REACHED")
    if await own.count() >= MAX_TABLES:
        raise BadRequest(f"There are {MAX_TABLES} tables already: delete some first", code="LIMIT_REACHED")
    table = CustomTable(user_id=owner, **dict(body))
    try:
        return await own.insert(table)
    except tables.RecordConflict as error:
        raise InvalidRequest(f"name: the table {table.name} exists already") from error


async def table_of(owner: str, table: str) -> CustomTable:
    """Return the table with this id or name. `RecordNotFound`. 1 call by id, 2 by name."""
    own = custom_tables.of(owner)
    try:
        return await own.get(table)
    except tables.RecordNotFound:
        return await own.find("name", name_of(table))
