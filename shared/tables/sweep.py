"""Finding the blobs of long texts that no record names: left by a crash between the blob and the row."""

import asyncio
from datetime import UTC, datetime, timedelta

from shared import blobs
from shared.ids import row_key
from shared.tables import spill
from shared.tables.client import client
from shared.tables.schema import RECORDS

AGE = timedelta(hours=1)
"""Younger blobs may belong to a write that is under way."""

_AT_ONCE = 16


async def sweep(older_than: timedelta = AGE) -> int:
    """Delete the blobs of all collections that are older and that no record names; answers how many."""
    before = datetime.now(UTC) - older_than
    names = [name async for name, changed in spill.listed() if changed <= before]
    removed = 0
    for start in range(0, len(names), _AT_ONCE):
        removed += sum(await asyncio.gather(*map(_remove, names[start : start + _AT_ONCE])))
    return removed


async def _remove(name: str) -> bool:
    table, partition, record_id, field, _ = name.split("/")
    column = spill.blob_column(field)
    key = row_key(record_id)
    found = await client().wire.get(table, partition, f"{RECORDS.prefix}{key}", select=column) if key else None
    if found is not None and found[0].get(column) == name:
        return False
    await blobs.delete(spill.CONTAINER, name)
    return True
