"""Deleting what is kept of a job."""

import contextlib

from shared import blobs, tables
from shared.jobs import ARTIFACTS, CANCEL, LOGS, jobs
from shared.workflows import ACTIVE, WorkflowClient


async def delete_job(job_id: str, workflows: WorkflowClient) -> bool:
    """Delete a job with its log and files; False while its workflow still runs, which is asked to end."""
    if await workflows.status(job_id) in ACTIVE:
        await workflows.signal(job_id, CANCEL)
        return False
    with contextlib.suppress(tables.RecordNotFound):
        job = await jobs.get(job_id)
        for file in (job.exit or {}).get("files", []):
            await blobs.delete(ARTIFACTS, file["blob"])
        await blobs.delete(LOGS, job_id)
        await jobs.delete(job_id)
    return True
