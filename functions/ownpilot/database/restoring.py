"""Puts back what a part of a backup says, and removes what it does not have. It can be repeated at any time."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from functions.ownpilot.core.collections import KEPT
from functions.ownpilot.core.database_operations import Position
from functions.ownpilot.database.lines import Line, StoredRow, stored_rows
from shared import tables
from shared.sealing import sealed_fields
from shared.tables import RecordChanged, RecordConflict, RecordNotFound
from shared.tables.plain import PlainCollection

_WAITING = 256
"""Changes that are collected before they are made."""

_AT_ONCE = 16
_TURNS = 20


async def restore_part(
    owner: str, order: Sequence[str], lines: Sequence[Line], after: Position | None, until: Position | None
) -> int:
    """Make the records of a person from `after` to `until` those of the lines; return how many are left out.

    A record that is left out has a value that must be unique and belongs to a record with a secret, which stays.
    What is as it should be is not written, so a repeat costs reads only.
    """
    also: dict[str, set[str]] = {}
    for line in lines:
        if KEPT[line.table].parent:
            also.setdefault(line.table, set()).add(line.partition)
    changes = _Changes()
    rows = stored_rows(owner, order, after, until, also)
    row = await anext(rows, None)
    for line in lines:
        while row is not None and row.position < line.position:
            await changes.remove(row)
            row = await anext(rows, None)
        if row is None or row.position != line.position:
            await changes.put(line)
            continue
        if await row.values() != line.values:
            await changes.put(line)
        row = await anext(rows, None)
    while row is not None:
        await changes.remove(row)
        row = await anext(rows, None)
    await changes.make()
    return changes.left_out


class _Changes:
    """Changes of one collection in one partition, made many at a time."""

    def __init__(self) -> None:
        self.left_out = 0
        self._collection: tables.Collection[Any] | None = None
        self._puts: list[Any] = []
        self._gone: list[str] = []

    async def put(self, line: Line) -> None:
        """Store the record of a line, sealed values as they stand."""
        await self._turn_to(line.collection)
        self._puts.append(line.record)

    async def remove(self, row: StoredRow) -> None:
        """Delete a record, unless it holds sealed values."""
        if not any(row.row.get(name) for name in sealed_fields.get(row.table, ())):
            await self._turn_to(row.collection)
            self._gone.append(row.collection.id_of(row.row))

    async def _turn_to(self, collection: tables.Collection[Any]) -> None:
        at = self._collection
        is_other = at is None or (at.table, at.partition) != (collection.table, collection.partition)
        if is_other or len(self._puts) + len(self._gone) >= _WAITING:
            await self.make()
        self._collection = collection

    async def make(self) -> None:
        """Make the changes that wait."""
        collection, puts, gone = self._collection, self._puts, self._gone
        self._puts, self._gone = [], []
        if collection is None or not (puts or gone):
            return
        keep = sealed_fields.get(collection.table, ())
        if isinstance(collection, PlainCollection) and not collection.schema.unique and not keep:
            await collection.store(puts, gone)
            return
        await _each(gone, lambda id_: _delete(collection, id_, keep))
        done = await _each(puts, lambda record: _put(collection, record, keep))
        self.left_out += done.count(False)


async def _each(items: Sequence[Any], work: Callable[[Any], Awaitable[bool]]) -> list[bool]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(item: Any) -> bool:
        async with turns:
            return await work(item)

    return await asyncio.gather(*map(one, items))


async def _delete(collection: tables.Collection[Any], id_: str, keep: Sequence[str]) -> bool:
    """Delete a record; one that has got a sealed value since it was listed stays."""
    with contextlib.suppress(RecordNotFound, RecordChanged):
        if not keep:
            await collection.delete(id_)
            return True
        record = await collection.get(id_)
        if not any(getattr(record, name) for name in keep):
            await collection.delete(id_, if_match=record.etag)
            return True
    return False


async def _put(collection: tables.Collection[Any], record: Any, keep: Sequence[str]) -> bool:
    """Store a record. Another one with its unique value goes, or is put back later; with a sealed value it stays."""
    for _ in range(_TURNS):
        try:
            await collection.replace(record, keep=keep)
            return True
        except RecordConflict as error:
            with contextlib.suppress(RecordNotFound, RecordChanged):  # it was put back meanwhile, with its own value
                field = error.field or ""
                holder = await collection.find(field, getattr(record, field))
                if any(getattr(holder, name) for name in keep):
                    return False
                await collection.delete(holder.id, if_match=holder.etag)
    raise tables.StorageUnavailable(f"{collection.table} {record.id} changes all the time")
