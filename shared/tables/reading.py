"""Lists of counted collections: which rows to read for a filter and an order, and how to merge them."""

import asyncio
import heapq
import math
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from operator import itemgetter
from typing import Any, TypeVar

from shared.tables import keys
from shared.tables.cells import HOURS, Group, hour_of, load
from shared.tables.columns import Columns
from shared.tables.errors import MissingIndex, TooDeep
from shared.tables.ids import first_key
from shared.tables.page import Place
from shared.tables.ranges import Between, bounds
from shared.tables.schema import RECORDS, Index, Schema
from shared.tables.wire import PAGE, Row, Wire

T = TypeVar("T")

DEEP = 250
"""Rows that an offset passes over one by one; a larger offset passes over whole hours."""

MAX_PASSED = 10_000
"""Rows that a list passes over one by one at most, where no counter leads to its offset."""


@dataclass(frozen=True)
class ReadPlan:
    """Ranges of row keys. Groups are read in turn; the ranges of a group are merged by their records' keys."""

    groups: list[list[str]]
    residue: str = ""
    by_hour: Group | None = None
    where: dict[str, list[object]] = field(default_factory=dict[str, list[object]])
    sorted: bool = False
    """Whether the keys hold a value to sort by before the record's own key."""
    start: str = ""
    end: str = ""
    """The range of keys behind each prefix."""
    max_passed: float = math.inf
    """Rows that may be passed over one by one."""
    ascending: bool = False
    """Whether the rows run from low to high."""

    def gives(self, place: Place, descending: bool) -> bool:
        """Whether a cursor of this list, in this direction, can name this place."""
        if descending == self.ascending or not place.start:
            return descending == self.ascending and not place.start
        return place.group < len(self.groups) and ("~" in place.start) == self.sorted

    def place(self, row: Row) -> Place:
        """The place behind a row of this list, for a cursor."""
        key: str = row["RowKey"]
        return next(
            Place(number, key[len(prefix) :])
            for number, prefixes in enumerate(self.groups)
            for prefix in prefixes
            if key.startswith(prefix)
        )


def plan(
    schema: Schema[Any],
    columns: Columns[Any],
    where: dict[str, list[object]],
    order: str,
    between: Between | None = None,
) -> ReadPlan:
    """The narrowest declared rows for this filter and order; `MissingIndex` when nothing suitable is declared."""
    start, end = bounds(columns, order, between) if between else ("", "")
    sort = order
    if order == columns.form.order:
        sort = ""
    elif order == "created_at" and not between and all(index.order != order for index in schema.indexes):
        sort = ""  # numbers run in the order in which the records were stored
    indexed = {name for index in schema.indexes for name in index.fields}
    if stray := sorted(where.keys() - indexed):
        raise MissingIndex(f"{schema.table} declares no index on {', '.join(stray)}")
    usable = [i for i in [RECORDS, *schema.indexes] if i.order == sort and where.keys() >= {*i.fields}]
    best = max(usable, key=lambda index: len(index.fields), default=None)
    if sort and not between and (best is None or len(best.fields) < len(where)):
        # A field with known values is sorted by reading the index rows of one value after the other.
        for index in schema.indexes:
            if not index.order and {*index.fields} == {*where, sort} and columns.all[sort].values is not None:
                given = where.get(sort) or _values(columns, sort)
                values = sorted(given, key=lambda value: (value is not None, str(value)), reverse=True)
                groups = [_ranges(index, {**where, sort: [value]}) for value in values]
                return ReadPlan(groups, where=where, max_passed=MAX_PASSED)
    if best is None:
        raise MissingIndex(f"{schema.table} declares no order by {order}")
    rest = {name: values for name, values in where.items() if name not in best.fields}
    if rest and not best.fields and not sort:
        raise MissingIndex(f"{schema.table} declares no index on {', '.join(sorted(rest))} alone")
    counted = schema.counts(where)
    by_time = not sort and not between and not columns.numbered
    by_hour = counted if counted is not None and not counted.open and by_time else None
    residue = _residue(schema.table, columns, rest)
    most = math.inf if columns.numbered or by_hour else MAX_PASSED
    ascending = columns.form.ascending and not sort
    return ReadPlan([_ranges(best, where)], residue, by_hour, where, bool(sort), start, end, most, ascending)


def _values(columns: Columns[Any], name: str) -> list[object]:
    column = columns.all[name]
    return [*(column.values or []), *([None] if column.nullable else [])]


def _ranges(index: Index, where: dict[str, list[object]]) -> list[str]:
    return [index.range(values) for values in product(*(where[name] for name in index.fields))]


def _residue(table: str, columns: Columns[Any], where: dict[str, list[object]]) -> str:
    """The part of the filter that the service compares in the rows of a wider index."""
    clauses: list[str] = []
    for name, values in where.items():
        column = columns.all[name]
        if name not in columns.view or None in values:
            raise MissingIndex(f"{table} declares no index on {name} here, and its list view does not hold it")
        texts = [_literal(value if column.encode is None else column.encode(value), column.edm) for value in values]
        clauses.append(f" and ({' or '.join(f'{name} eq {text}' for text in texts)})")
    return "".join(clauses)


