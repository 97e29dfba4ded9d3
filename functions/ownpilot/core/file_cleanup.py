"""What deletes the files of workspaces that are gone, and contents that no file has any more."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.ownpilot.core.files import CONTAINER, FileStore, files
from shared import blobs, tables
from shared.deferred import defer
from shared.faults import Sweep
from shared.tables import Collection
from shared.workflows import WorkflowClient

_Blob = tuple[str, datetime]

KEPT = timedelta(days=1)
"""For how long a content without a file is kept: whoever reads or writes it at this moment has ended by then."""

REPLACED = timedelta(hours=1)
"""For how long the content that a write has replaced counts as that of a file: the write may go back."""

SOON, LATE = 2, 600
"""Seconds after which the files of a deleted workspace are deleted, and are looked for once more: a request that had
begun before may have written one, and none runs that long."""

TURN = 300
"""Seconds after which the deletion is continued in another call."""

NIGHT = 240
"""Seconds after which the nightly sweep begins no further part; periodic work has 300."""

PARTS = [f"{number:02x}" for number in range(256)]
"""What names of blobs begin with: the sweep takes them part by part."""


async def delete_workspace(store: FileStore, workspaces: Collection[Any], *, if_match: str | None = None) -> None:
    """Delete the record of a workspace, whose id is the place of its files; they are deleted soon after it.

    `RecordNotFound`; `RecordChanged`. The order for the files comes first and is void while there is the record, so
    after a crash either nothing is deleted or all will be.
    """
    value = {"user": store.owner, "place": store.place, "table": workspaces.table}
    await defer("ownpilot.clear_workspace_files", value, delay=SOON)
    await workspaces.of(store.owner).delete(store.place, if_match=if_match)


async def clear_workspace_files(value: dict[str, Any]) -> None:
    """Deferred work: delete the rows and the blobs of a workspace that is deleted; it is done twice, as `LATE` says."""
    store, late = FileStore(value["user"], value["place"]), {**value, "late": True}
    if value != late:
        await defer("ownpilot.clear_workspace_files", late, delay=LATE)
    with contextlib.suppress(tables.RecordNotFound):
        await tables.collections[value["table"]].of(store.owner).get(store.place)
        return
    try:
        async with asyncio.timeout(TURN):
            await files.of(store.place).clear()
            async for name, _ in blobs.names(CONTAINER, store.folder):
                await blobs.delete(CONTAINER, name)
    except TimeoutError:
        await defer("ownpilot.clear_workspace_files", late)


async def sweep_workspace_files(workflows: WorkflowClient) -> str | None:
    """Every night: delete contents that are older than a day and that no file has.

    The order of the parts is another one each night: when a night is too short for all, the next ones do the others.
    """
    deleted, until = 0, time.monotonic() + NIGHT
    async with Sweep("deleting contents without a file") as sweep:
        for part in random.sample(PARTS, len(PARTS)):
            async for place, found in _old_blobs(part, datetime.now(UTC) - KEPT):
                with sweep.item(f"the files of {place}"):
                    deleted += await _sweep(place, found)
            if time.monotonic() > until:
                break
    return f"deleted {deleted} contents without a file" if deleted else None


async def _old_blobs(part: str, before: datetime) -> AsyncIterator[tuple[str, list[_Blob]]]:
    """Yield each place of a part with its blobs that were written before that moment."""
    last, found = "", list[_Blob]()
    async for name, written in blobs.names(CONTAINER, part):
        match name.split("/"):
            case [_, place, _]:
                pass
            case _:  # not written by this app
                continue
        if place != last:
            if found:
                yield last, found
            last, found = place, []
        if written < before:
            found.append((name, written))
    if found:
        yield last, found


async def _sweep(place: str, found: list[_Blob]) -> int:
    """Delete those of these blobs of a place that no file names; return how many."""
    named: set[str] = set()
    async for row in files.of(place).all():
        named.add(row.sha256)
        if row.updated_at > datetime.now(UTC) - REPLACED:
            named.add(row.previous)
    orphans = [(name, at) for name, at in found if name.rpartition("/")[2] not in named]
    for name, written in orphans:  # one that is written again at this moment has a file in the next one
        await blobs.delete(CONTAINER, name, unless_written_after=written)
    return len(orphans)
