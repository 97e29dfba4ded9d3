"""Long texts: packed into binary columns, or written as blobs before the row that names them."""

import asyncio
import base64
import zlib
from collections.abc import Iterable
from typing import Any

from shared.tables.client import client
from shared.tables.columns import LONG, WITHOUT
from shared.tables.errors import Unstorable
from shared.tables.ids import new_id
from shared.tables.wire import Row

PACKED = 190 * 1024
"""Bytes of the longest packed text kept in the row; three columns of 64 KiB hold it."""

_COLUMN = 64 * 1024
# UTF-16 units of all unpacked texts of a row, and bytes of all packed ones: together with the other columns they stay
# below 1 MiB, whether the service counts bytes or UTF-16.
_PLAIN_ROOM = 100_000
_PACKED_ROOM = 450_000
_BLOCKING = 200_000  # bytes that compress in about 5 ms; more are compressed beside the event loop
_BLOCKING_PACKED = 20_000  # packed bytes, of which more are unpacked beside the event loop: texts shrink to a tenth


def long_texts(row: Row, texts: Iterable[str]) -> dict[str, str]:
    """Remove the texts that are too long for a column, then the longest ones until the others fit in the row."""
    sizes = {name: _units(row[name]) for name in texts if name in row}
    if sum(sizes.values()) <= LONG:
        return {}
    taken = [name for name, size in sizes.items() if size > LONG]
    room = _PLAIN_ROOM - sum(size for size in sizes.values() if size <= LONG)
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if room < 0 and name not in taken:
            taken.append(name)
            room += sizes[name]
    return {name: row.pop(name) for name in taken}


def _units(text: str) -> int:
    """The length in UTF-16 units, as the service counts."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


async def store(folder: str, texts: dict[str, str], old: Row, old_texts: dict[str, str]) -> tuple[Row, list[str]]:
    """The columns for these texts, and the names of the blobs written. An unchanged text keeps its old columns."""
    columns: Row = {WITHOUT: ",".join(texts)}
    written: list[str] = []
    room = _PACKED_ROOM
    for name, text in texts.items():
        if old_texts.get(name) == text:
            columns |= {key: value for key, value in old.items() if key.startswith(f"{name}__")}
            room -= 0 if blob_column(name) in columns else PACKED
            continue
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise Unstorable(f"{name}: {error.reason}", name) from error
        packed = await asyncio.to_thread(zlib.compress, data) if len(data) > _BLOCKING else zlib.compress(data)
        if len(packed) <= min(PACKED, room):
            room -= len(packed)
            for number, start in enumerate(range(0, len(packed), _COLUMN)):
                columns[f"{name}__z{number}"] = base64.b64encode(packed[start : start + _COLUMN]).decode()
        else:
            # Each version has a name of its own, so that deleting the old blob cannot delete the new one.
            blob = f"{folder}/{name}/{new_id()}"
            await client().blobs.put(blob, packed)
            written.append(blob)
            columns[blob_column(name)] = blob
    return columns, written


async def load(row: Row, *, damaged: bool = False) -> dict[str, str] | None:
    """The texts that a row holds packed, or in blobs that it names; None when one of these blobs does not exist.

    If `damaged`, the texts of the others.
    """
    texts: dict[str, str] = {}
    for name in filter(None, str(row.get(WITHOUT, "")).split(",")):
        if blob := row.get(blob_column(name)):
            packed = await client().blobs.get(blob)
            if packed is None:
                if damaged:
                    continue
                return None
        else:
            packed = b"".join(base64.b64decode(row[f"{name}__z{number}"]) for number in range(_count(row, name)))
        texts[name] = await asyncio.to_thread(_unpack, packed) if len(packed) > _BLOCKING_PACKED else _unpack(packed)
    return texts


def _unpack(packed: bytes) -> str:
    return zlib.decompress(packed).decode()


def _count(row: dict[str, Any], name: str) -> int:
    return sum(1 for number in range(3) if f"{name}__z{number}" in row)


def blobs_of(row: Row) -> set[str]:
    """The names of the blobs of a row."""
    return {value for key, value in row.items() if key.endswith("__blob")}


def blob_column(field: str) -> str:
    """The column that names the blob of a field's text."""
    return f"{field}__blob"
