"""The endpoint to which a job's runner pushes: its output, the files it produced, its exit."""

import secrets
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, Query, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from functions.jobs.ending import check_upload
from shared import blobs
from shared.http.errors import Conflict, Gone, TooLarge, Unauthorized, Unavailable
from shared.http.routes import router
from shared.jobs import (
    ARTIFACTS,
    FINISHED,
    LOGS,
    Bytes,
    Captured,
    Exit,
    FileName,
    Job,
    JobState,
    Printed,
    Stop,
    UnknownKind,
    jobs,
    kind_of,
    token_hash,
)
from shared.order import AGES
from shared.settings import settings
from shared.workflows import Workflows

routes = router("/{job_id}", "jobs")

RETRY_AFTER = "30"
"""Seconds after which a runner may repeat a push for a kind of job that this app does not serve."""


LOG_MARGIN = 256 * 1024
"""Bytes of output over `RUNYARD_LOG_LIMIT` that are taken: the runner adds lines about what it has dropped."""

MAX_CAPTURED = 1000
"""Files that a job may have reported ahead of the lines that name them."""


class Received(BaseModel):
    """`offset` is how many bytes of output are stored; `stop` asks the runner to end the command."""

    offset: int
    stop: bool = False


class NewFile(BaseModel):
    """A file that the runner wants to upload; `size` in bytes."""

    name: FileName
    size: Bytes


class UploadTarget(BaseModel):
    """The URL to upload a file to, and the blob's name, which the runner reports with the file."""

    url: str
    blob: str


async def _current_job(job_id: str, request: Request) -> Job:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("Invalid or missing job token")
    job = await jobs.get(job_id)
    if not secrets.compare_digest(job.token_hash, token_hash(token)):
        raise Unauthorized("Invalid or missing job token")
    if job.state is JobState.ENDED:
        raise _ended()
    try:
        kind_of(job.kind)
    except UnknownKind as error:  # another app may serve it, so the runner repeats its push and loses nothing
        raise Unavailable(str(error), headers={"Retry-After": RETRY_AFTER}) from None
    return job


def _ended() -> Gone:
    return Gone("The job has ended")


CurrentJob = Annotated[Job, Depends(_current_job)]


@routes.post("/events", response_model=Received)
async def push_output(job: CurrentJob, request: Request, offset: Annotated[int, Query(ge=0)]) -> Received | Response:
    """Append output that begins at byte `offset`; the first push, which may be empty, marks the job as running."""
    data = await request.body()
    if offset + len(data) > settings().log_limit + LOG_MARGIN:
        raise TooLarge(f"Output is over {settings().log_limit} bytes")
    if offset > job.size:
        return JSONResponse({"error": "Output before this offset is missing", "offset": job.size}, 409)
    kind = kind_of(job.kind)
    if data:
        await blobs.append(LOGS, job.id, offset, data)
    end, stop = offset + len(data), False
    try:
        if job.state is JobState.CREATED:
            await kind.started(job)
        if end > job.size:  # otherwise all of it was handled before
            printed = Printed.parse(request.headers.get(AGES, ""), offset, datetime.now(UTC))
            await kind.output(job, job.size, data[job.size - offset :], printed)
    except Stop:
        stop = True

    def advance(record: Job) -> None:
        if record.state is JobState.ENDED:
            raise _ended()
        record.size = max(record.size, end)
        record.captured = [captured for captured in record.captured if captured.end > record.size]
        if record.state is JobState.CREATED:
            record.state = JobState.RUNNING

    await jobs.update(job.id, advance)
    return Received(offset=end, stop=stop)


@routes.post("/captures")
async def push_capture(job: CurrentJob, body: Captured) -> Received:
    """Record a file that a line of output names; the line itself is pushed afterwards."""
    if body.file and not body.file.blob.startswith(f"{job.kind}/{job.id}/"):
        raise Conflict("The file does not belong to this job")
    if body.file and (fault := await check_upload(body.file)):
        body.file, body.reason = None, fault
    body.at = datetime.now(UTC)
    if len(job.captured) >= MAX_CAPTURED:
        raise Conflict(f"More than {MAX_CAPTURED} files were reported before the lines that name them")

    def note(record: Job) -> None:
        if body.end > record.size and all(known.line != body.line for known in record.captured):
            last = max((known.at for known in record.captured), default=body.at)
            # Ids derived from these times keep the order of the lines.
            body.at = max(body.at, last + timedelta(milliseconds=1))
            record.captured = [*record.captured, body]

    await jobs.update(job.id, note)
    return Received(offset=job.size)


@routes.post("/files", status_code=201)
async def create_upload_target(job: CurrentJob, body: NewFile) -> UploadTarget:
    """Return where to upload one of the job's files: a link that gives access to this one blob only."""
    if body.size > settings().artifact_limit:
        raise TooLarge(f"File is over {settings().artifact_limit} bytes")
    blob = f"{job.kind}/{job.id}/{uuid.uuid4()}"
    return UploadTarget(url=await blobs.link(ARTIFACTS, blob, write=True), blob=blob)


@routes.post("/exit")
async def push_exit(job: CurrentJob, body: Exit, workflows: Workflows) -> Received:
    """Store the exit, provided that all output has arrived, and wake the job's workflow."""
    if body.size != job.size:
        raise Conflict(f"The app has {job.size} bytes of output, not {body.size}")
    own = f"{job.kind}/{job.id}/"
    body.files = [file for file in body.files if file.blob.startswith(own)]
    body.at = datetime.now(UTC)

    def finish(record: Job) -> None:
        record.exit = record.exit or body.model_dump(mode="json")

    await jobs.update(job.id, finish)
    await workflows.signal(job.id, FINISHED)
    return Received(offset=job.size)
