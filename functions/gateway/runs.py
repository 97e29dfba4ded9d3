"""Runs: prompts and code executed in containers."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from functions.gateway import updates
from functions.gateway.access import CurrentClient
from functions.gateway.catalogue import catalogue
from functions.gateway.execution import KIND
from functions.gateway.models import NewRun, Run, RunAccepted, RunDetail, RunList, RunState, RunStatus, RunSummary
from functions.gateway.store import runs
from shared.http.api import router
from shared.http.errors import BadRequest
from shared.http.paging import Limit, Offset, SortOrder
from shared.jobs import CANCEL, WORKFLOW
from shared.workflows import Workflows

routes = router("/api/runs", "runs")


@routes.post("", status_code=201, response_model=RunAccepted)
async def create_run(body: NewRun, client: CurrentClient, workflows: Workflows) -> Run:
    """Queue a run and answer at once; watch it over the WebSocket, or read it again."""
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
    run = await runs.insert(run)
    await workflows.start(WORKFLOW, run.id, KIND)
    return run


@routes.get("")
async def list_runs(
    client: CurrentClient,
    limit: Limit = 50,
    offset: Offset = 0,
    status: RunStatus | None = None,
    client_id: str | None = None,
    sort_by: Annotated[str, Query(pattern="^(created_at|updated_at|status)$")] = "created_at",
    sort_order: SortOrder = "desc",
) -> RunList:
    """All runs, newest first, or those of a status or a client."""
    where = {name: value for name, value in (("status", status), ("client_id", client_id)) if value is not None}
    page = await runs.page(where, limit=limit, offset=offset, order=sort_by, descending=sort_order == "desc")
    return RunList(runs=[RunSummary.model_validate(run) for run in page.items], total=page.total)


@routes.get("/{run_id}", response_model=RunDetail)
async def get_run(run_id: str, client: CurrentClient) -> Run:
    """One run, with its result."""
    return await runs.get(run_id)


@routes.delete("/{run_id}", response_model=RunState)
async def cancel_run(run_id: str, client: CurrentClient, workflows: Workflows) -> Run:
    """Cancel a pending or running run; its container is stopped and removed."""
    run = await runs.update(run_id, Run.cancel)
    await workflows.signal(run.id, CANCEL)
    await updates.run_changed(run)
    return run
