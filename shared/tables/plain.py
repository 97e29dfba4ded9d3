"""Plain collections: one row a record, and lists that read the partition and filter and sort it in memory."""

import secrets
import sys
import zlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Never, Unpack

from shared.tables import bulk, memory
from shared.tables.batch import MAX_OPERATIONS, Operation, encode
from shared.tables.client import client
from shared.tables.collection import Collection
from shared.tables.columns import WITHOUT, R
from shared.tables.errors import MissingIndex, RefusedWrite, ServiceRefused, TooManyRecords
from shared.tables.page import Asked, Filter, Page, PageOptions, Place, directions
from shared.tables.ranges import Between, bounds, moments, within
from shared.tables.reading import Reader
from shared.tables.removal import remove
from shared.tables.schema import RECORDS
from shared.tables.stored import WRITES, Stored
from shared.tables.wire import Row, Unanswered

_REMEMBERED = 20
"""The last writes that a row names. After more writes than these, a write would no longer be recognised as stored."""

_GONE, _EXISTS, _CHANGED = 404, 409, 412


class PlainCollection(Collection[R]):
    """A collection declared with `plain=True`."""

    def check(self) -> None:
        if self.columns.numbered:
            raise ValueError(f"{self.table}: numbers need a counted collection, which has one writer a process")
        if self.schema.indexes or self.schema.sums or len(self.schema.groups) > 1:
            raise ValueError(f"{self.table}: a plain collection has no indexes, counters, sums or orders")
        if self.schema.unique and self.spread > 1:
            raise ValueError(f"{self.table}: a collection that is spread has no unique fields")
        if not 1 <= self.spread <= 256:
            raise ValueError(f"{self.table}: a collection is spread over 1 to 256 partitions")

    def partition_of(self, key: str) -> str:
        return self.partition if self.spread == 1 else f"{self.partition}~{zlib.crc32(key.encode()) % self.spread:02x}"

    # Writing

    async def commit(self, stored: Stored[R] | None, new: tuple[R, Row] | None) -> str | None:
        # Each write puts a mark of its own into the row, by which it is recognised after a lost response.
        mark = secrets.token_hex(4)
        if new is not None:
            earlier = str(stored.row.get(WRITES, "")).split(",") if stored else []
            new[1][WRITES] = ",".join(filter(None, [mark, *earlier[: _REMEMBERED - 1]]))
            columns = {name: value for name, value in new[1].items() if name != "RowKey"}
            record = self.record_operation(stored, new[1]["RowKey"], columns)
        else:
            assert stored is not None
            record = Operation("DELETE", stored.row["RowKey"], etag=stored.etag)
        operations = [record, *self.schema.changes(stored.state if stored else None, new)]
        partition = self.partition_of(record.row_key[len(RECORDS.prefix) :])
        wire = client().wire
        attempts = wire.attempts()
        while True:
            try:
                if len(operations) == 1:
                    return await wire.write(self.table, partition, record)
                url = f"{wire.url}/{self.table}"
                return (await wire.transact(self.table, encode(operations, url, partition)))[0]
            except Unanswered as error:
                await attempts.again(error)
            except ServiceRefused as error:
                if error.status not in (_GONE, _EXISTS, _CHANGED):
                    raise
                refused = operations[error.index or 0]
                if refused is record:
                    landed, etag = False, None
                    if attempts.failed:
                        landed, etag = await self._landed(record, partition, mark, error)
                    if landed:
                        return etag
                elif refused.verb == "DELETE" and error.status == _GONE:
                    operations.remove(refused)  # a lost unique row: nothing is left to delete
                    continue
                raise RefusedWrite(refused.verb, refused.row_key, error) from error

    async def _landed(
        self, record: Operation, partition: str, mark: str, error: ServiceRefused
    ) -> tuple[bool, str | None]:
        """Whether an earlier attempt of a write is stored, and the record's ETag if no other write followed."""
        if record.verb == "DELETE":
            return error.status == _GONE, None
        found = await client().wire.get(self.table, partition, record.row_key, select=WRITES)
        marks = str(found[0].get(WRITES)).split(",") if found else []
        return mark in marks, found[1] if found and mark == marks[0] else None

    async def remove(self, stored: list[Stored[R]]) -> list[bool]:
        waiting: dict[str, list[Stored[R]]] = {}
        for own in stored:
            waiting.setdefault(self.partition_of(own.row["RowKey"][len(RECORDS.prefix) :]), []).append(own)
        size = MAX_OPERATIONS // (1 + len(self.schema.unique))
        done: set[str] = set()
        for partition, together in waiting.items():
            for first in range(0, len(together), size):
                done |= await remove(self.schema, partition, together[first : first + size])
        return [own.record.id in done for own in stored]

    async def store(self, records: Iterable[R], without: Iterable[str] = ()) -> None:
        """Store records in place of whatever is stored under their ids, and delete those with the ids `without`.

        For many records whose ids follow from what they are about, as in an import: a repeat leaves the same state.
        A hundred rows are one transaction, all of it or nothing; of more than that, some may be stored when the call
        fails. Whatever another writer has just changed is replaced too. `Unstorable`, `StorageUnavailable`;
        `MissingIndex` when the collection has unique fields or is spread.

        Cost: 1 transaction for each 100 records, or 4 MiB.
        """
        if self.schema.unique or self.spread > 1:
            raise MissingIndex(f"{self.table} has unique fields or several partitions: its records are stored singly")
        row_key, operations = self.columns.form.row_key, list[Operation]()
        for record in records:
            row, _ = await self._encode(record, row_key(record.id) or "", None)
            key = row.pop("RowKey")
            operations.append(Operation("PUT", key, self.columns.typed(row)))
        operations += [Operation("DELETE", f"{RECORDS.prefix}{row_key(gone)}", etag="*") for gone in without]
        await bulk.write(self.table, self.partition, operations)

    # Lists

    async def ids(self, where: Filter | None) -> AsyncIterator[list[str]]:
        async for found, _ in self._chunks(where, [], select=_select(where)):
            yield [record.id for record in found]

    async def slice(self, asked: Asked) -> Page[R]:
        fields = directions(asked.order, asked.descending)
        found: list[R] = []
        partial: set[str] = set()
        chunks = self._chunks(asked.where, [name for name, _ in fields], fields[0][0], asked.between, bounded=True)
        async for records, more in chunks:
            found += records
            partial |= more
        return await self._cut(found, partial, fields, asked)

    async def _cut(self, found: list[R], partial: set[str], fields: list[tuple[str, bool]], asked: Asked) -> Page[R]:
        """The part of these records that is asked for, sorted by these fields, with their long texts."""
        offset, limit = Place.offset_of(asked.cursor) if asked.cursor else asked.offset, asked.limit
        memory.sort(found, fields)
        items = found[offset : offset + limit]
        if asked.check:
            asked.check(items)
        await self.complete(items, partial)
        end = offset + len(items)
        return Page(items, str(Place(offset=end)) if items and end < len(found) else None, total=len(found))

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
        if order != "created_at":
            asked = Asked(where, between, limit=sys.maxsize, order=order)
            for record in (await self.slice(asked)).items:
                yield record
            return
        async for found, partial in self._chunks(where, [], order, between):
            await self.complete(found, partial)
            for record in found:
                yield record

    async def count(
        self, where: Filter | None = None, *, order: str = "created_at", between: Between | None = None
    ) -> int:
        select = _select(where, order if between else "created_at")
        return sum([len(found) async for found, _ in self._chunks(where, [], order, between, select=select)])

    async def _chunks(
        self,
        where: Filter | None,
        sorted_by: list[str],
        order: str = "created_at",
        between: Between | None = None,
        *,
        select: str = "",
        bounded: bool = False,
    ) -> AsyncIterator[tuple[list[R], set[str]]]:
        """All records that match, those of one query at a time, and the ids of those that lack their long texts.

        A record is read whole when it is to be filtered or sorted by a long text. `bounded` by `max_records`.
        """
        needed = {*(where or {}), *sorted_by, *([order] if between else [])}
        self._check_fields([*needed])
        start, end, inside = "", "", None
        if between and order == self.columns.form.order:
            start, end = bounds(self.columns, order, between)
        elif between:
            inside = within(self.columns, order, between)
        async for rows in self._pages(select or self.columns.select, bounded, start, end):
            long = self.columns.partial(rows)
            records = self.columns.readable(rows)
            read = {record_id for record_id, names in long.items() if not needed.isdisjoint(names)}
            await self.complete(records, read)
            partial = long.keys() - read
            found = memory.matching(records, where)
            yield [*filter(inside, found)] if inside else found, partial

    # Whole records

    async def scan(self, where: Filter | None = None, *, most: int | None = None) -> AsyncIterator[R]:
        async for found, _ in self._whole(where, {*self.columns.all}, most=most):
            for record in found:
                yield record

    async def search(
        self,
        text: str,
        fields: Sequence[str],
        where: Filter | None = None,
        *,
        between: Between | None = None,
        **part: Unpack[PageOptions],
    ) -> Page[R]:
        if unknown := sorted({*fields} - self.columns.all.keys()):
            raise MissingIndex(f"{self.table} has no {', '.join(unknown)} to search")
        asked, folded = Asked(between=between, **part), text.casefold()
        sorted_by = directions(asked.order, asked.descending)
        names = [name for name, _ in sorted_by]
        self._check_fields(names)
        inside = within(self.columns, names[0], asked.between) if asked.between else None
        found: list[R] = []
        partial: set[str] = set()
        async for records, more in self._whole(where, {*fields, *names}, bounded=True):
            records = [*filter(inside, records)] if inside else records
            found += [record for record in records if memory.holds(record, folded, fields)]
            partial |= more
        return await self._cut(found, partial, sorted_by, asked)

    async def _whole(
        self, where: Filter | None, fields: set[str], *, bounded: bool = False, most: int | None = None
    ) -> AsyncIterator[tuple[list[R], set[str]]]:
        """The records that match, with the long texts of these fields; and the ids of those that lack another one."""
        self._check_fields([*(where or {})])
        async for rows in self._pages("", bounded, most=most):
            long = {row["RowKey"]: {**row} for row in rows if row.get(WITHOUT)}
            long = dict(zip(self.columns.form.texts([*long]), long.values(), strict=True))
            records = self.columns.readable(rows)
            await self.fill(records, long, {*(where or {})})
            found = memory.matching(records, where)
            await self.fill(found, long, fields)
            yield found, {*long}

    async def _pages(
        self, select: str, bounded: bool, start: str = "", end: str = "", most: int | None = None
    ) -> AsyncIterator[list[Row]]:
        count = 0
        async for rows in self._reader.pages(RECORDS.prefix, start=start, end=end, select=select, top=most):
            count += len(rows)
            if bounded and count > self.max_records:
                raise TooManyRecords(f"{self.table} has over {self.max_records} records in {self.partition}")
            yield rows

    @property
    def _reader(self) -> Reader:
        return Reader(client().wire, self.table, self.partition, "", spread=self.spread > 1)

    def _check_fields(self, names: list[str]) -> None:
        for name in names:
            if name not in self.columns.all or not self.columns.all[name].scalar:
                raise MissingIndex(f"{self.table} has no plain value {name} to filter or sort by")
            if name not in self.columns.view and name != "created_at":  # which follows from the id
                raise MissingIndex(f"{self.table} has no {name} in its list view")

    # What needs counters

    async def totals(self, where: Mapping[str, object] | None = None) -> Never:
        self._refuse("totals")

    async def history(self, start: datetime, end: datetime) -> Never:
        self._refuse("a history")

    async def rebuild(self) -> Never:
        self._refuse("index rows and counters to rebuild")

    def _refuse(self, what: str) -> Never:
        raise MissingIndex(f"{self.table} is a plain collection, which has no {what}")


def _select(where: Filter | None, order: str = "created_at") -> str:
    """The columns for telling which records match. A range of `created_at` needs none: it is one of ids."""
    names = {*(where or {}), *([order] if order != "created_at" else [])}
    return ",".join(["RowKey", *sorted(names), *([WITHOUT] if names else [])])
