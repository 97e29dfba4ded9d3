"""The declaration of a collection and the reading of one record: what both kinds of collection share."""

import asyncio
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Sequence
from typing import Any, Generic, Self

from shared.tables import keys, spill
from shared.tables.cells import GENERATION
from shared.tables.client import client
from shared.tables.columns import WITHOUT, Columns, R
from shared.tables.errors import MissingIndex, RecordNotFound, StorageUnavailable, TextLost, Unreadable
from shared.tables.schema import ORIGIN, RECORDS, Names, Schema
from shared.tables.wire import Row

log = logging.getLogger(__name__)

WRITES = "_writes"
"""The column of a plain record that names its last writes, newest first."""

_ATTEMPTS = 50
_AT_ONCE = 16
"""Records with a long text that a list reads whole side by side."""

collections: dict[str, Any] = {}
"""All collections that have been declared, by table, for maintenance."""


class Stored(Generic[R]):
    """A record with the row it was read from."""

    def __init__(self, record: R, row: Row, texts: dict[str, str], etag: str):
        self.record, self.row, self.texts, self.etag = record, row, texts, etag

    @property
    def state(self) -> tuple[R, Row]:
        """The record and its columns, as the schema compares them."""
        return self.record, self.row

    @property
    def columns(self) -> Row:
        """The columns that come from the record, without those that this library adds about its writes."""
        return {name: value for name, value in self.row.items() if name not in (GENERATION, ORIGIN, WRITES)}


