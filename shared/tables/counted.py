"""Counted collections: index rows and counters change together with the record, so lists and totals stay cheap."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from itertools import product
from typing import Self

from shared.tables import keys, spill
from shared.tables.batch import Operation
from shared.tables.cells import GENERATION, HOURS, Delta, hour_prefix
from shared.tables.client import client
from shared.tables.collection import Collection
from shared.tables.columns import R
from shared.tables.commit import NO_BOUNDS, Committer, Write
from shared.tables.errors import BadCursor, MissingIndex, RecordConflict, RefusedWrite
from shared.tables.ids import derived_id, next_derived
from shared.tables.page import Asked, Filter, Page, PageWithoutTotal, Place, directions, values_of
from shared.tables.ranges import Between, moments
from shared.tables.reading import Reader, ReadPlan, plan, side_by_side
from shared.tables.rebuild import Rebuild, Rebuilt
from shared.tables.schema import ORIGIN, RECORDS
from shared.tables.stored import Stored
from shared.tables.totals import History, Totals
from shared.tables.wire import Row

_CHUNK = 250


class CountedCollection(Collection[R]):
    """A collection declared without `plain`."""

    bounds: Mapping[str, int] = NO_BOUNDS

    def check(self) -> None:
        if self.spread != 1:
            raise ValueError(f"{self.table}: only a plain collection can be spread")

    def within(self, records: int, **sums: int) -> Self:
        """The same partition, of which writes that add something may not make more than this many records, or sums.

        Such a write raises `BoundPassed`, and nothing of it is stored; exact, however many processes write. Only of a
        collection declared with `bounded`.
        """
        if not self.bounded or not {*sums} <= {*self.schema.sums}:
            raise MissingIndex(f"{self.table} is not declared with bounds for {', '.join(sums) or 'records'}")
        other = self._copy()
        other.bounds = {"n": records} | {f"+{name}": most for name, most in sums.items()}
        return other

    def of(self, tenant: str) -> Self:
        if self.columns.numbered:
            raise MissingIndex(f"{self.table} counts the ids of all its users: it is one partition, without tenants")
        return super().of(tenant)

    def partition_of(self, key: str) -> str:
        return self.partition

    # Writing

    @property
    def committer(self) -> Committer:
        """The writer of this partition in the running event loop."""
        return client().committer(self.table, self.partition, shards=1 if self.bounded else None)

    async def insert(self, record: R) -> R:
        if not self.columns.numbered:
            return await super().insert(record)
        if record.id:
            raise ValueError(f"{record.id}: {self.model.__name__} has the number that its insert takes")
        if spill.long_texts(self.columns.encode(record), self.columns.texts):
            record.id = await self._number()  # the text may become a blob, whose name holds the id
        origin = next_derived(self.model.__name__)
        mark = {ORIGIN: derived_id(*origin)} if origin else {}
        try:
            return await self.insert_with(record, mark)
        except BaseException as error:
            record.id = ""
            if mark and isinstance(error, RecordConflict) and (first := await self._of_origin(mark[ORIGIN])):
                return first
            raise

    async def _of_origin(self, origin: str) -> R | None:
        """The record that the first run of a `repeatable` block has inserted; None when there is none."""
        key = self.schema.unique_key(ORIGIN, origin)
        found = await client().wire.get(self.table, self.partition, key)
        return await self.get(found[0]["id"]) if found else None

    async def _number(self) -> str:
        """Take a number ahead of its record."""
        taken: list[int] = []

        def build(_: int, number: int) -> Write:
            taken.append(number)
            return [], Delta()

        await self.committer.write(build, numbered=True, new=True)
        return str(taken[-1])

    async def commit(self, stored: Stored[R] | None, new: tuple[R, Row] | None) -> str | None:
        numbered = new is not None and not new[0].id

        def build(generation: int, number: int) -> Write:
            if new is not None:
                if numbered:
                    new[0].id = str(number)
                    new[1]["RowKey"] = f"{RECORDS.prefix}{self.columns.form.row_key(new[0].id)}"
                return self.rewrite(stored, *new, generation)
            assert stored is not None
            record = Operation("DELETE", stored.row["RowKey"], etag=stored.etag)
            return [record, *self.schema.changes(stored.state, None)], self.schema.delta(stored.state, None)

        try:
            write = self.committer.write(build, numbered=numbered, new=stored is None, bounds=self.bounds)
            return (await write)[0]
        except BaseException:
            if numbered and new is not None:
                new[0].id = ""  # the number has gone, or goes, to another record
            raise

    def rewrite(self, stored: Stored[R] | None, new: R, row: Row, generation: int) -> Write:
        """The operations, the record's first, that bring a record from what is stored to a new state."""
        row.pop(GENERATION, None)  # of an attempt before this one
        if generation:
            row[GENERATION] = str(generation)
        if stored and ORIGIN in stored.row:
            row[ORIGIN] = stored.row[ORIGIN]
        columns = {name: value for name, value in row.items() if name != "RowKey"}
        record = self.record_operation(stored, row["RowKey"], columns)
        old = stored.state if stored else None
        return [record, *self.schema.changes(old, (new, columns))], self.schema.delta(old, (new, columns))

    async def remove(self, stored: list[Stored[R]]) -> list[bool]:
        done = await asyncio.gather(*(self.commit(own, None) for own in stored), return_exceptions=True)
        for result in done:
            if isinstance(result, BaseException) and not isinstance(result, RefusedWrite):
                raise result
        return [not isinstance(result, RefusedWrite) for result in done]

    # Lists

    async def ids(self, where: Filter | None) -> AsyncIterator[list[str]]:
        how = plan(self.schema, self.columns, values_of(where), "created_at")
        for prefix in (prefix for prefixes in how.groups for prefix in prefixes):
            async for rows in self._reader.pages(prefix, residue=how.residue, select="RowKey"):
                yield self.columns.form.texts([row["RowKey"] for row in rows])

    @property
    def _reader(self) -> Reader:
        return Reader(client().wire, self.table, self.partition, self.columns.select)

    async def slice(self, asked: Asked) -> PageWithoutTotal[R]:
        (field, descending), *others = directions(asked.order, asked.descending)
        if others:
            raise MissingIndex(f"{self.table} declares no order by several fields: only plain collections have those")
        how = plan(self.schema, self.columns, values_of(asked.where), field, asked.between)
        limit, cursor = asked.limit, asked.cursor
        start = Place.parse(cursor) if cursor else Place(offset=asked.offset)
        if cursor and not how.gives(start, descending):
            raise BadCursor(f"{cursor!r} is a cursor of another list or of the other direction")
        total = None
        along = descending != how.ascending
        if along:
            # Where the number of rows left is not known, one row more tells whether there are any.
            ask = limit + 1 if cursor or not asked.total else limit
            reading = self._reader.rows(how, start, ask)
            if asked.total:
                rows, total = await asyncio.gather(reading, self._total(how))
            else:
                rows = await reading
            more = len(rows) > limit if total is None or cursor else asked.offset + len(rows) < total
            rows = rows[:limit]
        else:
            # Rows sort one way; the other way is the same list, counted from its end.
            total = await self._total(how)
            end = max(total - start.offset, 0)
            skip = max(end - limit, 0)
            rows = (await self._reader.rows(how, Place(offset=skip), end - skip))[::-1]
            more = skip > 0
        following = how.place(rows[-1]) if along and rows else Place(offset=start.offset + len(rows))
        items, behind = await self.items(rows, asked.check), str(following) if more and rows else None
        return PageWithoutTotal(items, behind) if total is None else Page(items, behind, total=total)

    async def all(
        self,
        where: Filter | None = None,
        *,
        order: str = "created_at",
        between: Between | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
    ) -> AsyncIterator[R]:
        between = moments(between, order, after, before)
        how, place = plan(self.schema, self.columns, values_of(where), order, between), Place()
        while True:
            rows = await self._reader.rows(how, place, _CHUNK)
            if rows:
                place = how.place(rows[-1])
            for record in await self.items(rows):
                yield record
            if len(rows) < _CHUNK:
                return

    # Counts

    async def count(
        self, where: Filter | None = None, *, order: str = "created_at", between: Between | None = None
    ) -> int:
        return await self._total(plan(self.schema, self.columns, values_of(where), order, between))

    async def _total(self, how: ReadPlan) -> int:
        group = self.schema.counts(how.where)
        if group is None or how.start or how.end:
            return await self._reader.count(how)
        prefixes = [group.row_of(values) for values in product(*(how.where[name] for name in group.open))]
        totals = Totals(self.table, self.schema.groups, self.columns.all)
        await side_by_side([self._add(totals, prefix) for prefix in prefixes])
        return totals.matching(how.where)

    async def _add(self, totals: Totals, prefix: str) -> None:
        async for rows in self._reader.pages(prefix):
            for row in rows:
                totals.add(row, row["RowKey"].rpartition("~")[0] + "~")

    async def totals(self, where: Mapping[str, object] | None = None) -> Totals:
        totals = Totals(self.table, self.schema.groups, self.columns.all)
        await self._add(totals, "c~" if where is None else self._row_of(where))
        return totals

    def _row_of(self, where: Mapping[str, object]) -> str:
        for group in self.schema.groups:
            if {*group.open} == {*where}:
                return group.row_of(where[name] for name in group.open)
        raise MissingIndex(f"{self.table}: nothing is declared that counts by {', '.join(sorted(where))}")

    async def history(self, start: datetime, end: datetime) -> History:
        first = keys.utc(start).replace(minute=0, second=0, microsecond=0)
        last = keys.utc(end) - timedelta(microseconds=1)
        groups = [group for group in self.schema.groups if not group.open]
        history = History(self.table, groups, self.columns.all)
        if first <= last:
            low, high = hour_prefix(last), hour_prefix(first - timedelta(hours=1))
            async for rows in self._reader.pages(HOURS, start=low[len(HOURS) :], end=high[len(HOURS) :]):
                for row in rows:
                    history.add_hour(row)
        return history

    async def rebuild(self) -> Rebuilt:
        return await Rebuild(self).run()
