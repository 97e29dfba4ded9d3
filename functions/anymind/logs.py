"""Logs: how builds and executions ended, and what agents have printed."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from functions.anymind.access import CurrentUser, RecordId, owned_agent, owned_execution
from functions.anymind.bodies import Moment
from functions.anymind.records import AgentVersion, Execution, ExecutionStatus, VersionStatus
from functions.anymind.store import executions, outlines, versions
from shared import blobs
from shared.http.bodies import ResponseBody
from shared.http.routes import router
from shared.jobs import LOGS

routes = router("/api/v1/logs", "logs")

BUILDS, EXECUTIONS, ENTRIES = 10, 50, 100
"""How many of an agent's newest builds, executions and entries are shown."""

AT_ONCE = 4
"""Executions that are read at a time for their lines, with inputs and outputs that may have 10 MB each."""

TAIL = 2 * 1024 * 1024
"""Bytes of a job's log that are read for its newest lines: a line has at most 16 KiB."""

_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}) ([OE]) (.*)", re.DOTALL)
"""A line of output with its moment and its stream, as the container's program writes it."""


class LogEntry(ResponseBody):
    """One entry: the end of a build or of an execution, or a line that an execution has printed."""

    timestamp: Moment
    level: Literal["INFO", "WARNING", "ERROR"]
    message: str
    source: Literal["build", "runtime"]
    metadata: dict[str, Any]


@routes.get("/executions/{execution_id}/logs")
async def get_execution_logs(execution_id: RecordId, user: CurrentUser) -> list[LogEntry]:
    """What an execution has printed, and how it ended: the newest 100 entries, oldest first."""
    return (await _entries(await owned_execution(user, execution_id)))[-ENTRIES:]


@routes.get("/{agent_id}")
async def get_agent_logs(agent_id: RecordId, user: CurrentUser) -> list[LogEntry]:
    """The newest 100 entries of the agent's builds and executions, oldest first."""
    agent = await owned_agent(user, agent_id)
    built, executed = await asyncio.gather(
        versions.page({"agent_id": agent.id}, limit=BUILDS, total=False),
        outlines.page({"agent_id": agent.id}, order="created_at", limit=EXECUTIONS, total=False),
    )
    blocks = [[_build_entry(version)] for version in built.items if version.status.final]
    ended = [*_enough(executed.items)]
    for first in range(0, len(ended), AT_ONCE):
        blocks += await asyncio.gather(*map(_whole_entries, ended[first : first + AT_ONCE]))
    blocks.sort(key=lambda block: block[-1].timestamp)
    return [entry for block in blocks for entry in block][-ENTRIES:]


def _enough(listed: Sequence[Execution]) -> Iterator[Execution]:
    """Yield executions that have ended, newest first, until they have as many entries as are shown."""
    count = 0
    for execution in listed:
        if count >= ENTRIES:
            return
        if execution.ended_at:
            count += execution.lines + 1
            yield execution


async def _whole_entries(listed: Execution) -> list[LogEntry]:
    """Return the entries of an execution that has ended; its lines are not in the list."""
    return await _entries(await executions.get(listed.id) if listed.lines else listed)


async def _entries(execution: Execution) -> list[LogEntry]:
    """Return the newest lines of an execution's output and, when it has ended, how."""
    text = execution.log
    if not text and (execution.lines or not execution.ended_at):
        text = await _tail(execution.job_id)
    metadata = {"execution_id": int(execution.id), "status": execution.status}
    entries: list[LogEntry] = []
    moment = execution.started_at or execution.created_at
    for line in text.split("\n")[-ENTRIES - 1 : -1]:
        if match := _LINE.fullmatch(line):
            moment = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
        level = "INFO" if match and match[2] == "O" else "WARNING"
        message = match[3] if match else line
        entries.append(LogEntry(timestamp=moment, level=level, message=message, source="runtime", metadata=metadata))
    if execution.ended_at:
        entries.append(_end_entry(execution, execution.ended_at, metadata))
    return entries


async def _tail(job_id: str) -> str:
    """Return the last lines of a job's log; "" when it has none."""
    try:
        size = (await blobs.info(LOGS, job_id)).size
        if not size:  # it was made for the first output, which is being written
            return ""
        start = max(0, size - TAIL)
        data = b"".join([chunk async for chunk in blobs.stream(LOGS, job_id, start, size - start)])
    except blobs.BlobNotFound:
        return ""
    return data.decode("utf-8", "replace")


def _end_entry(execution: Execution, at: datetime, metadata: dict[str, Any]) -> LogEntry:
    level: Literal["INFO", "WARNING", "ERROR"]
    match execution.status:
        case ExecutionStatus.COMPLETED:
            level, message = "INFO", f"Execution {execution.id} completed successfully"
        case ExecutionStatus.CANCELLED:
            level, message = "WARNING", f"Execution {execution.id} was cancelled"
        case _:
            level, message = "ERROR", execution.error_message or f"Execution {execution.id} failed"
    return LogEntry(timestamp=at, level=level, message=message, source="runtime", metadata=metadata)


def _build_entry(version: AgentVersion) -> LogEntry:
    return LogEntry(
        timestamp=version.ended_at or version.updated_at,
        level="INFO" if version.status is VersionStatus.READY else "ERROR",
        message=version.build_log or "",
        source="build",
        metadata={"version_id": int(version.id), "status": version.status},
    )
