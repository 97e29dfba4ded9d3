"""An execution as a job: what its container runs, and how the execution changes as output arrives."""

import asyncio
import posixpath
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from itertools import accumulate, groupby
from pathlib import PurePosixPath

from functions.stepflow import log_index, updates
from functions.stepflow.markers import ARTIFACT_PATH
from functions.stepflow.records import ACTIVE, WORKSPACE, Artifact, ArtifactType, Execution, ExecutionStatus
from functions.stepflow.store import artifacts, executions, outlines
from functions.stepflow.transcript import ArtifactMark, Change, LogLine, StepChange
from functions.stepflow.updates import Message
from shared import blobs, tables
from shared.jobs import LOGS, Captured, Exit, Job, JobKind, JobSpec, Printed, Stop, in_words
from shared.tables.ids import derived_id
from shared.turns import is_among_oldest

KIND = "stepflow.execution"

INLINE_COMMAND = 16 * 1024
"""Bytes of the longest command that is passed as an argument; a longer one is passed as a file."""

SCRIPT = ".stepflow-command.sh"

READ_AT_ONCE = 64 * 1024
"""Bytes of output that are read without a pause."""


class StepflowExecution(JobKind):
    """The kind of job that runs an execution's command."""

    name = KIND

    async def prepare(self, job_id: str) -> JobSpec | None:
        """Return the execution's command, to be run by a shell."""
        try:
            execution = await executions.get(job_id)
        except tables.RecordNotFound:
            return None
        if execution.status.final:
            return None
        command = execution.command.encode()
        inline = len(command) <= INLINE_COMMAND
        return JobSpec(
            ["/bin/sh", "-c", execution.command] if inline else ["/bin/sh", SCRIPT],
            execution.timeout,
            directory=posixpath.normpath(posixpath.join(WORKSPACE, execution.working_directory)).lstrip("/") or ".",
            inputs={} if inline else {SCRIPT: command},
            environment=execution.environment,
            capture=ARTIFACT_PATH,
            mask_words=False,  # `[key=value]` in a marker is a parameter
            owner=execution.client_id,  # not the user, whom a client may name as it likes
        )

    async def held(self, job_id: str, limit: int) -> str | None:
        """Return a reason unless it is among the `limit` oldest pending and running executions of its user."""
        execution = await executions.get(job_id)
        active = {"user": execution.user, "status": list(ACTIVE)}
        if await is_among_oldest(outlines, active, execution, limit):
            return None
        return f"{limit} of your executions are running"

    async def waiting(self, job_id: str, reason: str) -> None:
        """Store and publish why a pending execution cannot start yet."""

        def wait(execution: Execution) -> None:
            if execution.status is ExecutionStatus.PENDING:
                execution.waiting_reason = reason

        execution = await executions.update(job_id, wait)
        if execution.status is ExecutionStatus.PENDING:
            await updates.publish(execution.id, [updates.execution_waiting(execution)])

    async def started(self, job: Job) -> None:
        """Change the execution's status to `running` and publish that. `Stop` when it has ended."""
        execution = await executions.update(job.id, Execution.start)
        if execution.status.final:
            raise Stop
        await updates.publish(execution.id, [updates.execution_started(execution)])

    async def output(self, job: Job, offset: int, data: bytes, printed: Printed) -> None:
        """Read steps, log lines and artifacts from the output, store them, then publish them.

        The position up to which output was read is stored with them, and output before it is skipped: a repeat changes
        nothing. `Stop` when the execution has ended or a critical step has failed.
        """
        end = offset + len(data)

        async def change(execution: Execution) -> Sequence[Change]:
            if execution.status.final:
                raise Stop
            return await _read(execution, await _unread(execution, offset, data), _times(job, printed))

        execution = await _advance(job, change, end)
        if execution is None or execution.failure is not None:
            raise Stop

    async def ended(self, job: Job, end: Exit) -> None:
        """Read the rest of the output, close the open step, store the final status, then publish all of it."""

        async def change(execution: Execution) -> Sequence[Change]:
            if execution.settled:
                return ()
            changes: Sequence[Change] = ()
            if not execution.status.final:  # else cancelled: output since then is ignored
                if end.started_at:
                    execution.start(end.started_at)
                rest = await _unread(execution, job.size, b"")
                read = await _read(execution, rest, _times(job, Printed(end.printed or [(0, end.at)])), end=True)
                status, code, message = outcome(end, job.timeout)
                changes = read + execution.close(code, end.at, None if end.reason == "exited" else message)
                if execution.failure is not None:
                    status, code, message = ExecutionStatus.FAILED, 1, execution.failure
                execution.end(status, code, message, end.at)
            execution.settled = True
            return changes

        execution = await _advance(job, change, job.size)
        if execution is None or (execution.status is ExecutionStatus.CANCELLED and execution.started_at is None):
            return  # deleted, or cancelled before its start by a request that has published the end
        await publish_end(execution)

    async def wanted(self, job_id: str) -> bool:
        """Return whether the execution exists and is not final."""
        try:
            return not (await executions.get(job_id)).status.final
        except tables.RecordNotFound:
            return False

    async def unfinished(self) -> AsyncIterator[str]:
        """Yield the ids of pending and running executions."""
        for status in ACTIVE:
            async for execution in outlines.all({"status": status}):
                yield execution.id


