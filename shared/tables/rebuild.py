"""Makes the index rows and counters of a partition anew from its records, while others write.

Every record names the generation of counters in which it is counted. A rebuild opens a new generation, in which each
writer must count from its next transaction on. Then it moves one record after the other: one transaction writes the
record's index rows and takes its counts from the old generation to the new one. Totals add up all generations, so they
stay right all the time. At the end no record is left in the old generation. Counts that it still has were wrong and are
dropped, and so are index rows that it still has, because they do not belong to a record.
"""

import asyncio
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Generic

from shared.tables.batch import MAX_OPERATIONS, Operation, encode
from shared.tables.cells import COUNTED, GENERATION, HOURS, OLD, ROOT, add, dump, load
from shared.tables.client import client
from shared.tables.columns import R
from shared.tables.commit import Write
from shared.tables.errors import RecordConflict, RecordNotFound, RefusedWrite, ServiceRefused, StorageUnavailable
from shared.tables.reading import Reader
from shared.tables.schema import RECORDS
from shared.tables.shard import SHARDS, root_key
from shared.tables.stored import Stored
from shared.tables.wire import Row, Unanswered

if TYPE_CHECKING:
    from shared.tables.counted import CountedCollection

_MARKER = "g~"
_ATTEMPTS = 50
_AT_ONCE = 250
"""Records that move at once, so that they fill the transactions in which they move."""


@dataclass(frozen=True)
class Rebuilt:
    """How many records were counted and indexed anew, and how many index rows did not belong to a record."""

    records: int
    stray: int


