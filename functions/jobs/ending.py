"""Ending a job: its exit is fixed in its record once, then its API records the end."""

import contextlib
from collections.abc import Callable

from shared import blobs, tables
from shared.jobs import LOGS, Exit, Job, JobState, jobs, kind_of


async def settle(job_id: str, kind: str, otherwise: Exit) -> None:
    """Fix the job's exit and hand it to the job's kind; a repeat hands over the same exit.

    `otherwise` is the exit when the runner has reported none. `UnknownKind`, before anything is changed, when this app
    does not serve the kind.
    """
    handler = kind_of(kind)

    def close(record: Job) -> None:
        record.state = JobState.ENDED

    record = await change_job(job_id, kind, close)
    if record.exit is None:
        # No push is accepted any more, but the last one may have lengthened the log without counting its bytes yet.
        with contextlib.suppress(blobs.BlobNotFound):
            otherwise.size = (await blobs.info(LOGS, job_id)).size

        def finish(record: Job) -> None:
            if record.exit is None:
                record.exit, record.size = otherwise.model_dump(mode="json"), otherwise.size

        record = await jobs.update(job_id, finish)
    await handler.ended(record, Exit.model_validate(record.exit))


async def change_job(job_id: str, kind: str, change: Callable[[Job], None]) -> Job:
    """Apply a change to the job's record, which is created first when there is none; return the record."""
    try:
        return await jobs.update(job_id, change)
    except tables.RecordNotFound:
        record = Job(id=job_id, kind=kind, token_hash="", timeout=0)
        change(record)
        return await jobs.insert(record)
