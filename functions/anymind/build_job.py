"""A build as a job: what its container runs, and what a version and its agent become by its end."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from functions.anymind.records import AgentVersion, VersionStatus
from functions.anymind.store import agents, record_of, versions
from shared import blobs, tables
from shared.http.errors import NotFound
from shared.jobs import ARTIFACTS, BlobInput, Exit, Job, JobKind, JobSpec, Stop, in_words
from shared.redaction import redact
from shared.settings import settings

KIND = "anymind.build"

CONTAINER = Path(__file__).with_name("container")
"""The folder of the programs that run in containers."""

PROGRAMS = {name: (CONTAINER / name).read_bytes() for name in ("build.py", "boot.py", "supervision.py")}
TIMEOUT = 300
READY = "ready.tar.gz"
REPORT = "report.json"
MAX_READY = 1_000_000_000
"""Bytes of the archive that can be run."""

STARTED, COMPLETED = "Build started", "Build completed successfully"


class BuildReport(BaseModel):
    """What the build writes: anymind.yaml as YAML text and the entrypoint, or why there is none."""

    reason: Annotated[str, Field(max_length=16_384)] | None = None
    config: Annotated[str, Field(max_length=2_000_000)] = ""
    entrypoint: Annotated[str, Field(max_length=300_000)] = ""


class AnymindBuild(JobKind):
    """The kind of job that builds a version; its id is the version's `job_id`."""

    name = KIND
    max_file = MAX_READY

    async def prepare(self, job_id: str) -> JobSpec | None:
        """Return the build of the version's archive, after noting it at the agent."""
        version = await record_of(versions, job_id)
        if version is None or version.status.final:
            return None
        try:
            await agents.update(version.agent_id, lambda agent: agent.build(version.id))
        except (NotFound, tables.RecordNotFound):  # the agent is deleted
            return None
        return JobSpec(
            ["python3", "build.py", settings().anymind_install, str(memory_megabytes())],
            TIMEOUT,
            inputs={**PROGRAMS, "artifact.tar.gz": BlobInput(ARTIFACTS, version.blob)},
            keep="kept",
            report=REPORT,
        )

    async def started(self, job: Job) -> None:
        """Change the version's status to `building`. `Stop` when it is deleted."""
        await _change(job, lambda version: version.build(STARTED))

    async def waiting(self, job_id: str, reason: str) -> None:
        """Note in the log why the build cannot start yet."""
        if version := await record_of(versions, job_id):

            def note(version: AgentVersion) -> None:
                if version.status is VersionStatus.QUEUED:
                    version.build_log = f"Waiting: {reason}"

            await versions.update(version.id, note)

    async def ended(self, job: Job, end: Exit) -> None:
        """Record the build's outcome in the version, then in its agent."""
        ready = next((file for file in end.files if file.name == READY), None)
        report, log = outcome(end)

        def finish(version: AgentVersion) -> None:
            if version.status.final:
                return
            if report and ready:
                version.ready_blob, version.config, version.entrypoint = ready.blob, report.config, report.entrypoint
            version.end(VersionStatus.READY if report else VersionStatus.FAILED, log, end.at)

        try:
            version = await _change(job, finish)
            is_ready = version.status is VersionStatus.READY
            await agents.update(version.agent_id, lambda agent: agent.built(version.id, ready=is_ready))
            await versions.update(version, lambda version: setattr(version, "settled", True))
            unused = [file.blob for file in end.files if file.blob != version.ready_blob]
        except (Stop, tables.RecordNotFound):  # the agent is deleted
            unused = [file.blob for file in end.files]
        for blob in unused:
            await blobs.delete(ARTIFACTS, blob)

    async def wanted(self, job_id: str) -> bool:
        """Return whether the version exists and its end is not recorded yet."""
        version = await record_of(versions, job_id)
        return version is not None and not version.settled

    async def unfinished(self) -> AsyncIterator[str]:
        """Yield the job ids of versions whose end is not recorded."""
        async for version in versions.all({"settled": False}):
            yield version.job_id


async def _change(job: Job, change: Callable[[AgentVersion], None]) -> AgentVersion:
    """Change the version of a job. `Stop` when it is deleted."""
    version = await record_of(versions, job.id)
    if version is None:
        raise Stop
    return await versions.update(version, change)


def memory_megabytes() -> int:
    """Return the memory of a job's container."""
    return int(settings().job_memory * 1000)


def outcome(end: Exit) -> tuple[BuildReport | None, str]:
    """Return the report of a build that has succeeded, else None, and the text for the version's log."""
    try:
        report = BuildReport.model_validate_json(end.report) if end.report else None
    except ValidationError:
        report = None
    match end.reason:
        case "exited" if report and report.reason is not None:
            return None, redact(report.reason)
        case "exited" if report and any(file.name == READY for file in end.files):
            return report, COMPLETED
        case "exited" if report and end.skipped:
            return None, f"The built archive could not be stored: {end.skipped[0].reason}"
        case "timeout":
            return None, f"The build took longer than {in_words(TIMEOUT)}"
        case "cancelled":
            return None, "The build was cancelled"
        case _:
            return None, end.message or "The container of the build stopped without a report"
