"""Executions in one workspace run one after the other, in the order in which they came: its record has their queue."""

import contextlib
from datetime import UTC, datetime, timedelta

from functions.ownpilot.workspaces.records import Execution, Workspace, executions, workspaces
from shared import tables
from shared.http.errors import TooManyRequests
from shared.notices import Notices
from shared.tables.ids import time_of

MAX_QUEUE = 20
"""Executions of one workspace that run or wait."""

WRITING = timedelta(minutes=1)
"""For how long an execution may be in the queue before it has a record: its request has joined, and writes it next."""

left = Notices()
"""The news that an execution has left the queue of a workspace, by the workspace's id."""


async def join(workspace: Workspace, execution: Execution) -> bool:
    """Add a new execution to the queue; return whether it is its turn. `TooManyRequests`, `RecordNotFound`.

    1 call, and a point read for each that is before it.
    """
    gone = {each for each in workspace.queue if await _is_over(each)}

    def add(record: Workspace) -> None:
        record.queue = [each for each in record.queue if each not in (*gone, execution.id)]
        if len(record.queue) >= MAX_QUEUE:
            raise TooManyRequests("Too many executions wait in this workspace", headers={"Retry-After": "10"})
        record.queue = [*record.queue, execution.id]

    joined = await workspaces.of(workspace.user_id).update(workspace, add)
    return await _is_first(joined, execution)


async def is_turn(execution: Execution) -> bool:
    """Whether all that came before have ended. `RecordNotFound` when the workspace is gone.

    A point read, and one for each that is before it.
    """
    return await _is_first(await workspaces.of(execution.user_id).get(execution.workspace), execution)


async def leave(execution: Execution) -> None:
    """Take an execution that has ended out of the queue; one that is not in it is no error. 2 calls."""

    def remove(record: Workspace) -> None:
        record.queue = [each for each in record.queue if each != execution.id]

    with contextlib.suppress(tables.RecordNotFound):
        await workspaces.of(execution.user_id).update(execution.workspace, remove)
    left.give(execution.workspace)


async def _is_first(workspace: Workspace, execution: Execution) -> bool:
    """Whether none before it goes on. One that has ended, or whose request died at its start, is passed over."""
    for each in workspace.queue:
        if each == execution.id:
            break
        if not await _is_over(each):
            return False
    return True


async def _is_over(execution_id: str) -> bool:
    try:
        return (await executions.get(execution_id)).status.final
    except tables.RecordNotFound:
        joined = time_of(execution_id)
        return joined is None or datetime.now(UTC) - joined > WRITING