class Records(Generic[R]):
    """The records of one model in one partition. `Collection` documents the arguments."""

    def __init__(
        self,
        table: str,
        model: type[R],
        *,
        plain: bool = False,
        spread: int = 1,
        max_records: int = 10_000,
        bounded: bool = False,
        indexes: Sequence[Names] = (),
        unique: Sequence[str] = (),
        counters: Sequence[Names] = (),
        sums: Sequence[str] = (),
        sums_by: Sequence[Names] = (),
        orders: Sequence[Names] = (),
        view: Sequence[str] | None = None,
    ):
        self.table, self.model, self.spread, self.max_records = table, model, spread, max_records
        self.bounded = bounded
        if view is None and plain:
            view = list(model.model_fields)
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
        self.check()
        self.partition = "all"
        collections[table] = self

    @abstractmethod
    def check(self) -> None:
        """Raise ValueError when the declaration does not suit this kind of collection."""

    @abstractmethod
    def partition_of(self, key: str) -> str:
        """The partition in which the record with this key is stored."""

    def of(self, tenant: str) -> Self:
        """The same collection in another partition."""
        return self.at(keys.encode(tenant))

    def at(self, partition: str) -> Self:
        """The same collection in the partition that `partition` names there."""
        other = self._copy()
        other.partition = partition
        return other

    async def partitions(self) -> AsyncIterator[Self]:
        """The same collection in each of its partitions that has any row.

        Cost (both kinds): a query of 1 row for each partition, and one that finds no more.
        """
        last = token = ""
        while True:
            condition = f"PartitionKey gt '{last}'"
            rows, token = await client().wire.query(self.table, condition, select="PartitionKey", top=1, after=token)
            if rows:
                partition, token = rows[0]["PartitionKey"], ""
                if self.spread > 1:  # `partition_of` names the partitions of a tenant
                    partition = partition.partition("~")[0]
                yield self.at(partition)
                last = f"{partition}~{keys.END}" if self.spread > 1 else partition
            elif not token:
                return

    def _copy(self) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    # Reading one record

    async def read(self, record_id: str, *, damaged: bool = False) -> Stored[R]:
        """A record with its row; `RecordNotFound`, `Unreadable`, `TextLost`.

        If `damaged`, so is one of which a value cannot be read or a text is lost: these fields are None.
        One point read, and one of each text that is kept as a blob.
        """
        row, texts, etag = await self._find(record_id, damaged=damaged)
        record = self.columns.decode([{**row, **texts}], damaged=damaged)[0]
        record.stamp(etag, (row, texts))
        return Stored(record, row, texts, etag)

    async def _find(self, record_id: str, *, damaged: bool = False) -> tuple[Row, dict[str, str], str]:
        """The row of a record, its long texts and its ETag, as `read` finds them."""
        key, before = self.columns.form.row_key(record_id), ""
        for _ in range(_ATTEMPTS if key else 0):
            found = await client().wire.get(self.table, self.partition_of(key or ""), f"{RECORDS.prefix}{key}")
            if found is None:
                break
            row, etag = found
            del row["PartitionKey"], row["Timestamp"]
            texts = await spill.load(row)
            if texts is None and etag != before:
                before = etag
                continue  # an update may have replaced the blob since the row was read; then it has replaced the row
            if texts is None and damaged:
                texts = await spill.load(row, damaged=True)
            if texts is None:
                raise TextLost(f"{self.table}: the long texts of {record_id} are missing")
            return row, texts, etag
        else:
            if key:
                raise StorageUnavailable(f"{self.table} {record_id} changes all the time")
        raise RecordNotFound(self.model.__name__, record_id)

    def known(self, record: R) -> Stored[R] | None:
        """A record as it was read or written, whatever was changed in it since; None when it came from a list."""
        found = getattr(record, "_row", None)
        if found is None or record.etag is None:
            return None
        row, texts = found
        return Stored(self.columns.decode([{**row, **texts}])[0], row, texts, record.etag)

    def listed(self, row: Row) -> Stored[R] | None:
        """A record, perhaps damaged, from a row listed with its ETag; None when a long text is not in the columns."""
        if row.get(WITHOUT):
            return None
        own = {name: value for name, value in row.items() if "@" not in name and "." not in name and value is not None}
        del own["PartitionKey"], own["Timestamp"]
        return Stored(self.columns.decode([dict(own)], damaged=True)[0], own, {}, row["odata.etag"])

    async def fill(self, records: list[R], long: dict[str, Row], fields: set[str]) -> None:
        """Put whole records in the places of those that lack a long text of these fields.

        `long` are their rows by id; those that are done are taken out. Texts in blobs are read 16 records at a time.
        """

        async def whole(record: R) -> R:
            row = long.pop(record.id)
            texts = await spill.load(row)
            if texts is not None:
                return self.columns.decode([{**row, **texts}])[0]
            return await self.get(record.id)  # an update has replaced the blob since the row was read

        def lacks(record: R) -> bool:
            return record.id in long and not fields.isdisjoint(long[record.id][WITHOUT].split(","))

        await self._replace(records, [place for place, record in enumerate(records) if lacks(record)], whole)

    async def complete(self, records: list[R], ids: Container[str]) -> None:
        """Put records with all fields of the list view in the places of those with these ids, reading 16 at a time.

        The other fields are not even decoded: of one record that may take a tenth of a second, in which all wait.
        """
        shown = {"RowKey", *self.columns.view}

        async def whole(record: R) -> R:
            row, texts, _ = await self._find(record.id)
            return self.columns.decode([{name: v for name, v in (row | texts).items() if name in shown}])[0]

        await self._replace(records, [place for place, record in enumerate(records) if record.id in ids], whole)

    async def _replace(self, records: list[R], places: list[int], whole: Callable[[R], Awaitable[R]]) -> None:
        """Replace the records at these places; the list's record stays where it was deleted since, or is damaged."""

        async def replace(place: int) -> None:
            try:
                records[place] = await whole(records[place])
            except RecordNotFound:
                pass
            except (TextLost, Unreadable) as error:
                log.error("listed without its long texts: %s", error)

        for first in range(0, len(places), _AT_ONCE):
            await asyncio.gather(*map(replace, places[first : first + _AT_ONCE]))

    async def get(self, record_id: str) -> R:
        """The record with this id; `RecordNotFound`, without a call when the text is not an id of this model.

        `Unreadable` and `TextLost` when it is damaged.

        Cost (both kinds): 1 point read, and 1 blob read for each text that is kept as a blob.
        """
        return (await self.read(record_id)).record

    async def find(self, field: str, value: object) -> R:
        """The record with this value of a unique field; `RecordNotFound`, `MissingIndex`.

        Cost (both kinds): 2 point reads.
        """
        if field not in self.schema.unique:
            raise MissingIndex(f"{self.table} does not declare {field} as unique")
        key = self.schema.unique_key(field, value)
        found = await client().wire.get(self.table, self.partition, key) if value is not None else None
        if found is None:
            raise RecordNotFound(self.model.__name__, f"{field}={value}")
        record = await self.get(found[0]["id"])
        if getattr(record, field) != value:
            raise RecordNotFound(self.model.__name__, f"{field}={value}")
        return record
