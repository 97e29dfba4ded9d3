"""Copies of records: whole rows in the order of their keys, and records that are stored as they were."""

from collections.abc import AsyncIterator, Sequence

from shared.tables import spill
from shared.tables.client import client
from shared.tables.columns import WITHOUT, R
from shared.tables.errors import MissingIndex, RecordNotFound, RefusedWrite, StorageUnavailable
from shared.tables.reading import Reader
from shared.tables.schema import RECORDS
from shared.tables.stored import Stored
from shared.tables.wire import Row
from shared.tables.writing import WritableRecords

_ATTEMPTS = 50


class CopiedRecords(WritableRecords[R]):
    """The records of one partition with the methods that copy them."""

    async def rows(self, after: str = "") -> AsyncIterator[list[Row]]:
        """The rows of all records as the service holds them, in the order of their keys, one response at a time.

        `after` leaves those whose key (`key_of`) is behind this one. `MissingIndex` for a collection that is spread.

        Cost (both kinds): a query for each 1,000 records, more where these are over 4 MiB.
        """
        if self.spread > 1:
            raise MissingIndex(f"{self.table} is spread: its records have no common order")
        reader = Reader(client().wire, self.table, self.partition, "")
        async for rows in reader.pages(RECORDS.prefix, start=f"{after} " if after else ""):
            yield rows

    @staticmethod
    def key_of(row: Row) -> str:
        """The 32 digits by which a row of `rows` sorts."""
        return row["RowKey"][len(RECORDS.prefix) :]

    def id_of(self, row: Row) -> str:
        """The id of the record of a row of `rows`."""
        return self.columns.form.texts([row["RowKey"]])[0]

    async def whole(self, row: Row) -> Row | None:
        """The columns of the record of a row of `rows`, its long texts too; None when it was deleted since.

        A text that is lost is left out.

        Cost (both kinds): a blob read for each text that is kept as a blob.
        """
        texts = await spill.load(row) if row.get(WITHOUT) else {}
        if texts is None:  # an update has replaced the blob since the row was read
            try:
                stored = await self.read(self.id_of(row), damaged=True)
            except RecordNotFound:
                return None
            row, texts = stored.row, stored.texts
        return {name: row[name] for name in self.columns.all if row.get(name) is not None} | texts

    async def replace(self, record: R, *, keep: Sequence[str] = ()) -> None:
        """Store a record as it is, with its times, in place of what is stored under its id, if anything is.

        The fields `keep` stay as they are stored. `RecordConflict` when the value of a unique field is another
        record's; `Unstorable`, `StorageUnavailable`.

        Cost, counted: 1 point read and 1 transaction of the rows that change. Cost, plain: 1 point read and 1 write.
        """
        key = self.columns.form.row_key(record.id)
        if key is None:
            raise ValueError(f"{record.id} is not an id of {self.model.__name__}")
        async with client().lock(self.table, self.partition, record.id.lower()):
            for _ in range(_ATTEMPTS):
                stored = await self._stored(record.id, damaged=not keep)
                if stored:
                    for name in keep:
                        setattr(record, name, getattr(stored.record, name))
                row, written = await self._encode(record, key, stored)
                if stored and row == stored.columns:
                    return
                try:
                    await self.commit(stored, (record, row))
                except RefusedWrite as error:
                    await self._discard(written)
                    if error.row_key.startswith(RECORDS.prefix):
                        continue
                    raise self._taken(error) from error
                if stored:
                    await self._discard(spill.blobs_of(stored.row) - spill.blobs_of(row))
                return
        raise StorageUnavailable(f"{self.table} {record.id} changes all the time")

    async def _stored(self, record_id: str, *, damaged: bool) -> Stored[R] | None:
        try:
            return await self.read(record_id, damaged=damaged)
        except RecordNotFound:
            return None