def _literal(value: object, edm: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if edm == "Edm.Int64":
        return f"{value}L"
    if edm == "Edm.Double":
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"


async def side_by_side(reads: Sequence[Awaitable[T]]) -> list[T]:
    """What these reads return. Most lists have one range, and a task for it would cost as much as its query."""
    return [await reads[0]] if len(reads) == 1 else await asyncio.gather(*reads)


class Reader:
    """Reads ranges of row keys of one partition; `select` names the columns of a list.

    With `spread`, of all partitions over which a tenant's records are spread.
    """

    def __init__(self, wire: Wire, table: str, partition: str, select: str, *, spread: bool = False):
        self._wire, self._table, self._select = wire, table, select
        self._scope = f"PartitionKey eq '{partition}'"
        if spread:
            self._scope = f"PartitionKey ge '{partition}~' and PartitionKey lt '{partition}~{keys.END}'"

    async def pages(
        self,
        prefix: str,
        *,
        start: str = "",
        end: str = "",
        residue: str = "",
        select: str = "",
        top: int | None = None,
        etags: bool = False,
    ) -> AsyncIterator[list[Row]]:
        """The rows of `[prefix + start, prefix + end)`, at most `top`, in ascending order, one response at a time."""
        condition = f"{self._scope} and RowKey ge '{prefix}{start}' and RowKey lt '{prefix}{end or keys.END}'{residue}"
        token = ""
        left = top if top is not None else -1
        while left:
            rows, token = await self._wire.query(
                self._table, condition, select=select, top=min(left, PAGE) if left > 0 else PAGE, after=token,
                etags=etags,
            )  # fmt: skip
            if rows:
                yield rows
            if not token:
                return
            left = left - len(rows) if left > 0 else left

    async def count(self, how: ReadPlan) -> int:
        """How many rows a list has, with a query for each thousand keys of each of its ranges."""

        async def range_(prefix: str) -> int:
            pages = self.pages(prefix, start=how.start, end=how.end, residue=how.residue, select="RowKey")
            return sum([len(rows) async for rows in pages])

        return sum(await side_by_side([range_(prefix) for prefixes in how.groups for prefix in prefixes]))

    async def rows(self, how: ReadPlan, place: Place, limit: int) -> list[Row]:
        """Up to `limit` rows of a list, from a place on."""
        found: list[Row] = []
        start, skip = max(place.start + " ", how.start) if place.start else how.start, place.offset
        if skip > DEEP and how.by_hour is not None:
            start, skip = await self._hour_at(how.by_hour, how.where, skip)
        for prefixes in how.groups[place.group :]:
            passed, rows = await self._merged(prefixes, how, start, skip, limit - len(found))
            found += rows
            if len(found) == limit:
                break
            start, skip = how.start, skip - passed
        return found

    async def _merged(
        self, prefixes: list[str], how: ReadPlan, start: str, skip: int, limit: int
    ) -> tuple[int, list[Row]]:
        """How many rows were passed over, at most `skip`, and up to `limit` rows behind them; `TooDeep`."""
        passed = 0
        while len(prefixes) == 1 and skip > passed and skip - passed + limit > PAGE:  # first, read their keys only
            rows = await self._range(prefixes[0], how, start, min(skip - passed, PAGE), "RowKey")
            if not rows:
                return passed, []
            start, passed = rows[-1]["RowKey"][len(prefixes[0]) :] + " ", passed + len(rows)
            if passed >= how.max_passed:
                raise TooDeep(MAX_PASSED)
        most = int(min(skip - passed, how.max_passed)) + limit
        found = await side_by_side([self._range(prefix, how, start, most, self._select) for prefix in prefixes])
        rows = found[0] if len(found) == 1 else _merge(prefixes, found)
        if skip - passed > how.max_passed and len(rows) > how.max_passed:
            raise TooDeep(MAX_PASSED)
        left = min(skip - passed, len(rows))
        return passed + left, rows[left : left + limit] if left or len(rows) > limit else rows

    async def _range(self, prefix: str, how: ReadPlan, start: str, top: int, select: str) -> list[Row]:
        pages = self.pages(prefix, start=start, end=how.end, residue=how.residue, select=select, top=top)
        found: list[Row] = []
        async for rows in pages:
            found += rows
        return found

    async def _hour_at(self, group: Group, where: dict[str, list[object]], skip: int) -> tuple[str, int]:
        """Where to start reading to reach the row at position `skip`, and how many rows to pass over from there."""
        cells = [group.cell_of(list(values)) or "n" for values in product(*(where[name] for name in group.closed))]
        start, hour, count, fives = "", "", 0, [0] * 12
        async for rows in self.pages(HOURS, select="RowKey,v"):
            for row in rows:
                key = row["RowKey"].rpartition("~")[0]
                if key != hour:
                    if count > skip:
                        return _five_at(start, hour, fives if cells == ["n"] else [], skip)
                    if hour:
                        start = first_key(hour_of(hour))
                    skip, hour, count, fives = skip - count, key, 0, [0] * 12
                held = load(row)
                count += int(sum(held.get(cell, 0) for cell in cells))
                fives = [five + int(held.get(f"m{place}", 0)) for place, five in enumerate(fives)]
        if count > skip:
            return _five_at(start, hour, fives if cells == ["n"] else [], skip)
        return (first_key(hour_of(hour)), skip - count) if hour else ("", skip)


def _merge(prefixes: list[str], ranges: list[list[Row]]) -> list[Row]:
    """The rows of several ranges, sorted by the part of their keys behind the prefix."""
    keyed = (
        [(row["RowKey"][len(prefix) :], row) for row in rows] for prefix, rows in zip(prefixes, ranges, strict=True)
    )
    return [row for _, row in heapq.merge(*keyed, key=itemgetter(0))]


def _five_at(start: str, hour: str, fives: list[int], skip: int) -> tuple[str, int]:
    """The same as `_hour_at` within an hour, by its counts of five minutes."""
    for place in range(len(fives) - 1, 0, -1):
        if fives[place] > skip:
            break
        skip -= fives[place]
        start = first_key(hour_of(hour) + timedelta(minutes=5 * place))
    return start, skip
