"""Collections of records in Table Storage: one table each, one partition for each tenant."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Generic, cast

from shared import blobs
from shared.ids import first_key, row_key
from shared.tables import keys, spill
from shared.tables.batch import Operation
from shared.tables.cells import GENERATION, HOURS, ROOT, hour_of, hour_prefix
from shared.tables.client import client
from shared.tables.columns import Columns, R
from shared.tables.commit import Committer, RefusedWrite, Write
from shared.tables.errors import Conflict, NotFound, PreconditionFailed, Unavailable
from shared.tables.listing import Cursor, Filter, Page, Plan, Reader, plan
from shared.tables.schema import RECORDS, Names, Schema
from shared.tables.totals import Hour, Totals
from shared.tables.wire import Row

_ATTEMPTS = 50
_CHUNK = 250


class Stored(Generic[R]):
    """A record with the row it was read from."""

    def __init__(self, record: R, row: Row, texts: dict[str, str], etag: str):
        self.record, self.row, self.texts, self.etag = record, row, texts, etag

    @property
    def state(self) -> tuple[R, Row]:
        """The record and its columns, as the schema compares them."""
        return self.record, self.row


class Collection(Generic[R]):
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

    def __init__(
        self,
        table: str,
        model: type[R],
        *,
        indexes: Sequence[Names] = (),
        unique: Sequence[str] = (),
        counters: Sequence[Names] = (),
        sums: Sequence[str] = (),
        sums_by: Sequence[Names] = (),
        orders: Sequence[Names] = (),
        view: Sequence[str] | None = None,
    ):
        self.table, self.model = table, model
        self.columns = Columns(model, list(view) if view is not None else None)
        self.schema = Schema(
            table,
            self.columns,
            indexes=indexes,
            unique=unique,
            counters=counters,
            sums=sums,
            sums_by=sums_by,
            orders=orders,
        )
        self.partition = "all"

    def of(self, tenant: str) -> "Collection[R]":
        """The same collection in another partition."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.partition = keys.encode(tenant)
        return other

    @property
    def committer(self) -> Committer:
        """The writer of this partition in the running event loop."""
        return client().committer(self.table, self.partition)

    # Reading one record

    async def read(self, record_id: str) -> Stored[R]:
        """A record with its row: one point read, and one of each text that is kept as a blob. `NotFound`."""
        key = row_key(record_id)
        for attempt in range(_ATTEMPTS):
            found = await client().wire.get(self.table, self.partition, RECORDS.prefix + key) if key else None
            if found is None:
                break
            row, etag = found
            del row["PartitionKey"], row["Timestamp"]
            try:
                texts = await spill.load(row)
            except blobs.BlobNotFound:
                if attempt + 1 == _ATTEMPTS:
                    raise
                continue  # a newer version has replaced it since
            record = self.columns.decode({**row, **texts} if texts else row)
            record._etag = etag  # pyright: ignore[reportPrivateUsage]
            return Stored(record, row, texts, etag)
        raise NotFound(self.model.__name__, record_id)

    async def get(self, record_id: str) -> R:
        """The record of this id; `NotFound`, also for what is no id."""
        return (await self.read(record_id)).record

    async def find(self, field: str, value: object) -> R:
        """The record with this value of a unique field; `NotFound`."""
        if field not in self.schema.unique:
            raise ValueError(f"{self.table}: {field} is not unique")
        key = self.schema.unique_key(field, value)
        found = await client().wire.get(self.table, self.partition, key) if value is not None else None
        if found is None:
            raise NotFound(self.model.__name__, f"{field}={value}")
        record = await self.get(found[0]["id"])
        if getattr(record, field) != value:
            raise NotFound(self.model.__name__, f"{field}={value}")
        return record

    # Writing

    async def insert(self, record: R) -> R:
        """Store a new record. `Conflict` when its id or the value of a unique field is taken.

        Repeating an insert is harmless: an id that is stored with the same `created_at` is the same record, and is
        answered as it is stored.
        """
        key = row_key(record.id)
        if key is None:
            raise ValueError(f"{record.id} is no UUID")
        record.id = record.id.lower()
        record.updated_at = max(record.updated_at, record.created_at)
        row, written = await self._encode(record, key, None)
        try:
            etags = await self.committer.write(lambda generation: self._write(None, record, row, generation, None))
        except RefusedWrite as error:
            await self._discard(written)
            return await self._repeated(record, error)
        except Exception as error:
            if not isinstance(error, Unavailable):  # then nobody knows whether the row names them
                await self._discard(written)
            raise
        return await self._stamped(record, etags[0])

    async def _repeated(self, record: R, error: RefusedWrite) -> R:
        try:
            stored = await self.get(record.id)
        except NotFound:
            pass
        else:
            if stored.created_at == keys.utc(record.created_at):
                return stored
            raise Conflict(f"{self.table} has another record {record.id}", "id") from error
        raise self._taken(error) from error

    def _taken(self, error: RefusedWrite) -> Exception:
        kind, _, rest = error.operation.row_key.partition("~")
        if kind == "u" and error.status == 409:
            field = rest.partition("~")[0]
            return Conflict(f"{self.table}: this {field} is taken", field)
        return error

    async def update(self, record_id: str, change: Callable[[R], R | None], *, if_match: str | None = None) -> R:
        """Read a record, let `change` alter it (or return another), write it; again from the start on a conflict.

        What `change` raises passes through and nothing is written; nor is anything when it changes nothing. `if_match`
        is the version that it must be: `PreconditionFailed`. `NotFound`; `Conflict` on a unique field.
        """
        async with client().lock(self.table, self.partition, record_id.lower()):
            for _ in range(_ATTEMPTS):
                stored = await self.read(record_id)
                self._match(stored, if_match)
                new = self.columns.decode({**stored.row, **stored.texts})
                result = change(new)
                new = new if result is None else result
                new.id, new.created_at = stored.record.id, stored.record.created_at
                new.updated_at = stored.record.updated_at
                row, written = await self._encode(new, row_key(new.id) or "", stored)
                if row == {name: value for name, value in stored.row.items() if name != GENERATION}:
                    return stored.record
                new.updated_at = max(datetime.now(UTC), stored.record.updated_at)
                row["updated_at"] = self.columns.encode(new)["updated_at"]
                dropped = spill.blobs_of(stored.row) - spill.blobs_of(row)
                try:
                    etags = await self.committer.write(
                        lambda generation, s=stored, n=new, r=row: self._write(s.state, n, r, generation, s)
                    )
                except RefusedWrite as error:
                    await self._discard(written)
                    if error.operation.row_key.startswith(RECORDS.prefix):
                        continue
                    raise self._taken(error) from error
                await self._discard(dropped)
                return await self._stamped(new, etags[0])
        raise Unavailable(f"{self.table} {record_id} changes all the time")

    async def delete(self, record_id: str, *, if_match: str | None = None) -> None:
        """Delete a record with all that belongs to it; `NotFound`, `PreconditionFailed`."""
        async with client().lock(self.table, self.partition, record_id.lower()):
            for _ in range(_ATTEMPTS):
                stored = await self.read(record_id)
                self._match(stored, if_match)
                try:
                    await self.committer.write(lambda _, s=stored: self._remove(s))
                except RefusedWrite as error:
                    if error.operation.row_key.startswith(RECORDS.prefix):
                        continue
                    raise
                await self._discard(spill.blobs_of(stored.row))
                return
        raise Unavailable(f"{self.table} {record_id} changes all the time")

    def _match(self, stored: Stored[R], if_match: str | None) -> None:
        if if_match is not None and if_match != stored.etag:
            raise PreconditionFailed(f"{self.table} {stored.record.id} has changed")

    async def _encode(self, record: R, key: str, stored: Stored[R] | None) -> tuple[Row, list[str]]:
        """The row of a record, its long texts taken care of, and the blobs written for it."""
        row = self.columns.encode(record)
        texts = spill.long_texts(row, (name for name, column in self.columns.all.items() if column.text))
        written: list[str] = []
        if texts:
            folder = f"{self.table}/{self.partition}/{record.id}"
            old, old_texts = (stored.row, stored.texts) if stored else ({}, {})
            columns, written = await spill.store(folder, texts, old, old_texts)
            row |= columns
        row["RowKey"] = RECORDS.prefix + key
        return row, written

    def _write(self, old: tuple[R, Row] | None, new: R, row: Row, generation: int, stored: Stored[R] | None) -> Write:
        """The operations, the record's first, that bring a record from one state to the next."""
        columns = {name: value for name, value in row.items() if name != "RowKey"}
        if generation:
            columns[GENERATION] = str(generation)
        typed = self.columns.typed(columns)
        if stored is None:
            record = Operation("POST", row["RowKey"], typed)
        elif stored.row.keys() - {"RowKey"} <= columns.keys():
            changed = {name: value for name, value in columns.items() if stored.row.get(name) != value}
            kept = {name: value for name, value in typed.items() if name.partition("@")[0] in changed}
            record = Operation("PATCH", row["RowKey"], kept, stored.etag)
        else:  # a merge cannot take a column away
            record = Operation("PUT", row["RowKey"], typed, stored.etag)
        state = (new, columns)
        return [record, *self.schema.changes(old, state)], self.schema.delta(old, state)

    def _remove(self, stored: Stored[R]) -> Write:
        record = Operation("DELETE", stored.row["RowKey"], etag=stored.etag)
        return [record, *self.schema.changes(stored.state, None)], self.schema.delta(stored.state, None)

    async def _stamped(self, record: R, etag: str | None) -> R:
        if etag is None:  # it was written, and the answer lost
            return await self.get(record.id)
        record._etag = etag  # pyright: ignore[reportPrivateUsage]
        return record

    async def _discard(self, names: set[str] | list[str]) -> None:
        for name in names:
            await blobs.delete(spill.CONTAINER, name)

    # Lists

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
            total = await self._total(how)
            end = max(total - start.offset, 0)
            skip = max(end - limit, 0)
            rows = (await self._reader.rows(how, Cursor(offset=skip), end - skip))[::-1]
            more = skip > 0
        following = rows[-1][0] if descending and rows else Cursor(offset=start.offset + len(rows))
        return Page(await self._items([row for _, row in rows]), total, str(following) if more and rows else None)

    async def all(
        self, where: Filter | None = None, *, after: datetime | None = None, before: datetime | None = None
    ) -> AsyncIterator[R]:
        """Every record that matches, newest first, in its list view; made at `after` or later, and before `before`.

        Records may be written and deleted meanwhile: each that is there all the time comes once.
        """
        how = plan(self.schema, self.columns, _wanted(where), "created_at")
        end = first_key(after) if after else ""
        place = Cursor(0, first_key(before) if before else "")
        while True:
            rows = await self._reader.rows(how, place, _CHUNK, end)
            for record in await self._items([row for _, row in rows]):
                yield record
            if len(rows) < _CHUNK:
                return
            place = rows[-1][0]

    @property
    def _reader(self) -> Reader:
        return Reader(client().wire, self.table, self.partition, self.columns.select)

    async def _items(self, rows: list[Row]) -> list[R]:
        """The records of these rows; one whose list view does not fit in its row is read whole."""
        items = [self.columns.decode(row) for row in rows]
        short = [place for place, row in enumerate(rows) if self.columns.partial(row)]
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
        """How many records match; at once where a counter is declared, else a thousand keys a call."""
        return await self._total(plan(self.schema, self.columns, _wanted(where), "created_at"))

    async def totals(self) -> Totals:
        """All declared counts and sums of this partition."""
        totals = Totals(self.schema.groups, self.columns.all)
        await self._add(totals, "c~")
        return totals

    async def history(self, start: datetime, end: datetime) -> list[Hour]:
        """What was created in each hour that begins before `end`, from the hour of `start` on; empty ones too."""
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
