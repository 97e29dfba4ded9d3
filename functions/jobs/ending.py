"""Ending a job: its exit is fixed in its record once, then its API records the end."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from pydantic import ValidationError

from shared import blobs, tables
from shared.jobs import (
    ARTIFACTS,
    LOGS,
    Exit,
    Job,
    JobState,
    KeptFile,
    SkippedFile,
    ended_jobs,
    jobs,
    kind_of,
)

log = logging.getLogger(__name__)

AT_ONCE = 32
"""Files whose uploads are checked at the same time."""


async def settle(job_id: str, kind: str, otherwise: Exit) -> None:
    """Fix the job's exit and hand it to the job's kind; a repeat hands over the same exit.

    `otherwise` is the exit when the runner has reported none. `UnknownKind`, before anything is changed, when this app
    does not serve the kind.
    """
    kind_of(kind)

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
    await record_end(record)


async def record_end(job: Job) -> None:
    """Let the API of an ended job record its exit; a repeat does no harm."""
    await kind_of(job.kind).ended(job, await _checked(_exit_of(job)))
    ended_jobs.give(job.id)


def _exit_of(record: Job) -> Exit:
    """Return the exit of an ended job; when what is stored is out of bounds, one that says so."""
    try:
        return Exit.model_validate(record.exit)
    except ValidationError:
        log.exception("the exit of job %s cannot be read", record.id)
        return Exit(at=record.updated_at, message="Its report could not be read", size=record.size)


async def _checked(end: Exit) -> Exit:
    """Return the exit with those files only that were uploaded as they were reported; the others are deleted."""
    kept: list[KeptFile] = []
    for start in range(0, len(end.files), AT_ONCE):
        files = end.files[start : start + AT_ONCE]
        for file, fault in zip(files, await asyncio.gather(*map(check_upload, files)), strict=True):
            if fault is None:
                kept.append(file)
            else:
                log.warning("%s was not kept: %s", file.blob, fault)
                end.skipped.append(SkippedFile(name=file.name, reason=fault))
    end.files = kept
    return end


async def check_upload(file: KeptFile) -> str | None:
    """Return None when the file was uploaded with the size that was reported, else what is wrong; it is deleted then.

    The link for the upload does not limit the size.
    """
    try:
        size = (await blobs.info(ARTIFACTS, file.blob)).size
    except blobs.BlobNotFound:
        return "It was not uploaded"
    if size == file.size:
        return None
    await blobs.delete(ARTIFACTS, file.blob)
    return f"{size} bytes were uploaded instead of {file.size}"


async def close_job(job_id: str, kind: str) -> None:
    """End a job whose API record has ended already: nothing more is taken from its runner. No job: nothing happens."""
    try:
        ended = (await jobs.get(job_id)).state is JobState.ENDED
    except tables.RecordNotFound:
        return
    if not ended:
        await settle(job_id, kind, Exit(reason="cancelled"))


async def change_job(job_id: str, kind: str, change: Callable[[Job], None]) -> Job:
    """Apply a change to the job's record, which is created first when there is none; return the record."""
    try:
        return await jobs.update(job_id, change)
    except tables.RecordNotFound:
        record = Job(id=job_id, kind=kind, token_hash="", timeout=0)
        change(record)
        return await jobs.insert(record)
