"""Runtime: executions of agents."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query

from functions.anymind.access import CurrentUser, RecordId, owned_agent, owned_execution, owned_version
from functions.anymind.bodies import ListPart, Moment
from functions.anymind.execution_job import KIND, MAX_MEMBERS, spec_of
from functions.anymind.records import AgentVersion, Execution, ExecutionStatus, VersionStatus
from functions.anymind.store import awaited, executions, note_job, versions
from shared import tables, warm
from shared.http.bodies import RequestBody, ResponseBody, example
from shared.http.errors import BadRequest, TooLarge
from shared.http.paging import Digits, given
from shared.http.routes import options, router
from shared.jobs import CANCEL, WORKFLOW, wait_until_ended
from shared.workflows import WorkflowClient, Workflows

routes = router("/api/v1/runtime", "runtime")

MAX_INPUT = 10_000_000 + 64 * 1024
"""Bytes of a request with an input of 10 MB."""

MAX_LIST = 32_000_000
"""Bytes of inputs and outputs in one list."""

PATIENCE = 200
"""Seconds for which a request waits for the end of its execution: the platform allows 230."""


class HandlerInput(RequestBody):
    """The object that the agent's handler is called with."""

    model_config = example(payload={"input": "Hello, world!"})

    payload: dict[str, Any]


class NewExecution(RequestBody):
    """A version, and the object that its handler is called with."""

    model_config = example(agent_version_id=1, input_data={"input": "Hello, world!"})

    agent_version_id: Annotated[int, Digits]
    input_data: dict[str, Any]


class ExecutionShown(ResponseBody):
    """An execution; `output_data` is the result, `error_message` why there is none."""

    id: int
    agent_version_id: int
    user_id: int
    status: ExecutionStatus
    input_data: dict[str, Any]
    output_data: dict[str, Any] | None
    error_message: str | None
    created_at: Moment
    updated_at: Moment


@routes.post("/execute", status_code=201, response_model=ExecutionShown)
@options(max_body=MAX_INPUT, max_members=MAX_MEMBERS)
async def execute_version(body: NewExecution, user: CurrentUser, workflows: Workflows) -> Execution:
    """Call the handler of a version and wait for its end, at most 200 seconds."""
    version = await owned_version(user, body.agent_version_id)
    if version.status is not VersionStatus.READY:
        raise BadRequest(f"Version {version.version} is not ready: its status is {version.status}")
    return await _execute(version, body.input_data, workflows)


@routes.post("/{agent_id}/execute", status_code=201, response_model=ExecutionShown)
@options(max_body=MAX_INPUT, max_members=MAX_MEMBERS)
async def execute_agent(agent_id: RecordId, body: HandlerInput, user: CurrentUser, workflows: Workflows) -> Execution:
    """Call the handler of the agent's latest ready version and wait for its end, at most 200 seconds."""
    where = {"agent_id": str(agent_id), "status": VersionStatus.READY}
    _, newest = await asyncio.gather(owned_agent(user, agent_id), versions.page(where, limit=1, total=False))
    if not newest.items:
        raise BadRequest("The agent has no ready version")
    return await _execute(newest.items[0], body.payload, workflows)


async def _execute(version: AgentVersion, given: dict[str, Any], workflows: WorkflowClient) -> Execution:
    """Start an execution and wait for its end; one that takes too long is returned as it is."""
    execution = await executions.insert(
        Execution(
            agent_id=version.agent_id,
            agent_version_id=version.id,
            user_id=version.user_id,
            input_data=given,
            input_size=len(json.dumps(given)),
        )
    )
    job_id = execution.job_id
    note_job(execution)
    awaited[job_id] = execution
    try:
        await warm.place(KIND, job_id, spec_of(execution, version))
        await workflows.start_now_or_later(WORKFLOW, job_id, KIND)
        await wait_until_ended(job_id, PATIENCE)
        execution = awaited[job_id]
        return execution if execution.status.final else await executions.get(execution.id)
    except tables.StorageUnavailable:  # it is accepted: an error would hide its id
        return execution
    finally:
        del awaited[job_id]


@routes.get("/executions", response_model=list[ExecutionShown])
async def list_executions(
    user: CurrentUser, part: ListPart, agent_version_id: Annotated[int | None, Query(), Digits] = None
) -> list[Execution]:
    """The caller's executions by id, all or those of one version; at most 32 MB of inputs and outputs."""
    version = None if agent_version_id is None else str(agent_version_id)
    return await part.of(executions, given(user_id=user.id, agent_version_id=version), _check_size)


def _check_size(listed: Sequence[Execution]) -> None:
    if sum(each.input_size + each.output_size for each in listed) > MAX_LIST:
        raise TooLarge("These executions have more than 32 MB of inputs and outputs: use a smaller limit")


@routes.get("/executions/{execution_id}", response_model=ExecutionShown)
async def get_execution(execution_id: RecordId, user: CurrentUser) -> Execution:
    """One execution."""
    return await owned_execution(user, execution_id)


@routes.post("/executions/{execution_id}/cancel", response_model=ExecutionShown)
async def cancel_execution(execution_id: RecordId, user: CurrentUser, workflows: Workflows) -> Execution:
    """Cancel an execution, whose process is ended; one that has ended stays as it is."""
    execution = await owned_execution(user, execution_id)
    if execution.status.final:
        return execution
    execution = await executions.update(execution, lambda execution: execution.cancel(datetime.now(UTC)))
    await workflows.signal(execution.job_id, CANCEL)
    return execution
