"""Deleting an execution with everything that belongs to it."""

from functions.stepflow import log_index
from functions.stepflow.job import publish_end
from functions.stepflow.records import Execution
from functions.stepflow.store import artifacts, delete_artifact_and_file, executions
from shared import blobs, containers, tables
from shared.jobs import ARTIFACTS, CANCEL, Job, JobState, group_name, jobs
from shared.workflows import WorkflowClient


async def delete_execution(execution_id: str, workflows: WorkflowClient) -> None:
    """Cancel an active execution and remove its container; then delete its files, its log and its record.

    After a crash a second call deletes the rest. `NotFound` when there is no such execution.
    """
    active = False

    def cancel(record: Execution) -> None:
        nonlocal active
        active = not record.status.final
        if active:
            record.cancel()

    execution = await executions.update(execution_id, cancel)
    if active:
        await workflows.signal(execution.id, CANCEL)
        await containers.remove(group_name(execution.id))
        await publish_end(execution)
    for blob in await _close_job(execution.id, active):
        await blobs.delete(ARTIFACTS, blob)
    await _delete_artifacts(execution.id)
    await log_index.delete(execution.id)
    await executions.delete(execution.id)
    await _delete_artifacts(execution.id)  # those uploaded until it was deleted; a later upload finds no execution


async def _delete_artifacts(execution_id: str) -> None:
    async for artifact in artifacts.all({"execution_id": execution_id}):
        await delete_artifact_and_file(artifact)


async def _close_job(job_id: str, active: bool) -> list[str]:
    """Refuse further pushes by the job's runner; return the blobs of captured files whose lines have not arrived."""

    def end(record: Job) -> None:
        record.state = JobState.ENDED

    try:
        job = await jobs.update(job_id, end)
        if not active:  # otherwise its workflow still writes to it
            await jobs.delete(job_id)
    except tables.RecordNotFound:
        return []
    return [captured.file.blob for captured in job.captured if captured.file]
