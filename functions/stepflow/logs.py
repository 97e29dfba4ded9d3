"""Logs: the lines that executions print."""

from datetime import datetime
from typing import Annotated

from fastapi import Query

from functions.stepflow import log_index
from functions.stepflow.access import routes_for
from functions.stepflow.records import Execution
from functions.stepflow.store import executions
from shared.http.bodies import ResponseBody
from shared.http.errors import NotFound
from shared.http.paging import Limit, Offset

routes = routes_for("/api/executions/{execution_id}/logs", "logs")


class LogShown(ResponseBody):
    """A log line of an execution."""

    timestamp: datetime
    content: str
    level: str = "info"
    step_id: str | None
    step_name: str | None


class LogPage(ResponseBody):
    """A part of an execution's log, from line `offset` on; the next part begins after its last line."""

    logs: list[LogShown]
    total_count: int
    offset: int
    has_more: bool


@routes.get("")
async def list_logs(
    execution_id: str, limit: Limit = 1000, offset: Offset = 0, step_id: Annotated[str | None, Query()] = None
) -> LogPage:
    """List an execution's log lines in order, or those of one step; pages with very long lines may be shorter."""
    execution = await executions.get(execution_id)
    numbers = range(execution.lines)
    if step_id is not None:
        index = execution.step_index(step_id)
        if index is None:
            raise NotFound("Step not found")
        numbers = log_index.lines_of(execution, execution.steps[index])
    entries = await log_index.read(execution, numbers.start + offset, min(limit, len(numbers) - offset))
    return LogPage(
        logs=[_shown(execution, entry) for entry in entries],
        total_count=len(numbers),
        offset=offset,
        has_more=bool(entries) and offset + len(entries) < len(numbers),
    )


def _shown(execution: Execution, entry: log_index.Entry) -> LogShown:
    step = log_index.step_of(execution, entry.number)
    return LogShown(
        timestamp=entry.timestamp,
        content=entry.content,
        step_id=execution.step_id(step.index) if step else None,
        step_name=step.name if step else None,
    )
