"""Collections of records in Table Storage: one table each, one partition for each tenant."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from itertools import product
from typing import cast

from shared.ids import first_key
from shared.tables import keys
from shared.tables.cells import HOURS, ROOT, hour_of, hour_prefix
from shared.tables.client import client
from shared.tables.columns import WITHOUT, R
from shared.tables.errors import BadCursor, NotFound
from shared.tables.listing import Cursor, Filter, Page, Plan, Reader, plan
from shared.tables.rebuild import Rebuild, Rebuilt
from shared.tables.records import Records
from shared.tables.totals import Hour, Totals
from shared.tables.wire import Row

_CHUNK = 250


class Collection(Records[R]):
    """Records of one model, with indexes, unique fields and exact counters that change together with them.

    - `indexes`: fields, or tuples of fields, to filter by. One row each a record, holding the list view.
    - `unique`: fields whose value no two records share; `find` reads by them.
    - `counters`: fields, or tuples, whose records are counted by value. A filter by fields that are counted knows its
      total at once; any other total is counted, a thousand keys a call.
    - `sums`: numbers that are added up; `sums_by`: fields, or tuples, by whose values they are added up too.
    - `orders`: fields to sort by besides `created_at`, from high to low; a tuple filters by all but its last field.
    - `view`: the fields that lists hold; by default all that are plain values. Keep long texts out of it.

    A declaration that changes holds for old records once `rebuild` has run.
    """

    async def page(
        self,
        where: Filter | None = None,
        *,
        limit: int = 50,
        offset: int = 0,
        order: str = "created_at",
        descending: bool = True,
        cursor: str | None = None,
    ) -> Page[R]:
        """A part of the records that match `where` (field to value, or to a list of values), and their exact number.

        It starts at `offset`, or behind the page that `cursor` came from. ValueError for what no index answers, and
        for a cursor that is none.

        Two queries at once: `limit` rows, and the counter rows of the filter, one for each process that has written
        (16 at most). An offset over 250 adds the counter rows of the hours passed over, a thousand a query, and reads
        the last hour (without a filter: five minutes) up to it. Where nothing counts by the filter, its total is
        counted a thousand keys a query; several values of a field are as many queries.
        """
        wanted = _wanted(where)
        how = plan(self.schema, self.columns, wanted, order)
        start = Cursor.parse(cursor) if cursor else Cursor(offset=offset)
        if descending:
            # Behind a cursor the number of rows left is not known: one row more tells whether there are any.
            ask = limit + 1 if cursor else limit
            rows, total = await asyncio.gather(self._reader.rows(how, start, ask), self._total(how))
            more = len(rows) > limit if cursor else offset + len(rows) < total
            rows = rows[:limit]
        else:
            # Rows sort one way; the other way is the same list, counted from its end.
            if start.start:
                raise BadCursor(f"{cursor!r} is a cursor of the other direction")
            total = await self._total(how)
            end = max(total - start.offset, 0)
            skip = max(end - limit, 0)
            rows = (await self._reader.rows(how, Cursor(offset=skip), end - skip))[::-1]
            more = skip > 0
        following = how.place(rows[-1]) if descending and rows else Cursor(offset=start.offset + len(rows))
        return Page(await self._items(rows), total, str(following) if more and rows else None)

    async def all(
        self, where: Filter | None = None, *, after: datetime | None = None, before: datetime | None = None
    ) -> AsyncIterator[R]:
        """Every record that matches, newest first, in its list view; made at `after` or later, and before `before`.

        Records may be written and deleted meanwhile: each that is there all the time comes once. A query for 250 rows.
        """
        how = plan(self.schema, self.columns, _wanted(where), "created_at")
        end = first_key(after) if after else ""
        place = Cursor(0, first_key(before) if before else "")
        while True:
            rows = await self._reader.rows(how, place, _CHUNK, end)
            if rows:
                place = how.place(rows[-1])
            for record in await self._items(rows):
                yield record
            if len(rows) < _CHUNK:
                return

    @property
    def _reader(self) -> Reader:
        return Reader(client().wire, self.table, self.partition, self.columns.select)

    async def _items(self, rows: list[Row]) -> list[R]:
        """The records of these rows, which are used up; one whose list view does not fit in its row is read whole."""
        short = [place for place, row in enumerate(rows) if WITHOUT in row and self.columns.partial(row)]
        items = self.columns.decode(rows)
        whole = await asyncio.gather(*(self.get(items[place].id) for place in short), return_exceptions=True)
        for place, record in zip(short, whole, strict=True):
            if isinstance(record, BaseException):
                if not isinstance(record, NotFound):  # deleted since: as the list had it
                    raise record
            else:
                items[place] = record
        return items

    # Counts

    async def _total(self, how: Plan) -> int:
        group = self.schema.counts(how.where)
        if group is None:
            counts = (self._reader.count(prefix, how.residue) for ranges in how.groups for prefix in ranges)
            return sum(await asyncio.gather(*counts))
        prefixes = [group.row_of(values) for values in product(*(how.where[name] for name in group.open))]
        totals = Totals(self.schema.groups, self.columns.all)
        await asyncio.gather(*(self._add(totals, prefix) for prefix in prefixes))
        return totals.matching(how.where)

    async def _add(self, totals: Totals, prefix: str) -> None:
        async for rows in self._reader.pages(prefix):
            for row in rows:
                totals.add(row, row["RowKey"].rpartition("~")[0] + "~")

    async def count(self, where: Filter | None = None) -> int:
        """How many records match: one query of few rows where a counter is declared, else a thousand keys a query."""
        return await self._total(plan(self.schema, self.columns, _wanted(where), "created_at"))

    async def rebuild(self) -> Rebuilt:
        """Make index rows and counters of this partition anew from its records: for a new declaration, or after damage.

        Readers and writers may go on, and an interrupted rebuild goes on where it was when it is called again.
        `Conflict` when two records share a value that is now to be unique. All rows are read once, and each
        record costs an update.
        """
        return await Rebuild(self).run()

    async def totals(self, where: Mapping[str, object] | None = None) -> Totals:
        """The declared counts and sums of this partition: all of them, at a cost that grows with the values counted by.

        With `where` those of one value of each of these fields, or of none at all (`{}`): one short answer. Fields
        whose values are known beforehand are in every answer. ValueError when nothing counts by these fields.
        """
        totals = Totals(self.schema.groups, self.columns.all)
        await self._add(totals, "c~" if where is None else self._row_of(where))
        return totals

    def _row_of(self, where: Mapping[str, object]) -> str:
        for group in self.schema.groups:
            if {*group.open} == {*where}:
                return group.row_of(where[name] for name in group.open)
        raise ValueError(f"{self.table}: nothing is declared that counts by {', '.join(sorted(where))}")

    async def history(self, start: datetime, end: datetime) -> list[Hour]:
        """What was created in each hour that begins before `end`, from the hour of `start` on; empty ones too.

        A query for a thousand rows: one for each hour with records and each process that wrote in it.
        """
        first = keys.utc(start).replace(minute=0, second=0, microsecond=0)
        count = max(math.ceil((keys.utc(end) - first) / timedelta(hours=1)), 0)
        groups = [group for group in self.schema.groups if not group.open]
        hours = [Hour(first + timedelta(hours=place), groups, self.columns.all) for place in range(count)]
        if hours:
            low, high = hour_prefix(hours[-1].hour), hour_prefix(first - timedelta(hours=1))
            async for rows in self._reader.pages(HOURS, start=low[len(HOURS) :], end=high[len(HOURS) :]):
                for row in rows:
                    place = (hour_of(row["RowKey"]) - first) // timedelta(hours=1)
                    hours[place].add(row, ROOT)
        return hours


def _wanted(where: Filter | None) -> dict[str, list[object]]:
    """Each field with the values it may have."""
    given: dict[str, object] = dict(where or {})
    return {
        name: [*cast("list[object]", value)] if isinstance(value, list | set | tuple) else [value]
        for name, value in given.items()
    }
