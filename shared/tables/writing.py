"""Writing one record: what both kinds of collection share."""

import asyncio
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from shared.tables import keys, spill
from shared.tables.batch import MAX_OPERATIONS, Operation
from shared.tables.client import client
from shared.tables.columns import WITHOUT, R, moment
from shared.tables.errors import (
    MissingIndex,
    RecordChanged,
    RecordConflict,
    RecordNotFound,
    RefusedWrite,
    StorageUnavailable,
)
from shared.tables.memory import matching
from shared.tables.page import Filter
from shared.tables.schema import RECORDS
from shared.tables.stored import Records, Stored
from shared.tables.wire import Row

log = logging.getLogger(__name__)

_ATTEMPTS = 50


class WritableRecords(Records[R]):
    """The records of one partition with the methods that change them."""

    @abstractmethod
    def ids(self, where: Filter | None) -> AsyncIterator[list[str]]:
        """The ids of the records that match, those of one query at a time."""

    @abstractmethod
    async def remove(self, stored: list[Stored[R]]) -> list[bool]:
        """Delete records in as few transactions as possible; False for each that has another state by now."""

    @abstractmethod
    async def commit(self, stored: Stored[R] | None, new: tuple[R, Row] | None) -> str | None:
        """Write a new state in place of the stored one; returns the new ETag, None when it is not known.

        Columns that the collection adds are added to the row of the new state.
        Raises `RefusedWrite` when the table has another state by now, `StorageUnavailable`, `Unstorable`.
        """

    async def insert(self, record: R) -> R:
        """Store a new record. `RecordConflict` when its id or the value of a unique field is taken; `Unstorable`.

        Repeating an insert is harmless: when a record with the same id and the same `created_at` is stored, it is
        returned as it is stored.

        Cost, counted: 1 transaction, shared with other writes that wait at the moment. It holds the record, a row for
        each index, order and unique field, and the counter rows: that of the partition, that of the hour, and one for
        each counter by fields of any value. A process reads each counter row once.
        Cost, plain: 1 insert of 1 row; with unique fields 1 transaction of the record and a row for each of them.
        """
        return await self.insert_with(record, {})

    async def insert_with(self, record: R, mark: Row) -> R:
        """`insert`, with columns of this library in the record's row."""
        key = self.columns.form.row_key(record.id) or ""
        if key:
            (text,) = self.columns.form.texts([key])
            if record.id != text:  # it was given in upper case
                record.id = text
        elif record.id or not self.columns.numbered:
            raise ValueError(f"{record.id} is not an id of {self.model.__name__}")
        if record.updated_at < record.created_at:
            record.updated_at = record.created_at
        row, written = await self._encode(record, key, None)
        row |= mark
        try:
            etag = await self.commit(None, (record, row))
        except RefusedWrite as error:
            await self._discard(written)
            return await self._repeated(record, error)
        except Exception as error:
            if not isinstance(error, StorageUnavailable):  # then the stored row may name these blobs
                await self._discard(written)
            raise
        return await self._stamped(record, etag, row)

    async def _repeated(self, record: R, error: RefusedWrite) -> R:
        try:
            stored = await self.get(record.id)
        except RecordNotFound:
            raise self._taken(error) from error
        if stored.created_at == keys.utc(record.created_at):
            return stored
        raise RecordConflict(f"{self.table} has another record {record.id}", "id") from error

    def _taken(self, error: RefusedWrite) -> Exception:
        kind, _, rest = error.row_key.partition("~")
        if kind == "u" and error.status == 409:
            field = rest.partition("~")[0]
            return RecordConflict(f"{self.table}: this {field} is taken", field)
        return error

    async def update(
        self, record: str | R, change: Callable[[R], R | None], *, if_match: str | None = None, touch: bool = True
    ) -> R:
        """Read a record, let `change` alter it (or return another one), write it. A conflict starts all over.

        `record` is its id, or the record as `get`, `insert` or `update` has returned it: then the first attempt needs
        no read. It may be out of date, so a `change` that raises or changes nothing is decided by a second attempt.

        What `change` raises passes through, and nothing is written; neither is a record that `change` leaves as it
        was. With `touch=False` the record's `updated_at` stays as it is. `if_match` is the version that the record must
        have: `RecordChanged`. `RecordNotFound`; `RecordConflict` when the value of a unique field is taken;
        `Unstorable`.

        Cost, counted: 1 point read and 1 transaction of those rows of `insert` that change; a changed value of an
        indexed field changes two. Cost, plain: 1 point read and 1 write of 1 row; with a changed value of a unique
        field 1 transaction of three rows. Given a record: the same without the point read, if anything is written.
        """
        record_id, known = (record, None) if isinstance(record, str) else (record.id, self.known(record))
        async with client().lock(self.table, self.partition, record_id.lower()):
            for _ in range(_ATTEMPTS):
                fresh = known is None
                stored, known = known or await self.read(record_id), None
                # Of the stored record only plain values are used below, which a change of the copy leaves as they are.
                new = stored.record.model_copy()
                try:
                    self._match(stored, if_match)
                    result = change(new)
                except Exception:
                    if fresh:
                        raise
                    continue
                new = new if result is None else result
                new.id, new.created_at = stored.record.id, stored.record.created_at
                new.updated_at = stored.record.updated_at
                row, written = await self._encode(new, stored.row["RowKey"][len(RECORDS.prefix) :], stored)
                if row == stored.columns:
                    if fresh:
                        return stored.record
                    continue
                if touch:
                    new.updated_at = max(datetime.now(UTC), stored.record.updated_at)
                    row["updated_at"] = moment(new.updated_at)
                try:
                    etag = await self.commit(stored, (new, row))
                except RefusedWrite as error:
                    await self._discard(written)
                    if error.row_key.startswith(RECORDS.prefix):
                        continue
                    raise self._taken(error) from error
                await self._discard(spill.blobs_of(stored.row) - spill.blobs_of(row))
                return await self._stamped(new, etag, row)
        raise StorageUnavailable(f"{self.table} {record_id} changes all the time")

    async def delete(self, record_id: str, *, if_match: str | None = None) -> None:
        """Delete a record, even a damaged one, with all that belongs to it.

        `RecordNotFound`; `RecordChanged` as in `update`.

        Cost, counted: 1 point read and 1 transaction of the rows of `insert`. Cost, plain: 1 point read and 1 delete
        of 1 row; with unique fields 1 transaction.
        """
        async with client().lock(self.table, self.partition, record_id.lower()):
            for _ in range(_ATTEMPTS):
                stored = await self.read(record_id, damaged=True)
                self._match(stored, if_match)
                try:
                    await self.commit(stored, None)
                except RefusedWrite as error:
                    if error.row_key.startswith(RECORDS.prefix):
                        continue
                    raise
                await self._discard(spill.blobs_of(stored.row))
                return
        raise StorageUnavailable(f"{self.table} {record_id} changes all the time")

    async def put(self, field: str, value: object, change: Callable[[R], R | None], make: Callable[[], R]) -> R:
        """Change the record with this value of a unique field, as `update` does; where there is none, insert one.

        The new record is the one that `make` returns, with the value, after `change` has been applied to it. So when
        two writers are the first at the same time, one inserts, the other updates, and both changes are kept.
        `RecordConflict` when the value of another unique field is taken; `MissingIndex`; `Unstorable`.

        Cost (both kinds): 2 calls for a new record: a point read and the transaction of `insert`; 3 calls for a stored
        one: 2 point reads and the write of `update`. A writer of another process in between costs another turn.
        """
        if field not in self.schema.unique or value is None:
            raise MissingIndex(f"{self.table} has no unique {field} {value}")
        key = self.schema.unique_key(field, value)

        def kept(record: R) -> R | None:
            if getattr(record, field) != value:  # renamed since its unique row was read
                raise RecordNotFound(self.model.__name__, record.id)
            return change(record)

        async with client().lock(self.table, self.partition, key):
            for _ in range(_ATTEMPTS):
                found = await client().wire.get(self.table, self.partition, key)
                if found is not None:
                    try:
                        return await self.update(found[0]["id"], kept)
                    except RecordNotFound as error:
                        if error.record_id != found[0]["id"]:
                            raise
                        continue
                record = make()
                record = change(record) or record
                if getattr(record, field) != value:
                    raise ValueError(f"{self.table}: the new record has another {field} than {value}")
                try:
                    return await self.insert(record)
                except RecordConflict as error:
                    if error.field != field:
                        raise
        raise StorageUnavailable(f"{self.table}: the record with {field} {value} changes all the time")

    async def clear(self, where: Filter | None = None) -> int:
        """Delete all records that match, and return how many that were. A record written meanwhile may stay.

        Records go in whole transactions, so index rows and counters are right at every moment; a `clear` that was
        interrupted is continued by the next one. A record that is changed meanwhile is deleted if it matches still.

        Cost (both kinds): a query for each 1,000 records (plain: matching or not), a point read for each that is
        deleted, and a transaction for each 100 rows: plain 100 records, 50 with a unique value; counted about 20.
        """
        removed = 0
        async for found in self.ids(where):
            for first in range(0, len(found), MAX_OPERATIONS):
                removed += await self._clear(found[first : first + MAX_OPERATIONS], where)
        return removed

    async def _clear(self, ids: list[str], where: Filter | None) -> int:
        removed = 0
        for _ in range(_ATTEMPTS):
            reads = (self.read(record_id, damaged=True) for record_id in ids)
            read = await asyncio.gather(*reads, return_exceptions=True)
            stored = [found for found in read if isinstance(found, Stored) and matching([found.record], where)]
            for found in read:
                if isinstance(found, BaseException) and not isinstance(found, RecordNotFound):
                    raise found
            gone = await self.remove(stored) if stored else []
            for found, done in zip(stored, gone, strict=True):
                if done:
                    await self._discard(spill.blobs_of(found.row))
            removed += sum(gone)
            ids = [found.record.id for found, done in zip(stored, gone, strict=True) if not done]
            if not ids:
                return removed
        raise StorageUnavailable(f"{self.table}: {len(ids)} records change all the time")

    def _match(self, stored: Stored[R], if_match: str | None) -> None:
        if if_match is not None and if_match != stored.etag:
            raise RecordChanged(f"{self.table} {stored.record.id} has changed")

    async def _encode(self, record: R, key: str, stored: Stored[R] | None) -> tuple[Row, list[str]]:
        """The row of a record whose long texts are packed or written as blobs, and the blobs written."""
        row = self.columns.encode(record)
        texts = spill.long_texts(row, self.columns.texts)
        written: list[str] = []
        if texts:
            folder = f"{self.table}/{self.partition_of(key)}/{record.id}"
            old, old_texts = (stored.row, stored.texts) if stored else ({}, {})
            columns, written = await spill.store(folder, texts, old, old_texts)
            row |= columns
        row["RowKey"] = RECORDS.prefix + key
        return row, written

    def record_operation(self, stored: Stored[R] | None, key: str, columns: Row) -> Operation:
        """The operation that brings the record's own row from what is stored to these columns."""
        typed = self.columns.typed(columns)
        if stored is None:
            return Operation("POST", key, typed)
        if stored.row.keys() <= {*columns, "RowKey"}:
            changed = {name for name, value in columns.items() if stored.row.get(name) != value}
            kept = {name: value for name, value in typed.items() if name.partition("@")[0] in changed}
            return Operation("PATCH", key, kept, stored.etag)
        return Operation("PUT", key, typed, stored.etag)  # a merge cannot remove a column

    async def _stamped(self, record: R, etag: str | None, row: Row) -> R:
        if etag is None:  # it is stored, but the response was lost
            return await self.get(record.id)
        known: tuple[Row, dict[str, str]] | None = None if row.get(WITHOUT) else (row, {})
        record.stamp(etag, known)
        return record

    async def _discard(self, names: set[str] | list[str]) -> None:
        """Delete blobs that no row names any more; `sweep` deletes later what cannot be deleted now."""
        for name in names:
            try:
                await client().blobs.delete(name)
            except Exception as error:  # the write itself has its outcome
                log.warning("the blob %s is left to the sweep: %s", name, error)
