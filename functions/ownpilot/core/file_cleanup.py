"""What deletes the files of workspaces that are gone, and contents that no file has any more."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.ownpilot.core.files import CONTAINER, FileStore, files
from shared import blobs
from shared.deferred import defer
from shared.faults import Sweep
from shared.workflows import WorkflowClient

_Blob = tuple[str, datetime]

KEPT = timedelta(days=1)
"""For how long a content without a file is kept: whoever reads or writes it at this moment has ended by then."""

REPLACED = timedelta(hours=1)
"""For how long the content that a write has replaced counts as that of a file: the write may go back."""

LATE = 600
"""Seconds after which the files of a deleted workspace are deleted once more: no request runs that long."""

TURN = 300
"""Seconds after which the deletion is continued in another call."""


async def delete_files(store: FileStore) -> None:
    """Order that all files of a workspace are deleted; to be called before its record is deleted."""
    for delay in (1, LATE):  # the second time, those of requests that had begun before
        value = {"user": store.owner, "place": store.place}
        await defer("ownpilot.clear_workspace_files", value, item_id=f"{store.place} {delay}", delay=delay)


async def clear_workspace_files(value: dict[str, Any]) -> None:
    """Deferred work: delete the rows and the blobs of a place."""
    store = FileStore(value["user"], value["place"])
    try:
        async with asyncio.timeout(TURN):
            await files.of(store.place).clear()
            async for name, _ in blobs.names(CONTAINER, store.folder):
                await blobs.delete(CONTAINER, name)
    except TimeoutError:
        await defer("ownpilot.clear_workspace_files", value)


async def sweep_workspace_files(workflows: WorkflowClient) -> str | None:
    """Every night: delete contents that are older than a day and that no file has."""
    deleted = 0
    async with Sweep("deleting contents without a file") as sweep:
        async for place, found in _old_blobs(datetime.now(UTC) - KEPT):
            with sweep.item(f"the files of {place}"):
                deleted += await _sweep(place, found)
    return f"deleted {deleted} contents without a file" if deleted else None


async def _old_blobs(before: datetime) -> AsyncIterator[tuple[str, list[_Blob]]]:
    """Yield each place with its blobs that were written before that moment."""
    last, found = "", list[_Blob]()
    async for name, written in blobs.names(CONTAINER):
        place = name.split("/")[1]
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
