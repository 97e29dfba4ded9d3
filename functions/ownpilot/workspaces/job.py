"""An execution as a job: what its container runs, and what becomes of the execution and its files by its end."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from functions.ownpilot.core.audit_log import AuditOutcome, Severity, Subject, record_event
from functions.ownpilot.core.debug_log import DebugType, record_debug
from functions.ownpilot.core.files import CONTAINER, FileNotFound, FileRow, FileStore
from functions.ownpilot.workspaces.outcome import finish
from functions.ownpilot.workspaces.records import Execution, ExecutionStatus, executions, workspaces
from functions.ownpilot.workspaces.turns import is_turn, leave
from shared import blobs, tables
from shared.http.errors import ApiError
from shared.job_orders import listed_tree
from shared.jobs import ARTIFACTS, BlobInput, Exit, Job, JobKind, JobSpec, KeptFile, Stop, Unstartable
from shared.order import TREE_LIST
from shared.settings import settings

T = TypeVar("T")

KIND = "ownpilot.execution"
PROGRAM = (Path(__file__).parent / "container" / "execute.py").read_bytes()
TREE, REPORT = "files", "report.json"

MARGIN = 10
"""Seconds for which the job may last longer than its code."""

MAX_FILE = 1024**3
"""Bytes of a file that an execution writes; the quota of the workspace is mostly smaller."""

TOGETHER = 8
"""Files that are taken over at a time."""

awaited: dict[str, Execution] = {}
"""The executions whose turn it is and whose end a request of this process waits for, as this process wrote them."""


class OwnpilotExecution(JobKind):
    """The kind of job that runs code in a workspace; its id is the execution's."""

    name = KIND
    max_file = MAX_FILE
    takes_turns = True

    async def prepare(self, job_id: str) -> JobSpec | None:
        """Return the execution's code, and the files of its workspace; None when either was deleted. `Unstartable`."""
        execution = await execution_of(job_id)
        if execution is None or execution.status.final:
            return None
        try:
            workspace = await workspaces.of(execution.user_id).get(execution.workspace)
        except tables.RecordNotFound:
            return None
        return await prepared(execution, workspace.store)

    async def held(self, job_id: str, limit: int) -> str | None:
        """Return a reason while an earlier execution of the workspace has not ended."""
        if job_id in awaited:
            return None
        execution = await execution_of(job_id)
        with contextlib.suppress(tables.RecordNotFound):
            if execution is not None and not await is_turn(execution):
                return "Another execution runs in this workspace"
        return None

    async def started(self, job: Job) -> None:
        """Note that an execution which has waited runs. `Stop` when it is deleted or has ended."""
        execution = awaited.get(job.id) or await execution_of(job.id)
        if execution is None or execution.status.final:
            raise Stop
        if execution.status is ExecutionStatus.PENDING:
            await _change(execution, lambda record: setattr(record, "status", ExecutionStatus.RUNNING))

    async def stored(self, job_id: str, tags: Sequence[str]) -> Mapping[str, BlobInput]:
        """Return where files of the workspace are stored."""
        execution = await execution_of(job_id)
        if execution is None:
            return {}
        folder = FileStore(execution.user_id, execution.workspace).folder
        return {tag: BlobInput(CONTAINER, folder + tag) for tag in tags}

    async def ended(self, job: Job, end: Exit) -> None:
        """Take over what the execution has changed, record its end, and give the turn to the next one.

        Its files come first: whoever sees that it has ended sees them, too.
        """
        execution = awaited.get(job.id) or await execution_of(job.id)
        if execution is not None:
            if not execution.status.final:
                await _end(execution, end, await _take_over(execution, end))
            else:
                await leave(execution)
        for file in end.files:
            await blobs.delete(ARTIFACTS, file.blob)

    async def wanted(self, job_id: str) -> bool:
        """Return whether the execution exists and has not ended."""
        execution = await execution_of(job_id)
        return execution is not None and not execution.status.final

    async def unfinished(self) -> AsyncIterator[str]:
        """Yield the ids of executions that wait or run."""
        for status in (ExecutionStatus.PENDING, ExecutionStatus.RUNNING):
            async for execution in executions.all({"status": status}):
                yield execution.id


async def prepared(execution: Execution, store: FileStore) -> JobSpec:
    """Write the files that came with an execution, and return its job. `Unstartable` when they cannot be written.

    It is the execution's turn: none that came before changes them any more. Done again, it changes nothing.
    """
    try:
        for held in execution.files:
            await store.add(held)
    except ApiError as error:
        if error.status >= 500:
            raise
        raise Unstartable(f"A file that came with the code could not be written: {error.message}") from None
    return await spec_of(execution, await store.list())


