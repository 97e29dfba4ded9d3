"""The endpoint to which a job's runner pushes: its output, the files it produced, its exit."""

import asyncio
import binascii
import logging
import secrets
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from pydantic import Base64Bytes, BaseModel, BeforeValidator, Field
from starlette.responses import JSONResponse, Response

from functions.jobs.ending import check_upload, record_end
from shared import blobs
from shared.http.errors import Conflict, Gone, TooLarge, Unauthorized, Unavailable
from shared.http.routes import options, router
from shared.jobs import (
    ARTIFACTS,
    FINISHED,
    LOGS,
    REPORT_BYTES,
    Bytes,
    Captured,
    Exit,
    FileName,
    FileTag,
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

log = logging.getLogger(__name__)
routes = router("/{job_id}", "jobs")

RETRY_AFTER = "30"
"""Seconds after which a runner may repeat a push for a kind of job that this app does not serve."""


LOG_MARGIN = 256 * 1024
"""Bytes of output over `RUNYARD_LOG_LIMIT` that are taken: the runner adds lines about what it has dropped."""

MAX_REST = 64 * 1024
"""Bytes of output that come with the report of the exit."""

MAX_EXIT = 16 * 1024 * 1024
"""Bytes of the report of the exit: a file of `REPORT_BYTES` in base64, and room for the names of other files."""

MAX_LINKS = 500
"""Files for which a runner may ask links at a time."""

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


def _text_of(report: Any) -> Any:
    """Return the text of a file that is given in base64. `ValueError` when it is not; what is no text is returned."""
    if not isinstance(report, str):
        return report
    return binascii.a2b_base64(report, strict_mode=True).decode("utf-8", "replace")


class Report(Exit):
    """What a runner reports at the end: the exit, the rest of the output, and its ages as in the header of a push.

    The output and the reported file are in base64.
    """

    report: Annotated[str | None, BeforeValidator(_text_of), Field(max_length=REPORT_BYTES)] = None
    output: Annotated[Base64Bytes, Field(max_length=MAX_REST)] = b""
    ages: str = ""


class WantedFiles(BaseModel):
    """The tags of files that the runner does not have yet."""

    tags: Annotated[list[FileTag], Field(max_length=MAX_LINKS)]


class DownloadLinks(BaseModel):
    """URLs by tag; a file that is no longer stored has no URL."""

    urls: dict[str, str]


class UploadTarget(BaseModel):
    """The URL to upload a file to, and the blob's name, which the runner reports with the file."""

    url: str
    blob: str


Arrived = Annotated[datetime, Depends(lambda: datetime.now(UTC))]
"""When a push arrived, from which its ages count; the first parameter, so that nothing is awaited before."""


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
async def push_output(
    arrived: Arrived, job: CurrentJob, request: Request, offset: Annotated[int, Query(ge=0)]
) -> Received | Response:
    """Append output that begins at byte `offset`; the first push, which may be empty, marks the job as running."""
    data = await request.body()
    if offset > job.size:
        return JSONResponse({"error": "Output before this offset is missing", "offset": job.size}, 409)
    kind = kind_of(job.kind)
    end, stop = await _append(job, offset, data), False
    try:
        if job.state is JobState.CREATED:
            await kind.started(job)
        if end > job.size:  # otherwise all of it was handled before
            printed = Printed.parse(request.headers.get(AGES, ""), offset, arrived)
            await kind.output(job, job.size, data[job.size - offset :], printed)
    except Stop:
        stop = True

    def advance(record: Job) -> None:
        if record.state is JobState.ENDED:
            raise _ended()
        record.size = record.handled = max(record.size, end)
        record.captured = [captured for captured in record.captured if captured.end > record.size]
        if record.state is JobState.CREATED:
            record.state = JobState.RUNNING

    await jobs.update(job, advance)
    return Received(offset=end, stop=stop)


async def _append(job: Job, offset: int, data: bytes, *, whole: bool = False) -> int:
    """Append output that begins at this byte to the job's log; return the offset at which it ends.

    `whole` is whether it is all that the log will ever hold: that needs 1 call in place of 2.
    """
    end = offset + len(data)
    if end > settings().log_limit + LOG_MARGIN:
        raise TooLarge(f"Output is over {settings().log_limit} bytes")
    if data and whole:
        await blobs.put(LOGS, job.id, data, "text/plain; charset=utf-8")
    elif data:
        await blobs.append(LOGS, job.id, offset, data)
    return end


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

    await jobs.update(job, note)
    return Received(offset=job.size)


@routes.post("/files", status_code=201)
async def create_upload_target(job: CurrentJob, body: NewFile) -> UploadTarget:
    """Return where to upload one of the job's files: a link that gives access to this one blob only."""
    limit = kind_of(job.kind).max_file or settings().artifact_limit
    if body.size > limit:
        raise TooLarge(f"File is over {limit} bytes")
    blob = f"{job.kind}/{job.id}/{uuid.uuid4()}"
    return UploadTarget(url=await blobs.link(ARTIFACTS, blob, write=True), blob=blob)


@routes.post("/inputs")
async def create_download_links(job: CurrentJob, body: WantedFiles) -> DownloadLinks:
    """Return where to download files of the job's tree: links that give access to one blob each."""
    found = await kind_of(job.kind).stored(job.id, body.tags)
    urls = await asyncio.gather(*(blobs.link(each.container, each.blob) for each in found.values()))
    return DownloadLinks(urls=dict(zip(found, urls, strict=True)))


@routes.post("/exit")
@options(max_body=MAX_EXIT)
async def push_exit(arrived: Arrived, job: CurrentJob, body: Report, workflows: Workflows) -> Received:
    """Store the exit and the last output, let the API record them, and wake the job's workflow.

    409 when output before the last one is missing. When the API cannot record the end now, or the host dies meanwhile,
    the workflow does that.
    """
    rest = body.size - len(body.output)
    if not 0 <= rest <= job.size <= body.size:
        raise Conflict(f"The app has {job.size} bytes of output, not {rest}")
    await _append(job, rest, body.output, whole=rest == 0)
    own = f"{job.kind}/{job.id}/"
    body.files = [file for file in body.files if file.blob.startswith(own)]
    body.at = arrived
    body.printed = list(Printed.parse(body.ages, rest, body.at).moments) if body.output else []

    def finish(record: Job) -> None:
        if record.state is JobState.ENDED:
            raise _ended()
        record.state, record.size = JobState.ENDED, body.size
        record.exit = body.model_dump(mode="json", include={*Exit.model_fields})

    job = await jobs.update(job, finish)
    recorded = True
    try:
        await record_end(job)
    except Exception:
        log.exception("the end of job %s is recorded by its workflow", job.id)
        recorded = False
    await workflows.signal(job.id, FINISHED, recorded)
    return Received(offset=job.size)
