"""The pool of warm containers: the kind of job that a worker is, what workers say, and how many there are."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from shared import realtime, tables, warm
from shared.faults import Sweep
from shared.jobs import CANCEL, CHECK, WORKFLOW, Exit, Job, JobKind, JobSpec, JobState, Unstartable, jobs
from shared.settings import settings
from shared.sockets import Event, Reply
from shared.warm import Worker, WorkerState, change_worker, forget, workers
from shared.workflows import WorkflowClient

START_COMMAND = 'exec python3 -SEs "$RUNYARD_RUNNER/worker.py"'
"""The runner names its folder, in which the worker's program is, too."""

LONGEST_JOB = 86_400
"""Seconds of the longest job that a worker may run when it has reached its age."""

CONNECT_MINUTES = 15
"""Minutes from the order of a container within which its worker must have connected."""

LATE = timedelta(minutes=5)
"""How long a worker may take for what it should do within a minute, until it is ended."""

IDLE, STARTING, BUSY, GONE = WorkerState.IDLE, WorkerState.STARTING, WorkerState.BUSY, WorkerState.GONE


_filling = asyncio.Lock()


class WarmWorker(JobKind):
    """The kind of job that waits for other jobs; its id is the id of the worker's record."""

    name = warm.KIND
    queues = False  # jobs have the room that is left

    async def prepare(self, job_id: str) -> JobSpec | None:
        """Return the worker's program, with the address of the hub and a token for it."""
        config = settings()
        if not await self.wanted(job_id):
            await forget(job_id)  # dismissed before it began
            return None
        if not (url := realtime.client_url(warm.HUB)):
            raise Unstartable("RUNYARD_WEBPUBSUB is not set, so warm containers cannot be reached")
        return JobSpec(
            ["sh", "-c", START_COMMAND],
            config.warm_age + LONGEST_JOB,
            directory="worker",
            environment={
                "RUNYARD_WARM_URL": url,
                "RUNYARD_WARM_FOLDER": warm.FOLDER,
                "RUNYARD_WARM_IDLE": str(config.warm_idle),
                "RUNYARD_WARM_AGE": str(config.warm_age),
            },
            secrets={"RUNYARD_WARM_TOKEN": await realtime.client_token(warm.HUB, job_id, CONNECT_MINUTES)},
        )

    async def ended(self, job: Job, end: Exit) -> None:
        """Forget the worker."""
        await forget(job.id)

    async def wanted(self, job_id: str) -> bool:
        """Return whether the worker may run a job, or runs one still although its connection has ended."""
        try:
            worker = await workers.get(job_id)
            if worker.state is not GONE:
                return True
            return bool(worker.job) and await _runs(worker)
        except tables.RecordNotFound:
            return False

    async def unfinished(self) -> AsyncIterator[str]:
        """Yield the ids of all workers."""
        async for worker in workers.all():
            yield worker.id


async def _runs(worker: Worker) -> bool:
    """Whether the job that the worker was given last is its own, and has not ended."""
    try:
        job = await jobs.get(worker.job)
    except tables.RecordNotFound:
        return False
    return job.worker == worker.id and job.state is not JobState.ENDED


async def handle_event(event: Event, workflows: WorkflowClient) -> Reply:
    """Handle what a worker says, or the end of its connection; the service vouches for its user id."""
    worker_id, message = event.user_id or "", event.json_object
    job_id = str(message.get("job", ""))
    match message.get("type") if event.type == "message" else event.type:
        case "ready":
            worker = await change_worker(worker_id, Worker.ready)
            if worker is None or worker.state is GONE:
                return Reply({"type": "end"})
        case "accepted":
            await warm.accepted(worker_id, job_id)
        case "refused":
            warm.words.give(job_id, good=False)
        case "done":
            await change_worker(worker_id, lambda worker: worker.finish(job_id))
            warm.ends.give(job_id)
            if not message.get("reported"):
                await workflows.signal(job_id, CHECK)
        case "taken":
            await fill_pool(workflows)
        case "disconnected":
            worker = await change_worker(worker_id, Worker.leave)
            if worker and worker.job and await _runs(worker):
                await workflows.signal(worker.job, CHECK)
        case _:
            pass
    return Reply()


async def fill_pool(workflows: WorkflowClient) -> None:
    """Start as many workers as are missing to the number that `RUNYARD_WARM` wants without an owner."""
    async with _filling:  # else each of several calls at once would start all that are missing
        missing = wanted_workers()
        if missing:
            missing -= len([worker async for worker in workers.all() if _is_spare(worker)])
        for _ in range(missing):
            worker = await workers.insert(Worker())
            await workflows.start_now_or_later(WORKFLOW, worker.id, warm.KIND)


def wanted_workers() -> int:
    """Return how many workers without an owner there should be."""
    return int(settings().warm.partition("=")[2] or 0)


def _is_spare(worker: Worker) -> bool:
    return worker.state in (STARTING, IDLE) and not worker.owner


async def keep_pool(workflows: WorkflowClient) -> None:
    """Every minute: end workers that are too many, too old or stuck, delete records of ended ones, start others."""
    spare = 0
    async with Sweep("the pool of warm containers") as sweep:
        async for worker in workers.all():
            with sweep.item(f"worker {worker.id}"):
                spare += _is_spare(worker)
                if await _is_due(worker) or (_is_spare(worker) and spare > wanted_workers()):
                    await warm.dismiss(worker.id)
                    if not await workflows.signal(worker.id, CANCEL):  # its workflow has ended
                        await forget(worker.id)
    await fill_pool(workflows)


async def _is_due(worker: Worker) -> bool:
    """Whether a worker should be ended: it has not said in time that it is ready, free again, or at its end."""
    now = datetime.now(UTC)
    match worker.state:
        case WorkerState.STARTING:
            return now - worker.created_at > timedelta(minutes=CONNECT_MINUTES) + LATE
        case WorkerState.IDLE:
            limit = min(settings().warm_age, settings().warm_idle if worker.owner else settings().warm_age)
            since = worker.used if worker.owner else worker.created_at
            return now - since > timedelta(seconds=limit) + LATE
        case WorkerState.BUSY:
            return now - worker.used > timedelta(minutes=1) and not await _runs(worker)
        case WorkerState.GONE:
            return now - worker.used > LATE and not await _runs(worker)
