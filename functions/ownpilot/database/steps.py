"""The steps of an operation: each goes on where the one before it has ended, or was killed."""

import asyncio
import gzip
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from functions.ownpilot.core import settings_store
from functions.ownpilot.core.audit_log import Subject, end_chain, record_event
from functions.ownpilot.core.collections import KEPT
from functions.ownpilot.core.database_operations import (
    CONTAINER,
    BackupPart,
    DatabaseOperation,
    change,
    count,
    files_of,
    operations,
)
from functions.ownpilot.core.memory_vectors import are_written
from functions.ownpilot.core.trigger_store import note_all_due
from functions.ownpilot.database.cleaning import clean
from functions.ownpilot.database.lines import BadBackup, Header, read_part, stored_rows
from functions.ownpilot.database.restoring import restore_part
from functions.ownpilot.plans.restored import cancel_runs
from shared import blobs, tables

SECONDS = 20.0
"""After this time a step ends, and the next one goes on."""

MAX_LINES = 1000
MAX_BYTES = 2_000_000
"""Of the lines of one file; a single line may be longer."""

NOT_BACKED_UP = "Files of workspaces and runs of code are not part of it"

Step = Callable[[DatabaseOperation, float], Awaitable[bool]]
"""Goes on with an operation until a moment of the monotonic clock, or its end; returns whether it has ended."""


async def step(owner: str, id_: str) -> bool:
    """Go on with an operation for some seconds; return whether anything is left to do. `StorageUnavailable`."""
    try:
        operation = await operations.of(owner).get(id_)
    except tables.RecordNotFound:
        return False
    if operation.running is None:
        return False
    steps: dict[str, Step] = {"backup": _back_up, "restore": _restore, "maintenance": _maintain}
    try:
        if not await steps[operation.operation](operation, time.monotonic() + SECONDS):
            return True
        error = None
    except BadBackup as bad:
        error = f"{bad}. Nothing was changed" if not operation.restored else str(bad)
    await change(owner, id_, lambda it: it.end(error))
    return False


async def _back_up(operation: DatabaseOperation, until: float) -> bool:
    while True:
        before, number = operation.parts[-1].last if operation.parts else None, len(operation.parts)
        lines, last, is_last = list[bytes](), before, True
        size = 0
        figures = dict(operation.figures)
        async with aclosing(stored_rows(operation.user_id, operation.order, before)) as rows:
            async for row in rows:
                if len(lines) >= MAX_LINES or size >= MAX_BYTES:
                    is_last = False
                    break
                line = await row.line()
                if line is not None:
                    lines.append(line)
                    count(figures, row.table, len(line))
                    size, last = size + len(line), row.position
        header = Header(operation.user_id, operation.id, number)
        packed = await asyncio.to_thread(gzip.compress, b"\n".join([header.line, *lines]) + b"\n", 6)
        # Each attempt has a name of its own: the file that is named by the operation is the one that was counted.
        part = BackupPart(
            blob=f"{files_of(operation)}{number:05d}-{secrets.token_hex(4)}",
            size=len(packed), records=len(lines), last=last if lines else None,
        )  # fmt: skip
        await blobs.put(CONTAINER, part.blob, packed, "application/gzip")

        def add(it: DatabaseOperation) -> None:
            it.parts = [*it.parts[:number], part]  # noqa: B023
            it.figures = figures  # noqa: B023
            if is_last:  # noqa: B023
                it.output = [f"{it.records} records of {len(it.figures)} collections saved", NOT_BACKED_UP]

        operation = await change(operation.user_id, operation.id, add)
        if is_last:
            return True
        if time.monotonic() > until:
            return False


async def _restore(operation: DatabaseOperation, until: float) -> bool:
    """Check every line of the backup first, then replace what it holds."""
    owner = operation.user_id
    try:
        backup = await operations.of(owner).get(operation.source or "")
    except tables.RecordNotFound:
        raise BadBackup("The backup does not exist any more") from None
    if unknown := sorted({*backup.order} - KEPT.keys()):
        raise BadBackup(f"The backup has a collection that this version does not know: {unknown[0]}")
    ends = [None, *(part.last for part in backup.parts)]
    if operation.checked < len(backup.parts):
        for number in range(operation.checked, len(backup.parts)):
            await read_part(Header(owner, backup.id, number), backup.parts[number], backup.order, ends[number])
            operation.checked = number + 1
            if time.monotonic() > until:
                break
        checked = operation.checked
        operation = await change(owner, operation.id, lambda it: setattr(it, "checked", checked))
        if time.monotonic() > until:
            return False
    if not operation.restored:
        await cancel_runs(owner, operation.created_at)
    for number in range(operation.restored, len(backup.parts)):
        part = backup.parts[number]
        lines = await read_part(Header(owner, backup.id, number), part, backup.order, ends[number])
        is_last = number + 1 == len(backup.parts)
        left_out = await restore_part(owner, backup.order, lines, ends[number], None if is_last else part.last)

        def note(it: DatabaseOperation) -> None:
            if it.restored == number:  # noqa: B023
                it.restored, it.left_out = number + 1, it.left_out + left_out  # noqa: B023

        operation = await change(owner, operation.id, note)
        if not is_last and time.monotonic() > until:
            return False
    await change(owner, operation.id, lambda it: setattr(it, "output", _restored(it, backup)))
    settings_store.forget(owner)
    end_chain(owner)
    # The log of events was replaced too, and with it the line that tells of the restore's beginning.
    await record_event(
        owner, "config.change", Subject("database", operation.name or ""), details={"action": "restored"}
    )  # fmt: skip
    await are_written(owner)
    await note_all_due(owner)
    await cancel_runs(owner, operation.created_at)
    return True


def _restored(operation: DatabaseOperation, backup: DatabaseOperation) -> list[str]:
    said = [f"{backup.records - operation.left_out} records restored", "Secrets were left as they are", NOT_BACKED_UP]
    if operation.left_out:
        said.append(f"{operation.left_out} records left out: their names belong to others that have secrets now")
    return said


async def _maintain(operation: DatabaseOperation, until: float) -> bool:
    owner, kind = operation.user_id, operation.maintenance or "full"
    if kind != "analyze" and not operation.is_cleaned:
        removed = dict(operation.removed)
        is_done = await clean(owner, removed, until)

        def note(it: DatabaseOperation) -> None:
            it.removed, it.is_cleaned = removed, is_done
            it.output = [f"{count} {what} removed" for what, count in removed.items()]

        operation = await change(owner, operation.id, note)
        if not is_done:
            return False
    return kind == "vacuum" or await _measure(operation, until)


async def _measure(operation: DatabaseOperation, until: float) -> bool:
    """Count the records of each collection and their bytes."""
    is_done = True
    async with aclosing(stored_rows(operation.user_id, operation.order, operation.position)) as rows:
        async for row in rows:
            line = await row.line()
            count(operation.figures, row.table, len(line or b""))
            operation.position = row.position
            if time.monotonic() > until:
                is_done = False
                break
    figures, position = operation.figures, operation.position

    def note(it: DatabaseOperation) -> None:
        it.figures, it.position = figures, position
        if is_done:
            it.output = [*it.output, f"{it.records} records of {it.bytes} bytes counted"]

    await change(operation.user_id, operation.id, note)
    return is_done
