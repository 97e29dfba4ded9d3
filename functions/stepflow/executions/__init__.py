"""Executions: commands whose output is followed step by step."""

import asyncio
from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated

from fastapi import Query

from functions.stepflow import log_index
from functions.stepflow.access import Caller, routes_for
from functions.stepflow.artifacts import ArtifactShown
from functions.stepflow.executions import deletion
from functions.stepflow.executions.bodies import (
    ActiveExecutions,
    ExecutionCreated,
    ExecutionDetail,
    ExecutionList,
    ExecutionShown,
    NewExecution,
    Statistics,
    StepLog,
    StepShown,
    step_shown,
)
from functions.stepflow.job import KIND, publish_end
from functions.stepflow.records import ACTIVE, Execution, ExecutionStatus
from functions.stepflow.store import artifacts_of, executions, outlines
from shared.http.bodies import Done
from shared.http.errors import BadRequest, TooLarge
from shared.http.paging import Paging, given, paging
from shared.jobs import CANCEL, WORKFLOW
from shared.workflows import Workflows

routes = routes_for("/api/executions", "executions")

MAX_ACTIVE = 1000
"""Executions in the list of active ones."""

MAX_LIST = 32_000_000
"""Bytes of what executions in one list were created with."""

DETAIL_LINES, STEP_LINES = 1000, 200
"""Log lines in the details of an execution, and of each of its steps; the newest are shown."""

NEAR, MAX_SPAN, MAX_READS = 1000, 20_000, 16
"""Lines between two steps' lines that are read too, lines of one read, and such reads for one answer."""

STEPS_AT_ONCE = 100
"""Steps that are built without a pause."""

DETAIL_BYTES = 1024 * 1024
"""Bytes of output of one read; of more, the newest are shown."""


@routes.post("", status_code=201)
async def create_execution(body: NewExecution, caller: Caller, workflows: Workflows) -> ExecutionCreated:
    """Queue a command and respond at once; follow it over the WebSocket, or get the execution again."""
    execution = await executions.insert(body.record(caller))
    await workflows.start_now_or_later(WORKFLOW, execution.id, KIND)
    return ExecutionCreated.model_validate(execution)


@routes.get("")
async def list_executions(
    paging: Annotated[Paging, paging(100)],
    status: Annotated[str | None, Query(json_schema_extra={"enum": [*ExecutionStatus]})] = None,
    user: Annotated[str | None, Query()] = None,
) -> ExecutionList:
    """List executions, newest first; filter by status or user. At most 32 MB of commands, environments and metadata."""
    if status is not None and status not in [*ExecutionStatus]:
        raise BadRequest(f"Unknown status: {status}")
    where = given(status=ExecutionStatus(status) if status else None, user=user)
    page = await paging.page(executions, where, _check_size)
    shown = [ExecutionShown.model_validate(execution) for execution in page.items]
    return ExecutionList(executions=shown, total_count=page.total, has_more=page.cursor is not None)


def _check_size(listed: Sequence[Execution]) -> None:
    if sum(each.listed_size for each in listed) > MAX_LIST:
        raise TooLarge("These executions have more than 32 MB of commands and other texts: use a smaller limit")


@routes.get("/active")
async def list_active_executions() -> ActiveExecutions:
    """List pending and running executions, newest first; of more than 1,000, or more than 32 MB, only the newest."""
    where = {"status": list(ACTIVE)}
    newest = await outlines.page(where, limit=MAX_ACTIVE, total=False)
    fitting = sum(size <= MAX_LIST for size in accumulate(each.listed_size for each in newest.items))
    found = await executions.page(where, limit=max(fitting, 1), total=False)
    return ActiveExecutions(executions=[ExecutionShown.model_validate(each) for each in found.items])


@routes.get("/statistics")
async def get_statistics() -> Statistics:
    """Get the number of executions, their success rate and their average duration."""
    totals = await executions.totals({})
    counts = totals.by("status")
    active = sum(counts[status] for status in ACTIVE)
    ended = totals.count - active
    rate = 100 * counts[ExecutionStatus.COMPLETED] / ended if ended else 0.0
    mean = f"{totals.sum('seconds') / ended:.1f}s" if ended else "-"
    return Statistics(total_executions=totals.count, active_now=active, success_rate=f"{rate:.1f}%", avg_duration=mean)


@routes.get("/{execution_id}")
async def get_execution(execution_id: str) -> ExecutionDetail:
    """Get one execution with its steps, its newest log lines and its artifacts."""
    execution = await executions.get(execution_id)
    found, entries = await asyncio.gather(artifacts_of(execution.id), _newest_lines(execution))
    return ExecutionDetail(
        execution=ExecutionShown.model_validate(execution),
        steps=await _steps(execution, entries),
        artifacts=[ArtifactShown.model_validate(artifact) for artifact in found],
    )


@routes.post("/{execution_id}/cancel")
async def cancel_execution(execution_id: str, workflows: Workflows) -> Done:
    """Cancel a pending or running execution; its container is stopped and removed."""
    execution = await executions.update(execution_id, Execution.cancel)
    if not await workflows.signal_now_or_later(execution.id, CANCEL) or execution.settled:
        await publish_end(execution)
    return Done(message="Execution cancelled")


@routes.delete("/{execution_id}")
async def delete_execution(execution_id: str, workflows: Workflows) -> Done:
    """Delete an execution with its log and artifacts; a pending or running one is cancelled first."""
    await deletion.delete_execution(execution_id, workflows)
    return Done(message="Execution deleted successfully")


async def _newest_lines(execution: Execution) -> dict[int, log_index.Entry]:
    """Return the lines to show by their numbers, and lines between them that are not shown.

    When they are too far apart for `MAX_READS` reads, those of the oldest steps are left out.
    """
    ranges: list[range] = []
    left = DETAIL_LINES
    for step in reversed(execution.steps):
        numbers = log_index.lines_of(execution, step)
        newest = numbers[len(numbers) - min(len(numbers), STEP_LINES, left) :]
        left -= len(newest)
        if not newest:
            continue
        if ranges and ranges[-1].start - newest.stop <= NEAR and ranges[-1].stop - newest.start <= MAX_SPAN:
            ranges[-1] = range(newest.start, ranges[-1].stop)
        elif len(ranges) == MAX_READS:
            break
        else:
            ranges.append(newest)
        if not left:
            break
    found = await asyncio.gather(
        *(log_index.read(execution, r.start, len(r), page_bytes=DETAIL_BYTES, newest=True) for r in ranges)
    )
    return {entry.number: entry for entries in found for entry in entries}


async def _steps(execution: Execution, entries: dict[int, log_index.Entry]) -> list[StepShown]:
    """Return all steps, with pauses in which the event loop does other work: 10,000 of them take half a second."""
    shown: list[StepShown] = []
    for step in execution.steps:
        numbers = log_index.lines_of(execution, step)
        own = [StepLog.model_validate(entries[n]) for n in numbers[-STEP_LINES:] if n in entries]
        shown.append(step_shown(execution, step, own, len(numbers)))
        if len(shown) % STEPS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return shown
