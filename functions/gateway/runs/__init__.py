"""Runs: prompts and code executed in containers."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query, Response
from starlette.responses import StreamingResponse

from functions.gateway import updates
from functions.gateway.job import KIND
from functions.gateway.models import catalogue
from functions.gateway.raise_alert import run_failed
from functions.gateway.records import Run, RunStatus
from functions.gateway.redaction import redacted_values
from functions.gateway.runs.bodies import (
    NewRun,
    RunAccepted,
    RunDetail,
    RunList,
    RunPatch,
    RunPatched,
    RunRetried,
    RunState,
    RunSummary,
)
from functions.gateway.store import check_prompts, runs
from shared import blobs
from shared.api_keys import CurrentClient
from shared.http.conditions import IfMatch, show_version
from shared.http.errors import BadRequest
from shared.http.files import stream_blob
from shared.http.paging import Digits, Paging, given, paging
from shared.http.routes import router
from shared.jobs import CANCEL, LOGS, WORKFLOW
from shared.workflows import WorkflowClient, Workflows

routes = router("/api/runs", "runs")

RETRYABLE = (RunStatus.FAILED, RunStatus.CANCELLED)


async def _queue(run: Run, workflows: WorkflowClient) -> Run:
    """Store a run and start its job; after a failure in between, the timer of `functions/jobs` starts it."""
    run = await runs.insert(run)
    await workflows.start_now_or_later(WORKFLOW, run.id, KIND)
    return run


@routes.post("", status_code=201, response_model=RunAccepted)
async def create_run(body: NewRun, client: CurrentClient, workflows: Workflows, response: Response) -> Run:
    """Queue a run and return at once; follow it over the WebSocket, or read it again."""
    model = catalogue().get(body.model)
    if model is None:
        raise BadRequest(f"Unknown model: {body.model}")
    if body.options.max_tokens > model.max_tokens:
        raise BadRequest(f"options.max_tokens: must be at most {model.max_tokens} for {model.id}")
    run = Run(
        client_id=client.id,
        prompt=body.prompt,
        model=body.model,
        options=body.options.model_dump(),
        started_at=datetime.now(UTC),
    )
    run = await _queue(run, workflows)
    show_version(response, run)
    return run


@routes.get("")
async def list_runs(
    client: CurrentClient,
    paging: Annotated[Paging, paging(orders=("created_at", "updated_at", "status"))],
    status: RunStatus | None = None,
    client_id: str | None = None,
) -> RunList:
    """All runs, or those with a status or of a client; newest first. At most 32 MB of prompts."""
    page = await paging.page(runs, given(status=status, client_id=client_id), check_prompts)
    return RunList(runs=[RunSummary.model_validate(run) for run in page.items], total=page.total)


@routes.get("/{run_id}", response_model=RunDetail)
async def get_run(run_id: str, client: CurrentClient, response: Response) -> Run:
    """One run, with its result."""
    run = await runs.get(run_id)
    show_version(response, run)
    return run


@routes.get("/{run_id}/log", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def get_run_log(
    run_id: str, client: CurrentClient, offset: Annotated[int, Query(ge=0, le=2**40), Digits] = 0
) -> Response:
    """A run's output from the byte `offset` on, also while it runs; for what a client has missed on the WebSocket."""
    run = await runs.get(run_id)
    try:
        return StreamingResponse(await stream_blob(LOGS, run.id, offset), media_type="text/plain")
    except blobs.BlobNotFound:  # nothing printed yet
        return Response(media_type="text/plain")


@routes.patch("/{run_id}", response_model=RunPatched, response_model_exclude_unset=True)
async def update_run(
    run_id: str, body: RunPatch, client: CurrentClient, workflows: Workflows, response: Response, if_match: IfMatch
) -> RunPatched:
    """Set a run's status, result, error or metadata; a final status stops its container and cannot be changed."""
    if not body.changed:
        raise BadRequest("At least one of status, result, error and metadata is required")
    members = {name: getattr(body, name) for name in body.changed - {"status"}}
    masked = await asyncio.to_thread(redacted_values, members)  # a megabyte takes a tenth of a second
    before: list[RunStatus] = []

    def change(run: Run) -> None:
        before.append(run.status)
        if body.status:
            run.change_status(body.status)
        for name, value in masked.items():
            setattr(run, name, value)

    run = await runs.update(run_id, change, if_match=if_match)
    if run.status is not before[-1]:
        await _status_changed(run, workflows)
    show_version(response, run)
    shown = {"id", "status", "result", "updated_at", *body.changed}
    return RunPatched.model_validate({name: getattr(run, name) for name in shown})


@routes.delete("/{run_id}", response_model=RunState)
async def cancel_run(run_id: str, client: CurrentClient, workflows: Workflows) -> Run:
    """Cancel a pending or running run; its container is stopped and removed."""
    run = await runs.update(run_id, Run.cancel)
    await _status_changed(run, workflows)
    return run


async def _status_changed(run: Run, workflows: WorkflowClient) -> None:
    """Act on a status that a client has set: stop the job of an ended run, publish the status, raise the alert."""
    if run.status.final:
        await workflows.signal_now_or_later(run.id, CANCEL)
    await updates.publish_status(run)
    if run.status is RunStatus.FAILED:
        await run_failed(run)


@routes.post("/{run_id}/retry", status_code=201, response_model=RunRetried)
async def retry_run(run_id: str, client: CurrentClient, workflows: Workflows) -> Run:
    """Queue a run with the prompt, model and options of one that failed or was cancelled."""
    original = await runs.get(run_id)
    if original.status not in RETRYABLE:
        raise BadRequest(f"Cannot retry {original.status} run")
    run = Run(
        client_id=client.id,
        prompt=original.prompt,
        model=original.model,
        options=original.options,
        started_at=datetime.now(UTC),
        retry_of=original.id,
    )
    return await _queue(run, workflows)