def outcome(end: Exit, timeout: int) -> tuple[ExecutionStatus, int | None, str | None]:
    """Return the status, exit code and error message of an execution whose job has ended; `timeout` in seconds."""
    match end.reason:
        case "exited" if end.exit_code == 0:
            return ExecutionStatus.COMPLETED, 0, None
        case "exited":
            note = {126: " (the command is not executable)", 127: " (command not found)"}.get(end.exit_code or 0, "")
            message = end.message or f"Command exited with code {end.exit_code}{note}"
            return ExecutionStatus.FAILED, end.exit_code, message
        case "timeout":
            return ExecutionStatus.FAILED, -1, f"Execution timed out after {in_words(timeout)}"
        case "unstartable":
            return ExecutionStatus.FAILED, 1, end.message or "The container could not be started"
        case "lost":
            message = end.message or "The container stopped without reporting an exit code"
            return ExecutionStatus.FAILED, -1, message
        case "cancelled":
            return ExecutionStatus.CANCELLED, None, "Cancelled"


async def publish_end(execution: Execution) -> None:
    """Publish an execution's last messages: the error if it failed, and its end."""
    count = await artifacts.count({"execution_id": execution.id})
    last = [updates.execution_error(execution)] if execution.status is ExecutionStatus.FAILED else []
    if execution.status is ExecutionStatus.CANCELLED and execution.steps:
        step = execution.steps[-1]
        last = [updates.step_update(execution, step)] if step.completed_at == execution.completed_at else []
    await updates.publish(execution.id, [*last, updates.execution_completed(execution, count)])


def _times(job: Job, printed: Printed) -> Callable[[int], datetime]:
    """Return a function from a byte offset to the moment at which that output was printed."""

    # A step that begins before a line that names a file is not younger than the file.
    files = sorted(job.captured, key=lambda captured: captured.line)
    lines = [captured.line for captured in files]
    oldest = [*accumulate((captured.at for captured in reversed(files)), min)][::-1]  # of each file and those after it

    def time_of(position: int) -> datetime:
        return min([printed.at(position), *oldest[bisect_left(lines, position) :][:1]])

    return time_of


async def _read(
    execution: Execution, data: bytes, times: Callable[[int], datetime], *, end: bool = False
) -> list[Change]:
    """Read output as `Execution.read` does, with pauses in which the event loop does other work."""
    changes: list[Change] = []
    start = execution.offset
    if data and start == 0:
        execution.started_by(times(0))
    for stop in range(READ_AT_ONCE, len(data), READ_AT_ONCE):
        changes += execution.read(data[execution.offset - start : stop], times)
        await asyncio.sleep(0)
    return changes + execution.read(data[execution.offset - start :], times, end=end)


async def _unread(execution: Execution, offset: int, data: bytes) -> bytes:
    """Return the output that the execution has not read yet: from the log up to `offset`, then from `data`."""
    if execution.offset >= offset:
        return data[execution.offset - offset :]
    stored = blobs.stream(LOGS, execution.id, execution.offset, offset - execution.offset)
    return b"".join([chunk async for chunk in stored]) + data


async def _advance(
    job: Job, change: Callable[[Execution], Awaitable[Sequence[Change]]], log_bytes: int
) -> Execution | None:
    """Change an execution together with its log lines and artifacts, then publish; None when there is no execution.

    Log lines and artifacts are written first, under the same keys in every repeat; then the execution is written on
    the condition that it has not changed since it was read.
    """
    while True:
        try:
            execution = await executions.get(job.id)
        except tables.RecordNotFound:
            return None
        version, first, waited = execution.etag, execution.lines, execution.started_at is None
        changes = await change(execution)
        messages = [updates.execution_started(execution)] if waited and execution.started_at else []
        messages += await _store(job, execution, first, changes)
        execution.summarise()
        execution.log_bytes = max(execution.log_bytes, log_bytes)
        execution.messages += len(messages)
        try:
            stored = await executions.update(execution, lambda _, new=execution: new, if_match=version)
        except tables.RecordChanged:
            continue
        except tables.RecordNotFound:
            return None
        await updates.publish(stored.id, messages)
        return stored


async def _store(job: Job, execution: Execution, first: int, changes: Sequence[Change]) -> list[Message]:
    """Write log lines, numbered from `first` on, and artifacts; return the messages to publish."""
    await log_index.append(execution.id, first, [change for change in changes if isinstance(change, LogLine)])
    messages: list[Message] = []
    for _, group in groupby(changes, type):  # consecutive lines may share frames
        run = list(group)
        lines = [change for change in run if isinstance(change, LogLine)]
        messages += updates.log_entries(execution, first, lines)
        first += len(lines)
        for change in run:
            if isinstance(change, StepChange):
                messages.append(updates.step_update(execution, change.step))
            elif isinstance(change, ArtifactMark):
                artifact = await artifacts.insert(_artifact(job, execution, change))
                messages.append(updates.artifact_created(artifact))
    return messages


def _artifact(job: Job, execution: Execution, mark: ArtifactMark) -> Artifact:
    """Return the record of the file that a marker names, even if the file is missing; a repeat returns the same."""
    named = (captured for captured in job.captured if captured.line == mark.offset and captured.path == mark.path)
    captured = next(named, Captured(line=mark.offset, end=0, path=mark.path, at=execution.created_at))
    file = captured.file
    name = PurePosixPath(mark.path).name or mark.path
    file_name = PurePosixPath(file.name).name if file else name
    return Artifact(
        id=derived_id(captured.at, f"{execution.id} artifact {mark.offset}"),
        created_at=captured.at,
        execution_id=execution.id,
        step_id=execution.step_id(mark.step),
        name=name,
        description=mark.description,
        file_name=file_name,
        file_size=file.size if file else 0,
        mime_type=file.content_type if file else None,
        artifact_type=ArtifactType.of(file_name),
        metadata={} if file else {"message": captured.reason or "No such file"},
        blob=file.blob if file else None,
        sha256=file.sha256 if file else "",
    )