class Rebuild(Generic[R]):
    """One rebuild of one partition."""

    def __init__(self, records: "CountedCollection[R]"):
        self._records = records
        self._wire = client().wire
        self._table, self._partition = records.table, records.partition
        self._url = f"{self._wire.url}/{self._table}"
        self._target = 0

    async def run(self) -> Rebuilt:
        """Rebuild, or continue a rebuild that was interrupted, if it was for this declaration."""
        marker = await self._get(_MARKER)
        done, generation, after = True, 0, ""
        if marker is not None:
            row = marker[0]
            done = row["done"] or row.get("for") != self._records.schema.fingerprint
            generation, after = int(row[GENERATION]), str(row["after"])
        self._target = generation + 1 if done else generation
        after = "" if done else after
        await self._mark(after)
        await self._open()
        moved = 0
        async for rows in self._reader.pages(RECORDS.prefix, start=after, etags=True):
            old, last = [row for row in rows if not self._current(row)], rows[-1]["RowKey"]
            for start in range(0, len(old), _AT_ONCE):
                await asyncio.gather(*map(self._move, old[start : start + _AT_ONCE]))
            moved += len(old)
            await self._mark(last[len(RECORDS.prefix) :])
        stray = sum([await self._sweep(prefix) for prefix in ("i~", "o~", "u~")])
        await asyncio.gather(*(self._close(number) for number in range(SHARDS)))
        await self._drop_counters()
        await self._mark("", done=True)
        return Rebuilt(moved, stray)

    @property
    def _reader(self) -> Reader:
        return Reader(self._wire, self._table, self._partition, "")

    def _current(self, row: Row) -> bool:
        return int(row.get(GENERATION) or 0) >= self._target

    async def _get(self, key: str) -> tuple[Row, str] | None:
        return await self._wire.get(self._table, self._partition, key)

    async def _write(self, operations: list[Operation]) -> None:
        """Send a transaction that may be repeated without harm."""
        parts = encode(operations, self._url, self._partition)
        attempts = self._wire.attempts()
        while True:
            try:
                await self._wire.transact(self._table, parts)
                return
            except Unanswered as error:
                await attempts.again(error)

    async def _mark(self, after: str, *, done: bool = False) -> None:
        """Store how far this rebuild is."""
        columns = {GENERATION: str(self._target), "after": after, "done": done}
        columns["for"] = self._records.schema.fingerprint
        await self._write([Operation("PUT", _MARKER, columns)])

    async def _open(self) -> None:
        """Make every shard count in the new generation, including shards that have not been written yet.

        This changes the ETags of the root rows, so each writer reads its root row again. It is unconditional: beside a
        writer that never pauses, a condition on the ETag would fail every time.
        """
        column = {GENERATION: str(self._target)}
        await self._write([Operation("PATCH", root_key(number), column) for number in range(SHARDS)])

    async def _move(self, row: Row) -> None:
        """Index and count one record, of which this row was listed, in the new generation."""
        record_id = self._records.columns.form.texts([row["RowKey"]])[0]
        async with client().lock(self._table, self._partition, record_id):
            for attempt in range(_ATTEMPTS):
                try:
                    stored = self._records.listed(row) if not attempt else None
                    stored = stored or await self._records.read(record_id, damaged=True)
                except RecordNotFound:
                    return
                if self._current(stored.row):
                    return
                held = await self._held(stored)
                try:
                    await self._records.committer.write(
                        lambda generation, _, s=stored, h=held: self._moved(s, h, generation)
                    )
                    return
                except RefusedWrite:
                    continue  # the record has changed meanwhile
        raise StorageUnavailable(f"{self._table} {record_id} changes all the time")

    async def _held(self, stored: Stored[R]) -> set[str]:
        """The unique rows that a record has already; `RecordConflict` when another record has one of its values."""
        wanted = self._records.schema.unique_rows(*stored.state)
        held: set[str] = set()
        for key, (field, _) in wanted.items():
            found = await self._get(key)
            if found is None:
                continue
            owner = str(found[0]["id"])
            if owner == stored.record.id or not await self._owns(owner, key):
                held.add(key)
            else:
                raise RecordConflict(f"{self._table}: {field} of {stored.record.id} is also that of {owner}", field)
        return held

    async def _owns(self, record_id: str, unique_key: str) -> bool:
        try:
            owner = await self._records.read(record_id, damaged=True)
            return unique_key in self._records.schema.unique_rows(*owner.state)
        except RecordNotFound:
            return False

    def _moved(self, stored: Stored[R], held: set[str], generation: int) -> Write:
        operations, delta = self._records.rewrite(stored, stored.record, stored.columns, generation)
        for operation in operations:
            if operation.row_key.startswith("u~") and operation.row_key not in held:
                operation.verb = "POST"  # lost, or newly declared: another record may take the value meanwhile
        return operations, delta

    async def _sweep(self, prefix: str) -> int:
        """Delete the index rows that were not written anew with a record."""
        removed = 0
        async for rows in self._reader.pages(prefix, select=f"RowKey,{GENERATION}"):
            old = [row["RowKey"] for row in rows if not self._current(row)]
            removed += sum(await asyncio.gather(*map(self._remove, old)))
        return removed

    async def _remove(self, key: str) -> bool:
        """Delete an old row, unless a writer renews it at this moment."""
        found = await self._get(key)
        if found is None or self._current(found[0]):
            return False
        try:
            await self._write([Operation("DELETE", key, etag=found[1])])
        except ServiceRefused as error:
            if error.status not in (404, 412):
                raise
            return False
        return True

    async def _close(self, number: int) -> None:
        """Add a root row's cells to those of older generations, unless its writer has done so."""
        for _ in range(_ATTEMPTS):
            found = await self._get(root_key(number))
            if found is None or int(found[0].get(COUNTED) or 0) >= self._target:
                return
            row, etag = found
            old = load(row, OLD)
            add(old, load(row))
            columns = {"v": "{}", "w": row.get("w") or "{}", OLD: dump(old)}
            columns |= {GENERATION: str(self._target), COUNTED: str(self._target)}
            try:
                await self._write([Operation("PUT", root_key(number), columns, etag)])
                return
            except ServiceRefused as error:
                if error.status not in (404, 412):
                    raise
        raise StorageUnavailable(f"{self._table}: shard {number} changes all the time")

    async def _drop_counters(self) -> None:
        """Drop the counters of older generations, in which no record is counted.

        Rows of one total may differ from zero while their sum is zero, so they are dropped in one transaction.
        """
        roots = [Operation("PATCH", root_key(number), {OLD: "{}"}) for number in range(SHARDS)]
        await self._drop(await self._retired(ROOT), roots)
        for prefix in ("c~", HOURS):
            waiting: list[str] = []
            for _, rows in groupby(await self._retired(prefix), lambda key: key.rpartition("~")[0]):
                together = list(rows)
                if len(waiting) + len(together) > MAX_OPERATIONS:
                    await self._drop(waiting, [])
                    waiting = []
                waiting += together
            await self._drop(waiting, [])

    async def _retired(self, prefix: str) -> list[str]:
        """The keys of the counter rows of older generations."""
        keys = [row["RowKey"] async for rows in self._reader.pages(prefix, select="RowKey") for row in rows]
        generations = [key.rpartition("~")[2].partition(".")[0] for key in keys]
        return [key for key, own in zip(keys, generations, strict=True) if own != "r" and int(own, 16) < self._target]

    async def _drop(self, keys: list[str], others: list[Operation]) -> None:
        operations = [*others, *(Operation("DELETE", key, etag="*") for key in keys)]
        while operations:
            try:
                await self._write(operations)
                return
            except ServiceRefused as error:
                if error.status != 404 or error.index is None:
                    raise
                del operations[error.index]  # an earlier attempt has deleted it
