"""The engine for tools that reach outside: Node.js in a container, a warm one of the person where there is one.

A run is a job. Its record says that somebody waits for it; the job's workflow is started only when no warm container
takes it, and otherwise by the upkeep of jobs if the run is still there a minute later.
"""

import asyncio
import contextlib
import json
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.custom_tools.runs import ToolRun, finish, tool_runs
from functions.ownpilot.custom_tools.work import (
    ENGINE,
    LATE,
    MAX_CALLS,
    SECONDS,
    ToolOutcome,
    Work,
    failed,
    outcome_of_json,
    use_other,
)
from shared import blobs, sealing, tables, warm
from shared.deferred import defer
from shared.http.errors import Gone, Unauthorized
from shared.job_orders import INLINE, stored_inputs
from shared.jobs import FIRST_LOOK, INPUTS, WORKFLOW, Exit, Job, JobKind, JobSpec, JobState, jobs
from shared.notices import Notices
from shared.settings import settings
from shared.workflows import WorkflowClient

KIND = "ownpilot.tool"
REPORT = "report.json"
PRIVATE = "private.json"

PATIENCE, MORE_PATIENCE = SECONDS + 15, 195
"""Seconds for which a run is waited for: in a warm container, and in one that must be created first."""

YOUNG = timedelta(seconds=2)
"""For how long after its order nobody asks whether a warm container is still at work."""

_NODE = "node --max-old-space-size=50 --disallow-code-generation-from-strings main.js"
COMMAND = ["sh", "-c", f"ulimit -St 6; ulimit -Ht 7; exec {_NODE}"]
"""At most 6 seconds of processor time, of which the start of Node.js takes a part, and 50 MB. Node.js
makes no code of texts outside of the tool's realm: such code would have all permissions."""

TOO_LONG, TOO_LARGE = "The tool used more than 5 seconds of processor time", "The tool needs more than 50 MB of memory"
_BY_CODE = {152: TOO_LONG, 134: TOO_LARGE, 133: TOO_LARGE}


_exits: dict[str, Exit | None] = {}
"""The ends of the runs for which this process waits, None before they end."""

_ends = Notices()


async def run_in_container(work: Work, permissions: Sequence[str], context: ToolContext) -> ToolOutcome:
    """Run a tool; 5 calls to storage and one order in a warm container. `StorageUnavailable`."""
    run = ToolRun(owner=context.owner)
    files = _files_of(run.id, work, permissions, context)
    if len(files[PRIVATE]) > INLINE:
        return failed("The values of the services that the tool reads are too large")
    run.seal(files)
    spec = _spec_of(run.owner, files)
    _exits[run.id] = None
    try:
        run, placed = await asyncio.gather(tool_runs.insert(run), warm.place(KIND, run.id, spec))
        if not placed:
            await defer("ownpilot.start_tool_run", run.id)
        await _ends.wait(run.id, PATIENCE if placed else MORE_PATIENCE, lambda: _has_ended(run.id), FIRST_LOOK)
        end = _exits[run.id]
        return _outcome_of(end) if end else failed("No container has run the tool in time")
    finally:
        end = _exits.pop(run.id)
        await _settle(run, stored_inputs(spec), has_ended=end is not None and end.reason != "lost")


def _files_of(job_id: str, work: Work, permissions: Sequence[str], context: ToolContext) -> dict[str, bytes]:
    members = asdict(work)
    calls = {"url": f"{settings().base_url}/jobs/{job_id}/calls", "token": token_of(job_id, context)}
    private = {
        "seed": members.pop("seed"), "services": members.pop("services"), "calls": calls,
    }  # fmt: skip
    sources = {name: (ENGINE / f"{name}.js").read_text() for name in ("harness", "utils")}
    packed = zlib.compress(json.dumps({**sources, "work": members, "permissions": [*permissions]}).encode())
    return {"work.z": packed, PRIVATE: json.dumps(private).encode()}


def token_of(job_id: str, context: ToolContext) -> str:
    """Return the token with which the command of a job uses other tools in this context, until the job has ended."""
    return sealing.seal(json.dumps(asdict(context), default=list), _place_of_token(job_id))


def _place_of_token(job_id: str) -> sealing.Context:
    return sealing.Context(jobs.table, job_id, "calls")