async def spec_of(execution: Execution, files: Sequence[FileRow]) -> JobSpec:
    """Return the job that runs the execution's code among these files."""
    tree = await asyncio.to_thread(listed_tree, {row.path: row.sha256 for row in files})  # 10,000 take long
    seconds = execution.timeout_ms / 1000
    limits = {
        "language": execution.language, "seconds": seconds, "megabytes": execution.memory_mb,
        "network": execution.network,
    }  # fmt: skip
    return JobSpec(
        ["python3", "-SEs", "execute.py"],
        int(seconds) + MARGIN,
        inputs={
            "execute.py": PROGRAM,
            "code": execution.code.encode(),
            "limits.json": json.dumps(limits).encode(),
            TREE_LIST: tree,
        },
        report=REPORT,
        owner=owner_of(execution.workspace),
        tree=TREE,
        subnet=None if execution.network else settings().ownpilot_code_subnet or None,
    )


def owner_of(workspace: str) -> str:
    """Return the owner of a workspace's warm containers: the workspace itself."""
    return f"workspace {workspace}"


def container_megabytes() -> int:
    """Return the memory of a container, in MB."""
    return int(settings().job_memory * 1000)


async def execution_of(execution_id: str) -> Execution | None:
    """Return an execution, None when there is none."""
    try:
        return await executions.get(execution_id)
    except tables.RecordNotFound:
        return None


async def _change(execution: Execution, change: Callable[[Execution], None]) -> Execution:
    """Change an execution; one that is deleted meanwhile is no error."""
    with contextlib.suppress(tables.RecordNotFound):
        execution = await executions.update(execution, change)
        if execution.id in awaited:
            awaited[execution.id] = execution
    return execution


async def _end(execution: Execution, end: Exit, not_kept: list[dict[str, str]]) -> None:
    """Record the end once, although several may be about to: the runner's report and the job's workflow.

    Then the turn is given to the next execution.
    """
    is_first = False

    def change(record: Execution) -> None:
        nonlocal is_first
        is_first = not record.status.final
        if is_first:
            finish(record, end, not_kept)

    execution = await _change(execution, change)
    await asyncio.gather(leave(execution), *([_log(execution)] if is_first else []))


async def _take_over(execution: Execution, end: Exit) -> list[dict[str, str]]:
    """Store the files that the execution has changed, and delete those that it has removed; return what was not kept.

    A file that was replaced since the execution began is not deleted. A deleted workspace takes nothing.
    """
    not_kept = [{"path": file.name, "reason": file.reason} for file in end.skipped if file.name != REPORT]
    if not end.files and not end.removed:
        return not_kept
    try:
        store = (await workspaces.of(execution.user_id).get(execution.workspace)).store
    except tables.RecordNotFound:
        return not_kept

    async def remove(path: str, tag: str) -> None:
        with contextlib.suppress(FileNotFound):
            if (await store.find(path)).sha256 == tag:
                await store.delete(path)

    async def keep(file: KeptFile) -> None:
        try:
            small = await blobs.get(ARTIFACTS, file.blob) if file.size <= blobs.CHUNK else None
            await store.write(file.name, small or (lambda: blobs.stream(ARTIFACTS, file.blob)))
        except ApiError as error:
            if error.status >= 500:
                raise
            not_kept.append({"path": file.name, "reason": error.message})

    await _for_each([*end.removed.items()], lambda removed: remove(*removed))  # first, as this makes room
    await _for_each(end.files, keep)
    return not_kept


async def _for_each(items: Sequence[T], work: Callable[[T], Awaitable[None]]) -> None:
    for first in range(0, len(items), TOGETHER):
        await asyncio.gather(*map(work, items[first : first + TOGETHER]))


async def _log(execution: Execution) -> None:
    """Write an execution that has ended into the audit log and the debug log."""
    good = execution.status is ExecutionStatus.COMPLETED
    ran = {
        "executionId": execution.id, "language": execution.language, "status": execution.status,
        "exitCode": execution.exit_code,
    }  # fmt: skip
    await asyncio.gather(
        record_event(
            execution.user_id, "code.execute", Subject("workspace", execution.workspace),
            severity=Severity.INFO if good else Severity.WARN,
            outcome=AuditOutcome.SUCCESS if good else AuditOutcome.FAILURE,
            details={**ran, "codeHash": execution.code_hash, "durationMs": execution.duration},
            correlation_id=execution.correlation_id,
        ),
        record_debug(
            execution.user_id, DebugType.SANDBOX_EXECUTION, {**ran, "workspaceId": execution.workspace},
            duration=execution.duration,
        ),
    )  # fmt: skip
