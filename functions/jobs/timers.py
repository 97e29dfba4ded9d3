"""What sets jobs right when a host died between two steps: records without a workflow, containers without a job."""

import logging
from datetime import UTC, datetime, timedelta

from functions.jobs.orchestrations import settle
from shared import containers, tables
from shared.ids import time_of
from shared.jobs import WORKFLOW, Exit, JobState, jobs, kinds
from shared.workflows import ACTIVE, WorkflowClient

log = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=60)
"""A record younger than this may still be on its way to its workflow."""


async def reconcile(workflows: WorkflowClient) -> None:
    """Start jobs without a workflow, end those whose workflow has ended, remove containers whose job is over."""
    for kind, handler in kinds.items():
        async for job_id in handler.unfinished():
            made = time_of(job_id)
            if made is None or datetime.now(UTC) - made > PATIENCE:
                await _set_right(workflows, kind, job_id)
    async for name, tags in containers.groups():
        job_id = tags.get("runyard-job")
        if job_id and await workflows.status(job_id) not in ACTIVE and await _over(job_id):
            log.warning("removing container group %s: its job %s is over", name, job_id)
            await containers.remove(name)
            if handler := kinds.get(tags.get("runyard-kind", "")):
                await handler.orphaned(job_id)


async def _set_right(workflows: WorkflowClient, kind: str, job_id: str) -> None:
    status = await workflows.status(job_id)
    if status in ACTIVE or not await kinds[kind].wanted(job_id):
        return
    if status is None:
        log.warning("starting the workflow of %s %s: nobody had", kind, job_id)
        await workflows.start(WORKFLOW, job_id, kind)
    else:
        log.warning("ending %s %s: its workflow has ended as %s", kind, job_id, status)
        await settle(job_id, kind, Exit(reason="lost"))


async def _over(job_id: str) -> bool:
    try:
        return (await jobs.get(job_id)).state is JobState.ENDED
    except tables.NotFound:
        return True
