"""OwnPilot's dashboard and backups: storage calls, and this process's processor time without storage's."""

import time
from unittest.mock import AsyncMock, patch

from bench.figures import Figure
from bench.growth import Timed, measured
from functions.ownpilot.core.collections import KEPT
from functions.ownpilot.core.database_operations import DatabaseOperation, operations
from functions.ownpilot.dashboard.figures import figures_of
from functions.ownpilot.dashboard.page import data_of
from functions.ownpilot.database import steps
from functions.ownpilot.memories import Memory, MemoryType, memories
from functions.ownpilot.notes import Note, notes
from functions.ownpilot.tasks import Task, tasks

KEPT_OF_EACH = 500
"""Tasks, notes and memories on the dashboard."""

SAVED = 20_000

OWNER = "owner of data"


async def figures(timed: Timed) -> list[Figure]:
    """Measure both, with tables in memory and without the writing of blobs."""
    return [*await _dashboard(timed), *await _backup(timed)]


async def _dashboard(timed: Timed) -> list[Figure]:
    some = range(KEPT_OF_EACH)
    await tasks.collection.of(OWNER).store(
        [Task(user_id=OWNER, title=f"task {number}", rank="2 none") for number in some]
    )
    await notes.collection.of(OWNER).store([Note(user_id=OWNER, title="n", content="c" * 300) for _ in some])
    for number in some:
        await memories.collection.of(OWNER).insert(
            Memory(user_id=OWNER, type=MemoryType.FACT, content=f"fact {number}", fingerprint=str(number))
        )

    async def briefing() -> None:
        data_of(await figures_of(OWNER))

    found = await measured(f"briefing without a model, {KEPT_OF_EACH} tasks, notes, memories", briefing, timed)
    for figure in found:
        figure.at_most = {"calls": 20, "ms": 80}.get(figure.unit)
    return found


async def _backup(timed: Timed) -> list[Figure]:
    own = notes.collection.of(OWNER)
    for _ in range(0, SAVED, 1000):
        await own.store([Note(user_id=OWNER, title="n", content="c" * 300) for _ in range(1000)])
    order = DatabaseOperation(user_id=OWNER, operation="backup", name="b", order=[*KEPT])
    await operations.of(OWNER).insert(order)
    start, used = time.process_time(), timed.used
    with patch("shared.blobs.put", AsyncMock()):
        while await steps.step(OWNER, order.id):
            pass
    seconds = time.process_time() - start - (timed.used - used)
    done = await operations.of(OWNER).get(order.id)
    return [Figure(f"backup of {SAVED:,} notes", done.records / seconds, "records/s", at_least=2000)]