def _spec_of(owner: str, files: dict[str, bytes]) -> JobSpec:
    inputs = {**files, "main.js": (ENGINE / "main.js").read_bytes()}
    return JobSpec(COMMAND, SECONDS, inputs=inputs, report=REPORT, owner=f"tools {owner}")


async def _has_ended(job_id: str) -> bool:
    """Whether another process has heard of the end, or there will be none; the exit is kept then."""
    try:
        job = await jobs.get(job_id)
        is_lost = job.exit is None and await _is_lost(job)
        end = (await jobs.get(job_id)).exit if is_lost else job.exit  # it may have been pushed in the meantime
    except (tables.RecordNotFound, tables.StorageUnavailable):
        return False
    if end is not None:
        _exits[job_id] = Exit.model_validate(end)
    elif is_lost:
        _exits[job_id] = Exit()
    return _exits[job_id] is not None


async def _is_lost(job: Job) -> bool:
    """Whether the warm container of a job has gone, or waits for another one."""
    if not job.worker or datetime.now(UTC) - job.created_at < YOUNG:
        return False
    try:
        worker = await warm.workers.get(job.worker)
    except tables.RecordNotFound:
        return True
    return worker.job != job.id or worker.state is not warm.WorkerState.BUSY


def _outcome_of(end: Exit) -> ToolOutcome:
    if end.reason == "exited" and end.report:
        return outcome_of_json(end.report)
    if end.reason == "exited":
        code = end.exit_code or 0
        return failed(_BY_CODE.get(code) or end.message or f"The tool ended with code {code} and no result")
    return failed(LATE if end.reason == "timeout" else end.message or "The tool's container was stopped")


async def _settle(run: ToolRun, inputs: Sequence[str], *, has_ended: bool) -> None:
    """Note that nobody waits for a run any more, and take nothing more from its job."""

    def close(job: Job) -> None:
        job.state = JobState.ENDED

    with contextlib.suppress(tables.StorageUnavailable):
        await finish(run)
        if not has_ended:
            with contextlib.suppress(tables.RecordNotFound):
                await jobs.update(run.id, close)
        for path in inputs:
            await blobs.delete(INPUTS, f"{run.id}/{path}")


class OwnpilotToolRun(JobKind):
    """The kind of job that runs a custom tool; its id is the id of the run's record."""

    name = KIND

    async def prepare(self, job_id: str) -> JobSpec | None:
        """Return what to run, None when nobody waits for it."""
        try:
            run = await tool_runs.get(job_id)
        except tables.RecordNotFound:
            return None
        if run.done or datetime.now(UTC) - run.created_at > timedelta(seconds=MORE_PATIENCE):
            await finish(job_id)
            return None
        return _spec_of(run.owner, run.unsealed())

    async def ended(self, job: Job, end: Exit) -> None:
        """Tell those who wait."""
        if job.id in _exits:
            _exits[job.id] = end
            _ends.give(job.id)
        else:
            await finish(job.id)

    async def wanted(self, job_id: str) -> bool:
        """Return whether somebody waits for the run."""
        try:
            return not (await tool_runs.get(job_id)).done
        except tables.RecordNotFound:
            return False

    async def unfinished(self) -> AsyncIterator[str]:
        """Yield the ids of the runs that are not done."""
        async for run in tool_runs.all({"done": False}):
            yield run.id

    async def called(self, job: Job, token: str, name: str, arguments: str) -> tuple[bool, str]:
        """Use another tool on behalf of the running one."""
        try:
            context = ToolContext(**json.loads(sealing.unseal(token, _place_of_token(job.id))))
        except sealing.SealBroken:
            raise Unauthorized("Invalid or missing token") from None

        def count(record: Job) -> None:
            if record.state is JobState.ENDED:
                raise Gone("The job has ended")
            record.calls += 1

        if job.calls <= MAX_CALLS:  # else it is refused below without being counted
            job = await jobs.update(job, count)
        result = await use_other(context, job.calls, name, arguments)
        return not result.is_error, result.content


async def start_tool_run(run_id: str, workflows: WorkflowClient) -> None:
    """Start the workflow of a run that no warm container has taken."""
    await workflows.start(WORKFLOW, run_id, KIND)
