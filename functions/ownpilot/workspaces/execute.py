"""Running code in a workspace."""

import contextlib
import hashlib
import time
from typing import Annotated, Any

from fastapi import Response
from pydantic import Field

from functions.ownpilot.core.entry import Given
from functions.ownpilot.core.file_paths import file_path
from functions.ownpilot.core.file_shapes import Encoding, bytes_of
from functions.ownpilot.core.owner import Owner, Person, routes_for
from functions.ownpilot.workspaces.config import ContainerConfig
from functions.ownpilot.workspaces.job import KIND, awaited, container_megabytes, execution_of, prepared
from functions.ownpilot.workspaces.records import Execution, ExecutionStatus, Language, Workspace, executions
from functions.ownpilot.workspaces.store import note, sandbox_of, workspace_of
from functions.ownpilot.workspaces.turns import is_turn, join, leave, left
from shared import tables, warm
from shared.health import CONTAINERS, Checks
from shared.http.bodies import example
from shared.http.errors import BadRequest, Forbidden, NotFound, Unavailable
from shared.http.json import Text
from shared.http.routes import options
from shared.jobs import WORKFLOW, Unstartable, wait_until_ended
from shared.workflows import WorkflowClient, Workflows

routes = routes_for("workspaces")
checks = Checks({"docker": CONTAINERS})

MAX_BODY = 64 * 1024 * 1024
MAX_CODE = 1_000_000
"""Characters of code."""

MAX_FILES = 100
"""Files that come with the code."""

MAX_TIMEOUT = 300_000
"""Milliseconds for which code may run."""

PATIENCE = 20
"""Seconds beyond the time-out of the code for which a request waits for its end."""

LONGEST = 200
"""Seconds for which a request waits at most: the platform allows 230."""


class FileToWrite(Given):
    """A file that is written before the code runs."""

    path: Text
    content: Text
    encoding: Encoding = "utf-8"


class CodeToRun(Given):
    """Code and its limits; `timeout` in milliseconds. `executionId` alone asks for one that was answered with 202."""

    model_config = example(language="python", code="print('Hello, World!')", timeout=30_000)

    language: str = ""
    code: Annotated[Text | None, Field(max_length=MAX_CODE)] = None
    timeout: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    files: Annotated[list[FileToWrite], Field(max_length=MAX_FILES)] = []
    container_config: ContainerConfig | None = None
    execution_id: str | None = None


@routes.post("/{workspace_id}/execute", responses={202: {"description": "The code has not ended yet"}})
@options(max_body=MAX_BODY)
async def execute_code(
    workspace_id: str, body: CodeToRun, owner: Owner, response: Response, workflows: Workflows
) -> dict[str, Any]:
    """Run code among the files of a workspace, and wait for its end; files that it changes are then stored.

    Executions of one workspace run one after the other; `files` are written when it is the turn of their code. An
    answer with status 202 comes 20 seconds after the time-out of the code, at the latest after 200 seconds: then the
    same address answers a body with its `executionId` alone.
    """
    workspace = await workspace_of(owner.id, workspace_id)
    if body.execution_id:
        execution = await _known(workspace, body.execution_id)
    else:
        execution = await _execute(owner, workspace, body, workflows)
    response.status_code = 200 if execution.status.final else 202
    return shown(execution)


def shown(execution: Execution) -> dict[str, Any]:
    """Return an execution as its client sees it."""
    return {
        "executionId": execution.id, "status": execution.status, "stdout": execution.stdout,
        "stderr": execution.stderr, "exitCode": execution.exit_code, "executionTimeMs": execution.duration,
        "error": execution.error, "outputCut": execution.cut, "networkIsolated": execution.isolated,
        "notKept": execution.not_kept,
    }  # fmt: skip


async def _known(workspace: Workspace, execution_id: str) -> Execution:
    execution = await execution_of(execution_id)
    if execution is None or execution.workspace != workspace.id:
        raise NotFound("There is no such execution in this workspace", code="EXECUTION_NOT_FOUND")
    return execution


