"""What maintenance removes: lines of logs that are too old, and files that nothing names."""

import contextlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.ownpilot.chat.logs import logs
from functions.ownpilot.core.autonomy.actions import held_actions
from functions.ownpilot.core.collections import KEPT, OWN
from functions.ownpilot.core.database_operations import CONTAINER, folder_of, operations
from functions.ownpilot.core.debug_log import KEPT as DEBUG_KEPT
from functions.ownpilot.core.debug_log import entries
from shared import blobs, tables
from shared.tables.sweep import AGE

LOGS_KEPT = timedelta(days=30)
"""How long requests to models are kept when somebody has maintenance done."""

LINES, DEBUG, ACTIONS, FILES, TEXTS = "old log lines", "old debug entries", "old actions", "lost files", "lost texts"


async def clean(owner: str, removed: dict[str, int], until: float) -> bool:
    """Remove what is too old or lost, and count it in `removed`; return whether all was done.

    `until` is a moment of the monotonic clock at which this stops, to be continued.
    """
    removed |= {name: removed.get(name, 0) for name in (LINES, DEBUG, ACTIONS, FILES, TEXTS)}
    async for what, count in _removals(owner):
        removed[what] += count
        if count and time.monotonic() > until:
            return False
    return True


async def _removals(owner: str) -> AsyncIterator[tuple[str, int]]:
    """Remove one thing after the other, and yield what it was, and how many."""
    now = datetime.now(UTC)
    async for line in logs.of(owner).all(before=now - LOGS_KEPT):
        yield LINES, await _delete(logs.of(owner), line.id)
    async for entry in entries.all({"user_id": owner}, before=now - DEBUG_KEPT):
        yield DEBUG, await _delete(entries, entry.id)
    async for action in held_actions.of(owner).all():
        if action.is_over:
            yield ACTIONS, await _delete(held_actions.of(owner), action.id)
    named = {part.blob async for each in operations.of(owner).all() if not each.is_deleted for part in each.parts}
    async for name, written in blobs.names(CONTAINER, folder_of(owner)):
        if name not in named and written < now - AGE:
            await blobs.delete(CONTAINER, name)
            yield FILES, 1
    for table, place in KEPT.items():
        if place is OWN:
            yield TEXTS, await tables.sweep(prefix=f"{table}/{tables.collections[table].of(owner).partition}/")


async def _delete(collection: tables.Collection[Any], id_: str) -> int:
    with contextlib.suppress(tables.RecordNotFound):
        await collection.delete(id_)
        return 1
    return 0
