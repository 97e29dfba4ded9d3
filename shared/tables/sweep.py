"""Deletes the blobs of long texts that no record names: a crash between the blob and the row leaves them."""

import asyncio
from datetime import UTC, datetime, timedelta

from shared.tables import spill
from shared.tables.client import client
from shared.tables.schema import RECORDS
from shared.tables.stored import collections

AGE = timedelta(hours=1)
"""A younger blob may belong to a write that is not finished."""

_AT_ONCE = 16
_MAX_ERRORS = 50


async def sweep(older_than: timedelta = AGE, *, prefix: str = "") -> int:
    """Delete the blobs of all declared collections that are older and that no record names; returns their number.

    `prefix` leaves those whose names begin with it: `<table>/<partition>/`.
    One that cannot be deleted does not stop the others; `ExceptionGroup` at the end.
    """
    before = datetime.now(UTC) - older_than
    names = [name async for name, changed in client().blobs.names(prefix) if changed <= before]
    removed, errors = 0, list[Exception]()
    for start in range(0, len(names), _AT_ONCE):
        for done in await asyncio.gather(*map(_remove, names[start : start + _AT_ONCE]), return_exceptions=True):
            if isinstance(done, Exception):
                errors.append(done)
            elif isinstance(done, BaseException):
                raise done
            else:
                removed += done
        if len(errors) > _MAX_ERRORS:
            break
    if errors:
        raise ExceptionGroup("blobs of long texts could not be deleted", errors)
    return removed


async def _remove(name: str) -> bool:
    table, partition, record_id, field, _ = name.split("/")
    if table not in collections:  # the rows cannot be found without the form of the ids
        return False
    column = spill.blob_column(field)
    key = collections[table].columns.form.row_key(record_id)
    found = await client().wire.get(table, partition, f"{RECORDS.prefix}{key}", select=column) if key else None
    if found is not None and found[0].get(column) == name:
        return False
    await client().blobs.delete(name)
    return True