async def _execute(owner: Person, workspace: Workspace, body: CodeToRun, workflows: WorkflowClient) -> Execution:
    """When it is its turn, write the files and run the code; return the execution as it is when the wait is over."""
    execution = _new(owner, workspace, body)
    if not (await sandbox_of(owner.id)).enabled:
        raise Forbidden("The sandbox is switched off in the settings", code="SANDBOX_DISABLED")
    given = [(file_path(file.path), bytes_of(file.content, file.encoding)) for file in body.files]
    until = time.monotonic() + min(execution.timeout_ms / 1000 + PATIENCE, LONGEST)
    if await join(workspace, execution):
        execution.status = ExecutionStatus.RUNNING
    try:
        execution.files = [await workspace.store.hold(path, content) for path, content in given]
        execution = await executions.insert(execution)
    except BaseException:
        await leave(execution)
        raise
    with contextlib.suppress(tables.StorageUnavailable):  # it is accepted: an error would hide its id
        for file in execution.files:
            await note(owner, workspace, "file.write", path=file.path, size=file.size)
    with contextlib.suppress(tables.StorageUnavailable):
        execution = await _follow(execution, workspace, until, workflows)
    return execution


async def _follow(execution: Execution, workspace: Workspace, until: float, workflows: WorkflowClient) -> Execution:
    """Start an execution when it is its turn, and wait for its end, both until that moment of the monotonic clock."""
    if execution.status is ExecutionStatus.RUNNING or await _wait_for_turn(execution, until):
        awaited[execution.id] = execution
    try:
        if execution.id in awaited:
            with contextlib.suppress(Unstartable):  # which the workflow records
                spec = await prepared(execution, workspace.store)
                if not await warm.place(KIND, execution.id, spec):
                    await _check_containers(execution)
        await workflows.start_now_or_later(WORKFLOW, execution.id, KIND)
        await wait_until_ended(execution.id, max(0.1, until - time.monotonic()))
        found = awaited.get(execution.id, execution)
        return found if found.status.final else await executions.get(execution.id)
    finally:
        awaited.pop(execution.id, None)


async def _check_containers(execution: Execution) -> None:
    """Take an execution back when no container can be started for it. `Unavailable` DOCKER_UNAVAILABLE."""
    if not (await checks.results("docker"))["docker"]:
        with contextlib.suppress(tables.RecordNotFound):
            await executions.delete(execution.id)
        await leave(execution)
        raise Unavailable("Containers cannot be started at present", code="DOCKER_UNAVAILABLE")


async def _wait_for_turn(execution: Execution, until: float) -> bool:
    """Wait until all earlier executions of the workspace have ended; False when they have not until that moment.

    `RecordNotFound` when the workspace is deleted.
    """
    while (seconds := until - time.monotonic()) > 0:
        await left.wait(execution.workspace, seconds, lambda: is_turn(execution))
        if await is_turn(execution):
            return True
    return False


def _new(owner: Person, workspace: Workspace, body: CodeToRun) -> Execution:
    """Return the execution that a request asks for. `BadRequest` INVALID_INPUT, INVALID_LANGUAGE."""
    if not (body.code or "").strip():
        raise BadRequest("code: must be given", code="INVALID_INPUT")
    if body.language not in [*Language]:
        raise BadRequest(f"language: must be one of {', '.join(Language)}", code="INVALID_LANGUAGE")
    config = (body.container_config or ContainerConfig()).over(workspace.container_config)
    code = body.code or ""
    return Execution(
        user_id=owner.id,
        workspace=workspace.id,
        language=Language(body.language),
        status=ExecutionStatus.PENDING,
        code=code,
        code_hash=hashlib.sha256(code.encode()).hexdigest(),
        timeout_ms=round(max(1.0, min(body.timeout or config["timeoutMs"], MAX_TIMEOUT))),
        memory_mb=min(config["memoryMB"], container_megabytes()),
        network=config["networkPolicy"] in ("egress", "full"),
        correlation_id=owner.request_id,
    )
