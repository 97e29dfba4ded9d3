"""An execution as a job: what its container runs, and what the execution becomes by its end."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from functions.anymind.build_job import PROGRAMS, memory_megabytes
from functions.anymind.records import AgentVersion, Execution, ExecutionStatus
from functions.anymind.store import awaited, executions, outlines, record_of, versions
from shared import blobs, tables
from shared.http.json import plain
from shared.http.requests import has_more_members
from shared.jobs import ARTIFACTS, REPORT_BYTES, BlobInput, Exit, Job, JobKind, JobSpec, Stop, in_words
from shared.redaction import redact

KIND = "anymind.execution"

TIMEOUT = 120
"""Seconds for unpacking the agent, importing it (30) and the call of its handler (30)."""

RESULT = "result.json"
REPORT = "report.json"
MAX_RESULT = 10_000_000
"""Bytes of a result."""

MAX_MEMBERS = 200_000
"""Members and elements of a result, and of a request with an input, on all levels together."""

LONG = 200_000
"""Characters of a result, of which more are parsed beside the event loop."""

NEWEST = 100
"""Lines of output that can be shown."""


class ExecutionReport(BaseModel):
    """What the container's program writes: an error, or a result as JSON text; `log` are the last lines of output.

    Without both, the result is in the kept file `RESULT`. It is not trusted: the agent may have written it.
    """

    error: Annotated[str, Field(max_length=16_384)] | None = None
    result: Annotated[str, Field(max_length=REPORT_BYTES)] | None = None
    log: Annotated[str, Field(max_length=65_536)] | None = None


class AnymindExecution(JobKind):
    """The kind of job that calls an agent's handler; its id is the execution's `job_id`."""

    name = KIND
    max_file = MAX_RESULT

    async def prepare(self, job_id: str) -> JobSpec | None:
        """Return the call of the handler with the execution's input."""
        execution = await record_of(executions, job_id)
        if execution is None or execution.status.final:
            return None
        try:
            version = await versions.get(execution.agent_version_id)
        except tables.RecordNotFound:  # the agent was deleted when this was inserted, and nothing else would delete it
            with contextlib.suppress(tables.RecordNotFound):
                await executions.delete(execution.id)
            return None
        return spec_of(execution, version)

    async def waiting(self, job_id: str, reason: str) -> None:
        """Change the status to `pending`: there is no room for its container yet."""
        await _change(job_id, Execution.wait)

    async def started(self, job: Job) -> None:
        """Change the status of one that has waited to `running`. `Stop` when it is cancelled or deleted."""
        execution = await record_of(executions, job.id)
        if execution is None or execution.status.final:
            raise Stop
        if execution.status is ExecutionStatus.PENDING:
            await executions.update(execution, Execution.run)

    async def ended(self, job: Job, end: Exit) -> None:
        """Record the result or the reason of the failure, and the newest lines of output."""
        report = _report_of(end)
        status, output, error = await outcome(end, report)
        log = redact(report.log) if report.log else ""

        def finish(execution: Execution) -> None:
            execution.started_at = end.started_at
            execution.output_size = len(report.result or "") + sum(file.size for file in end.files)
            execution.log = log
            execution.lines = min(log.count("\n"), NEWEST) if log else NEWEST if job.size else 0
            execution.end(status, end.at, output=output, error=error)

        await _change(job.id, finish)
        for file in end.files:
            await blobs.delete(ARTIFACTS, file.blob)

    async def wanted(self, job_id: str) -> bool:
        """Return whether the execution exists and is not final."""
        execution = await record_of(executions, job_id)
        return execution is not None and not execution.status.final

    async def unfinished(self) -> AsyncIterator[str]:
        """Yield the job ids of pending and running executions."""
        for status in (ExecutionStatus.PENDING, ExecutionStatus.RUNNING):
            async for execution in outlines.all({"status": status}, order="id"):
                yield execution.job_id


def spec_of(execution: Execution, version: AgentVersion) -> JobSpec:
    """Return the call of a version's handler with the execution's input."""
    return JobSpec(
        ["python3", "-SEu", "boot.py", "call", str(memory_megabytes())],
        TIMEOUT,
        inputs={
            "boot.py": PROGRAMS["boot.py"],
            "supervision.py": PROGRAMS["supervision.py"],
            "ready.tar.gz": BlobInput(ARTIFACTS, version.ready_blob or ""),
            "payload.json": json.dumps(execution.input_data).encode(),
        },
        keep="kept",
        report=REPORT,
        owner=f"{execution.user_id} {version.id}",
    )


async def _change(job_id: str, change: Callable[[Execution], None]) -> None:
    """Change the execution of a job; one that is deleted is no error."""
    if execution := awaited.get(job_id) or await record_of(executions, job_id):
        with contextlib.suppress(tables.RecordNotFound):
            execution = await executions.update(execution, change)
            if job_id in awaited:
                awaited[job_id] = execution


def _report_of(end: Exit) -> ExecutionReport:
    try:
        return ExecutionReport.model_validate_json(end.report or "{}")
    except ValidationError:
        return ExecutionReport()


async def outcome(end: Exit, report: ExecutionReport) -> tuple[ExecutionStatus, dict[str, Any] | None, str | None]:
    """Return the status, the result and the error message of an execution whose job has ended."""
    match end.reason:
        case "exited" if report.error is not None:
            return ExecutionStatus.FAILED, None, redact(report.error)
        case "exited":
            text = report.result or await _kept_result(end)
            if text is None:
                reason = next((file.reason for file in end.skipped), "") or end.message
                return (
                    ExecutionStatus.FAILED,
                    None,
                    reason or f"Ended with code {end.exit_code} and no result",
                )
            try:
                result = await asyncio.to_thread(_parsed, text) if len(text) > LONG else _parsed(text)
            except ValueError as error:
                return ExecutionStatus.FAILED, None, f"The result {error}"
            return ExecutionStatus.COMPLETED, result if isinstance(result, dict) else {"result": result}, None
        case "timeout":
            return ExecutionStatus.FAILED, None, f"Timed out after {in_words(TIMEOUT)}"
        case "cancelled":
            return ExecutionStatus.CANCELLED, None, None
        case "unstartable":
            return ExecutionStatus.FAILED, None, end.message or "The container could not be started"
        case "lost":
            return ExecutionStatus.FAILED, None, end.message or "The container stopped without reporting a result"


def _parsed(text: str) -> Any:
    """Return a result. `ValueError` says what is wrong with it, as the end of a sentence."""
    data = text.encode()
    # Before parsing, which holds up every thread while it lasts.
    if has_more_members(data, MAX_MEMBERS):
        raise ValueError(f"must have at most {MAX_MEMBERS} members and elements")
    try:
        result = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"cannot be read: {error}") from error
    return plain(result)


async def _kept_result(end: Exit) -> str | None:
    """Return a result that is too long for the report; None when there is none."""
    kept = next((file for file in end.files if file.name == RESULT and file.size <= MAX_RESULT), None)
    try:
        return (await blobs.get(ARTIFACTS, kept.blob)).decode("utf-8", "replace") if kept else None
    except blobs.BlobNotFound:  # a repeat: it was deleted after the result had been stored
        return None
