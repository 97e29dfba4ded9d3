"""Plain collections: one row a record, and lists that read the partition and filter and sort it in memory."""

import secrets
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Never, cast

from shared.tables import keys
from shared.tables.batch import Operation
from shared.tables.client import client
from shared.tables.collection import Collection
from shared.tables.columns import WITHOUT, R
from shared.tables.errors import BadCursor, MissingIndex, RefusedWrite, ServiceRefused, TooManyRecords
from shared.tables.ids import first_key
from shared.tables.page import Filter, Order, Page, Place, directions, values_of
from shared.tables.reading import Reader
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
            row = {**new[1], WRITES: ",".join(filter(None, [mark, *earlier[: _REMEMBERED - 1]]))}
            record = self.record_operation(stored, row)
        else:
            assert stored is not None
            record = Operation("DELETE", stored.row["RowKey"], etag=stored.etag)
        operations = [record, *self.schema.changes(stored.state if stored else None, new)]
        partition = self.partition_of(record.row_key[len(RECORDS.prefix) :])
        wire, attempt = client().wire, 0
        while True:
            try:
                if len(operations) == 1:
                    return await wire.write(self.table, partition, record)
                url = f"{wire.url}/{self.table}"
                return (await wire.transact(self.table, [part.encode(url, partition) for part in operations]))[0]
            except Unanswered as error:
                await wire.wait(attempt, error)
                attempt += 1
            except ServiceRefused as error:
                if error.status not in (_GONE, _EXISTS, _CHANGED):
                    raise
                refused = operations[error.index or 0]
                if refused is record:
                    landed, etag = await self._landed(record, partition, mark, error) if attempt else (False, None)
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

    # Lists

    async def page(
        self,
        where: Filter | None = None,
        *,
        limit: int = 50,
        offset: int = 0,
        order: Order = "created_at",
        descending: bool = True,
        cursor: str | None = None,
        holding: tuple[str, Sequence[str]] | None = None,
    ) -> Page[R]:
        """As in `Collection`; with `holding=(text, fields)`, only records one of whose fields contains the text."""
        fields = directions(order, descending)
        text, searched = (holding[0].casefold(), holding[1]) if holding else ("", ())
        names = [*(name for name, _ in fields), *searched]
        self._check_fields([name for name, _ in fields])
        if cursor:
            place = Place.parse(cursor)
            if place.start:
                raise BadCursor(f"{cursor!r} is a cursor of another list")
            offset = place.offset
        found: list[R] = []
        partial: set[str] = set()
        read = 0
        async for records, more in self._chunks(where, names):
            read += len(records)
            if read > self.max_records:
                raise TooManyRecords(f"{self.table} has over {self.max_records} records in {self.partition}")
            matching = self._matching(records, where)
            found += [record for record in matching if _holds(record, text, searched)] if holding else matching
            partial |= more
        found.sort(key=lambda record: record.id, reverse=fields[-1][1])
        for name, high_to_low in reversed(fields):
            if name != "created_at":
                found.sort(key=lambda record, name=name: _rank(getattr(record, name)), reverse=high_to_low)
        items = found[offset : offset + limit]
        await self.complete(items, [place for place, record in enumerate(items) if record.id in partial])
        end = offset + len(items)
        return Page(items, len(found), str(Place(offset=end)) if items and end < len(found) else None)

    async def all(
        self, where: Filter | None = None, *, after: datetime | None = None, before: datetime | None = None
    ) -> AsyncIterator[R]:
        async for records, partial in self._chunks(where, [], after=after, before=before):
            found = self._matching(records, where)
            await self.complete(found, [place for place, record in enumerate(found) if record.id in partial])
            for record in found:
                yield record

    async def count(self, where: Filter | None = None) -> int:
        select = ",".join(["RowKey", *(where or {}), *([WITHOUT] if where else [])])
        chunks = self._chunks(where, [], select=select)
        return sum([len(self._matching(records, where)) async for records, _ in chunks])

    async def _chunks(
        self,
        where: Filter | None,
        sorted_by: list[str],
        *,
        after: datetime | None = None,
        before: datetime | None = None,
        select: str = "",
    ) -> AsyncIterator[tuple[list[R], set[str]]]:
        """All records, those of one query at a time, with the ids of those whose long texts have not been read.

        A record is read whole when it is to be filtered or sorted by a long text.
        """
        self._check_fields([*(where or {})])
        needed = {*(where or {}), *sorted_by}
        reader = Reader(client().wire, self.table, self.partition, "", spread=self.spread > 1)
        start, end = first_key(before) if before else "", first_key(after) if after else ""
        async for rows in reader.pages(RECORDS.prefix, start=start, end=end, select=select or self.columns.select):
            long = {place: row[WITHOUT].split(",") for place, row in enumerate(rows) if self.columns.partial(row)}
            records = self.columns.decode(rows)
            read = [place for place, names in long.items() if not needed.isdisjoint(names)]
            await self.complete(records, read)
            yield records, {records[place].id for place in long.keys() - set(read)}

    def _check_fields(self, names: list[str]) -> None:
        for name in names:
            if name not in self.columns.all or not self.columns.all[name].scalar:
                raise MissingIndex(f"{self.table} has no plain value {name} to filter or sort by")
            if name not in self.columns.view and name != "created_at":  # which follows from the id
                raise MissingIndex(f"{self.table} has no {name} in its list view")

    def _matching(self, records: list[R], where: Filter | None) -> list[R]:
        """The records with one of the wanted values in each field. Values are compared as in the keys of index rows."""
        wanted = [(name, {keys.encode(value) for value in values}) for name, values in values_of(where).items()]
        for name, texts in wanted:
            records = [record for record in records if keys.encode(getattr(record, name)) in texts]
        return records

    # What needs counters

    async def totals(self, where: Mapping[str, object] | None = None) -> Never:
        self._refuse("totals")

    async def history(self, start: datetime, end: datetime) -> Never:
        self._refuse("a history")

    async def rebuild(self) -> Never:
        self._refuse("index rows and counters to rebuild")

    def _refuse(self, what: str) -> Never:
        raise MissingIndex(f"{self.table} is a plain collection, which has no {what}")


def _holds(record: Any, text: str, fields: Sequence[str]) -> bool:
    """Whether one of these fields, a text or a list of texts, contains a case-folded text."""
    for name in fields:
        value: Any = getattr(record, name)
        parts = cast("list[Any]", value) if isinstance(value, list) else [value]
        if any(text in str(part).casefold() for part in parts if part is not None):
            return True
    return False


def _rank(value: Any) -> tuple[Any, ...]:
    """The sort key of a value: None and NaN are lowest, texts are compared without regard to case, then with."""
    if value is None or value != value:
        return (0,)
    if isinstance(value, Enum):
        value = value.value
    return (1, value.casefold(), value) if isinstance(value, str) else (1, value)
