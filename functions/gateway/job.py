"""A run as a job: what its container runs, and how the run changes when its job starts, prints and ends."""

import asyncio
import re
from collections.abc import AsyncIterator

from functions.gateway import claude, updates
from functions.gateway.models import Provider, catalogue
from functions.gateway.raise_alert import fault, run_failed
from functions.gateway.records import Artifact, Run, RunStatus
from functions.gateway.redaction import redacted
from functions.gateway.store import artifacts, outlines, recount_artifacts, runs
from shared import blobs, tables
from shared.jobs import ARTIFACTS, LOGS, Exit, Job, JobKind, JobSpec, Printed, Stop, Unstartable, in_words
from shared.tables.ids import derived_id
from shared.turns import is_among_oldest

KIND = "gateway.run"

RESULT_BYTES = 256 * 1024
"""Bytes of the end of the output that the result holds; the whole output is the artifact `claude.log`."""

LOG_NAME = "claude.log"

PROGRAMS = {"python": ("main.py", "python3"), "bash": ("main.sh", "bash")}
"""Custom models: the file to which the prompt is written, and its interpreter."""


def clean_name(name: str) -> str:
    """Return an artifact's name for a file: its base name, with `_` for each character outside `[A-Za-z0-9._-]`."""
    base = re.sub(r"[^A-Za-z0-9._-]", "_", re.split(r"[/\\]", name)[-1])[:255] or "_"
    return base.replace(".", "_") if base in (".", "..") else base


