"""The records of a person in one order, as the lines of a backup, and lines as records again."""

import asyncio
import gzip
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import orjson
from pydantic import ValidationError

from functions.ownpilot.core.collections import KEPT
from functions.ownpilot.core.database_operations import CONTAINER, BackupPart, Position
from shared import blobs, tables
from shared.sealing import sealed_fields
from shared.tables import Record

FORMAT = "ownpilot-backup"
VERSION = 1

_AHEAD = 4
"""Partitions that are read side by side."""

_CHECKED = 100
"""Lines that are checked in one go, some milliseconds."""


class BadBackup(Exception):
    """A file is no backup of this person, or cannot be read; the message is for the person."""


class Header(NamedTuple):
    """What the first line of each file says: whose backup it belongs to, which one, and the number of the file."""

    user: str
    backup: str
    number: int

    @property
    def line(self) -> bytes:
        """The line, without its end."""
        return orjson.dumps({"format": FORMAT, "version": VERSION, **self._asdict()})


@dataclass(frozen=True)
class StoredRow:
    """A row as it is stored, its place in the order, and the partition by the name that it has in this app."""

    position: Position
    collection: tables.Collection[Any]
    partition: str
    row: dict[str, Any]

    @property
    def table(self) -> str:
        """The table of the collection."""
        return self.collection.table

    async def values(self) -> dict[str, Any] | None:
        """Return the columns of its record without sealed ones; None when it was deleted since."""
        values = await self.collection.whole(self.row)
        for name in sealed_fields.get(self.table, ()):
            (values or {}).pop(name, None)
        return values

    async def line(self) -> bytes | None:
        """Return it as a line, without its end; None when it was deleted since."""
        values = await self.values()
        if values is None:
            return None
        line = {"table": self.table, "partition": self.partition, "id": self.collection.id_of(self.row)}
        return orjson.dumps({**line, "values": values})


@dataclass(frozen=True)
class Line:
    """A line of a backup that was read: the record, and its columns as they were written."""

    position: Position
    collection: tables.Collection[Any]
    partition: str
    record: Record
    values: dict[str, Any]

    @property
    def table(self) -> str:
        """The table of the collection."""
        return self.collection.table


async def stored_rows(
    owner: str,
    order: Sequence[str],
    after: Position | None,
    until: Position | None = None,
    also: Mapping[str, Collection[str]] | None = None,
) -> AsyncGenerator[StoredRow]:
    """Yield the rows of a person in the collections `order`: those behind `after`, and up to `until`.

    `also` are further partitions of a collection, by its table. 1 query for each 1,000 records of a partition, and for
    each 1,000 parents of partitions.
    """
    for number, table in enumerate(order):
        if (after and number < after.table) or (until and number > until.table):
            continue
        own = tables.collections[table]
        names = {*await KEPT[table].partitions(owner), *(also or {}).get(table, ())}
        readers: list[AsyncIterator[list[StoredRow]]] = []
        for partition, name in sorted((own.of(name).partition, name) for name in names):
            at = (number, partition)
            if (after is None or at >= after[:2]) and (until is None or at <= until[:2]):
                readers.append(_rows(owner, table, number, name, after.key if after and at == after[:2] else ""))
        async for rows in _ahead(readers):
            for row in rows:
                if until and row.position > until:
                    return
                yield row


async def _rows(owner: str, table: str, number: int, name: str, last: str) -> AsyncIterator[list[StoredRow]]:
    """Yield the rows of one partition whose keys are behind `last`, those of one response at a time."""
    if KEPT[table].shared:
        shared: tables.Collection[Any] = tables.collections[table]
        async for record in shared.all({"user_id": owner}):
            key = shared.columns.form.row_key(record.id) or ""
            if key > last:
                row = {**shared.columns.encode(record), "RowKey": f"r~{key}"}
                yield [StoredRow(Position(number, shared.partition, key), shared, name, row)]
        return
    own: tables.Collection[Any] = tables.collections[table].of(name)
    async for rows in own.rows(last):
        yield [StoredRow(Position(number, own.partition, own.key_of(row)), own, name, row) for row in rows]


async def _ahead(readers: Sequence[AsyncIterator[list[StoredRow]]]) -> AsyncIterator[list[StoredRow]]:
    """Yield what readers give, one after the other; the first responses of several are asked for at once."""
    for first in range(0, len(readers), _AHEAD):
        group = readers[first : first + _AHEAD]
        pages = await asyncio.gather(*(anext(reader, None) for reader in group))
        for reader, page in zip(group, pages, strict=True):
            while page is not None:
                yield page
                page = await anext(reader, None)


async def read_part(header: Header, part: BackupPart, order: Sequence[str], after: Position | None) -> list[Line]:
    """Return the lines of a file behind `after`, each checked against its model. `BadBackup` for anything else."""
    try:
        packed = await blobs.get(CONTAINER, part.blob)
    except blobs.BlobNotFound:
        raise BadBackup("A file of the backup is missing") from None
    try:
        first, *rest = (await asyncio.to_thread(gzip.decompress, packed)).splitlines()
    except (OSError, EOFError, ValueError):
        raise BadBackup("A file of the backup is damaged") from None
    if first != header.line:
        raise BadBackup("A file belongs to another backup, or was made by another version")
    lines: list[Line] = []
    for place, each in enumerate(rest):
        if place % _CHECKED == 0:
            await asyncio.sleep(0)  # other requests have their turn
        lines.append(_line(header.user, each, order))
    for before, line in zip([after, *(line.position for line in lines)], lines, strict=False):
        if before is not None and line.position <= before:
            raise BadBackup("The lines of the backup are not in their order")
    if len(lines) != part.records or (lines and lines[-1].position != part.last):
        raise BadBackup("A file of the backup is not complete")
    return lines


def _line(owner: str, text: bytes, order: Sequence[str]) -> Line:
    try:
        given = cast("dict[str, Any]", orjson.loads(text))
        table, partition, id_, values = (given[name] for name in ("table", "partition", "id", "values"))
        number, place = order.index(table), KEPT[table]
        own: tables.Collection[Any] = tables.collections[table]
        if not place.shared:
            own = own.of(partition)
        key = own.columns.form.row_key(id_)
        if key is None:
            raise ValueError("not an id")
        record = own.columns.decode([{**values, "RowKey": f"r~{key}"}])[0]
        own.model.model_validate({name: getattr(record, name) for name in own.model.model_fields})
        if getattr(record, "user_id", "") not in ("", owner):  # what belongs to a parent need not name its person
            raise ValueError("another person's record")
        if not place.parent and partition not in place.of(owner, ()):
            raise ValueError("another person's partition")
    except (KeyError, ValueError, TypeError, AttributeError, ValidationError, tables.Unreadable) as error:
        raise BadBackup(f"A line of the backup is not a record: {type(error).__name__}") from error
    return Line(Position(number, own.partition, key), own, partition, record, values)
