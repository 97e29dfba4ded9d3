"""Reading and writing one record at a time, with everything that changes together with it."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, Self

from shared import blobs
from shared.ids import row_key
from shared.tables import keys, spill
from shared.tables.batch import Operation
from shared.tables.cells import GENERATION
from shared.tables.client import client
from shared.tables.columns import Columns, R
from shared.tables.commit import Committer, RefusedWrite, Write
from shared.tables.errors import Conflict, NotFound, PreconditionFailed, Unavailable
from shared.tables.schema import RECORDS, Names, Schema
from shared.tables.wire import Row

_ATTEMPTS = 50

collections: dict[str, Any] = {}
"""All collections that have been declared, by their tables, for those who look after all of them."""


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
        """The row without its generation, as one that is to be written."""
        return {name: value for name, value in self.row.items() if name != GENERATION}


class Records(Generic[R]):
    """The records of one model in one partition; the arguments are those of `Collection`."""

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
        collections[table] = self

    def of(self, tenant: str) -> Self:
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
            record = self.columns.decode([{**row, **texts}])[0]
            record._etag = etag  # pyright: ignore[reportPrivateUsage]
            return Stored(record, row, texts, etag)
        raise NotFound(self.model.__name__, record_id)

    async def get(self, record_id: str) -> R:
        """The record of this id; `NotFound`, also for what is no id. One point read, as `read`."""
        return (await self.read(record_id)).record

    async def find(self, field: str, value: object) -> R:
        """The record with this value of a unique field; `NotFound`. Two point reads."""
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

        One transaction, shared with other writes that wait: the record, a row for each index, order and unique field,
        and the counter rows: that of the partition, that of the hour, and one for each counter by fields of any value.
        A counter row is read once by each process.
        """
        key = row_key(record.id)
        if key is None:
            raise ValueError(f"{record.id} is no UUID")
        if not record.id.islower():
            record.id = record.id.lower()
        if record.updated_at < record.created_at:
            record.updated_at = record.created_at
        row, written = await self._encode(record, key, None)
        try:
            etags = await self.committer.write(lambda generation: self.rewrite(None, record, row, generation))
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

        One point read and one transaction: the rows of `insert` that change, two where an indexed value does.
        """
        async with client().lock(self.table, self.partition, record_id.lower()):
            for _ in range(_ATTEMPTS):
                stored = await self.read(record_id)
                self._match(stored, if_match)
                new = self.columns.decode([{**stored.row, **stored.texts}])[0]
                result = change(new)
                new = new if result is None else result
                new.id, new.created_at = stored.record.id, stored.record.created_at
                new.updated_at = stored.record.updated_at
                row, written = await self._encode(new, row_key(new.id) or "", stored)
                if row == stored.columns:
                    return stored.record
                new.updated_at = max(datetime.now(UTC), stored.record.updated_at)
                row["updated_at"] = self.columns.encode(new)["updated_at"]
                dropped = spill.blobs_of(stored.row) - spill.blobs_of(row)
                try:
                    etags = await self.committer.write(
                        lambda generation, s=stored, n=new, r=row: self.rewrite(s, n, r, generation)
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
        """Delete a record with all that belongs to it; `NotFound`, `PreconditionFailed`.

        One point read and one transaction of the rows of `insert`.
        """
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
        texts = spill.long_texts(row, self.columns.texts)
        written: list[str] = []
        if texts:
            folder = f"{self.table}/{self.partition}/{record.id}"
            old, old_texts = (stored.row, stored.texts) if stored else ({}, {})
            columns, written = await spill.store(folder, texts, old, old_texts)
            row |= columns
        row["RowKey"] = RECORDS.prefix + key
        return row, written

    def rewrite(self, stored: Stored[R] | None, new: R, row: Row, generation: int) -> Write:
        """The operations, the record's first, that bring a record from what is stored to a new state."""
        columns = {name: value for name, value in row.items() if name != "RowKey"}
        if generation:
            columns[GENERATION] = str(generation)
        typed = self.columns.typed(columns)
        if stored is None:
            record = Operation("POST", row["RowKey"], typed)
        elif stored.row.keys() - {"RowKey"} <= columns.keys():
            changed = {name for name, value in columns.items() if stored.row.get(name) != value}
            kept = {name: value for name, value in typed.items() if name.partition("@")[0] in changed}
            record = Operation("PATCH", row["RowKey"], kept, stored.etag)
        else:  # a merge cannot take a column away
            record = Operation("PUT", row["RowKey"], typed, stored.etag)
        old = stored.state if stored else None
        return [record, *self.schema.changes(old, (new, columns))], self.schema.delta(old, (new, columns))

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