class GatewayRun(JobKind):
    """The kind of job that executes a run."""

    name = KIND

    async def prepare(self, job_id: str) -> JobSpec | None:
        """Return the program or the command line for the run's model and prompt."""
        try:
            run = await runs.get(job_id)
        except tables.RecordNotFound:
            return None
        if run.status.final:
            return None
        model = catalogue().get(run.model)
        if model is None:
            raise Unstartable(f"Unknown model: {run.model}")
        if model.provider is Provider.ANTHROPIC:
            return claude.job(run)
        if model.provider is not Provider.CUSTOM:
            raise Unstartable(f"This app cannot run {model.provider} models")
        name, interpreter = PROGRAMS[run.model]
        inputs = {name: run.prompt.encode()}
        command = [interpreter, name]
        return JobSpec(command, timeout_of(run), inputs=inputs, keep="artifacts", owner=run.client_id)

    async def held(self, job_id: str, limit: int) -> str | None:
        """Return a reason unless the run is among the `limit` oldest pending and running runs of its client."""
        run = await runs.get(job_id)
        active = {"client_id": run.client_id, "status": [RunStatus.PENDING, RunStatus.RUNNING]}
        return None if await is_among_oldest(outlines, active, run, limit) else f"{limit} of your runs are running"

    async def waiting(self, job_id: str, reason: str) -> None:
        """Store and publish why a pending run cannot start yet."""

        def wait(run: Run) -> None:
            if run.status is RunStatus.PENDING:
                run.waiting_reason = redacted(reason)

        run = await runs.update(job_id, wait)
        if run.status is RunStatus.PENDING:
            await updates.publish_status(run)

    async def started(self, job: Job) -> None:
        """Let the run enter the status `running` and publish that. `Stop` when it has ended."""
        run = await runs.update(job.id, Run.start)
        if run.status.final:
            raise Stop
        await updates.publish_status(run)

    async def output(self, job: Job, offset: int, data: bytes, printed: Printed) -> None:
        """Publish the output. `Stop` when the run has ended: `run_complete` is its last message."""
        if not await self.wanted(job.id):
            raise Stop
        await updates.publish_output(job.id, offset, data)

    async def ended(self, job: Job, end: Exit) -> None:
        """Record the files as artifacts, let the run enter its final status, and publish that."""
        try:
            run = await runs.get(job.id)
        except tables.RecordNotFound:  # the run was deleted
            return
        before = run.status
        # In a thread: masking a report of some megabytes takes a second.
        report = None if end.report is None else await asyncio.to_thread(claude.parse_report, end.report)
        found = self._artifacts(run, job, end)
        await asyncio.gather(*map(artifacts.insert, found))
        error = report.error if report and report.error else failure(end, timeout_of(run))
        output = b"" if report and job.handled == job.size else await _last_output(job)
        result = report.result if report else _result(output, job, end)

        def finish(record: Run) -> None:
            if record.status.final:
                return
            if end.started_at:
                record.start(end.started_at)
            record.result = record.result if result is None else result
            record.error = redacted(error) if error else None
            if report:
                record.tokens, record.cost = report.tokens, report.cost
            record.end(RunStatus.FAILED if error else RunStatus.COMPLETED, end.at)

        run = await (recount_artifacts(run, finish) if found else runs.update(run, finish))
        if run.completed_at != end.at:  # it was ended by another request, which has published that
            return
        if before is RunStatus.PENDING and end.started_at:
            await updates.publish_start(run.id)
        unsent = min(job.size - job.handled, len(output))
        await updates.publish_output(run.id, job.size - unsent, output[len(output) - unsent :])
        await updates.publish_status(run)
        if run.status is RunStatus.FAILED:
            await run_failed(run)

    async def wanted(self, job_id: str) -> bool:
        """Return whether the run exists and is not final."""
        try:
            return not (await runs.get(job_id)).status.final
        except tables.RecordNotFound:
            return False

    async def orphaned(self, job_id: str) -> None:
        """Raise an alert, since the container has cost money."""
        await fault(f"orphan {job_id}", f"A container without a run was removed: job-{job_id}")

    async def unfinished(self) -> AsyncIterator[str]:
        """Yield the ids of pending and running runs."""
        for status in (RunStatus.PENDING, RunStatus.RUNNING):
            async for run in outlines.all({"status": status}):
                yield run.id

    def _artifacts(self, run: Run, job: Job, end: Exit) -> list[Artifact]:
        """Return artifacts for the files that were kept and for the log, with the same ids in every repeat."""

        def artifact(name: str, size: int, kind: str, container: str, blob: str, sha256: str = "") -> Artifact:
            return Artifact(
                id=derived_id(end.at, blob), created_at=end.at, run_id=run.id, client_id=run.client_id,
                filename=clean_name(name), size=size, content_type=kind, container=container, blob=blob, sha256=sha256,
            )  # fmt: skip

        # A file keeps its folder in its name, so that two files of one name can be told apart.
        found = [
            artifact(f.name.replace("/", "_"), f.size, f.content_type, ARTIFACTS, f.blob, f.sha256) for f in end.files
        ]
        if job.size:
            found.append(artifact(LOG_NAME, job.size, "text/plain; charset=utf-8", LOGS, job.id))
        return found


async def _last_output(job: Job) -> bytes:
    """Return the output, or the last `RESULT_BYTES` of it."""
    start = max(0, job.size - RESULT_BYTES)
    return b"".join([chunk async for chunk in blobs.stream(LOGS, job.id, start, job.size - start)]) if job.size else b""


def _result(output: bytes, job: Job, end: Exit) -> str | None:
    """Return the last output as the result; None when the command was ended before it printed anything."""
    if not output:
        return "" if end.reason == "exited" else None
    text, start = output.decode("utf-8", "replace"), job.size - len(output)
    return f"[the first {start} bytes are in {LOG_NAME} only]\n{text}" if start else text


def timeout_of(run: Run) -> int:
    """Return how many seconds a run may take."""
    return int(run.options.get("timeout", 300))


def failure(end: Exit, timeout: int) -> str | None:
    """Return why a run failed, None when it did not."""
    match end.reason:
        case "exited":
            return None if end.exit_code == 0 else end.message or f"Exited with code {end.exit_code}"
        case "timeout":
            return f"Timed out after {in_words(timeout)}"
        case "unstartable":
            return end.message or "The container could not be started"
        case "lost":
            return end.message or "The container stopped without reporting an exit code"
        case "cancelled":
            return "Cancelled"
