"""Warm containers: workers that wait for jobs. From its first job on, a worker runs jobs of one owner only.

A worker is itself a job, of the kind `KIND`, whose command waits at the hub `HUB` for orders. To place a job, one
conditional write claims an idle worker, then the order is sent to it. Everything else is as for any job: its record,
its token, its pushes and its exit. When no worker is free, or none answers, the job gets a container of its own.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import Field

from shared import realtime, tables
from shared.job_orders import order_of, stored_inputs
from shared.jobs import Job, JobSpec, JobState, Unstartable, jobs, kind_of, new_token
from shared.notices import Notices
from shared.settings import settings
from shared.tables import Collection, Record

log = logging.getLogger(__name__)

HUB = "warm"
"""The hub to which workers connect; a worker's user id is its record's id."""

KIND = "warm.worker"
"""The kind of the job that a worker is."""

POOL = "python"
"""The pool of workers with the runner's image."""

FOLDER = "workspace"
"""The folder that a worker makes anew for each job; jobs that work elsewhere are not placed."""

LARGEST_ORDER = 256 * 1024
"""Bytes of an order that is sent over the hub; Web PubSub takes 1 MB."""

WORD = 2.0
"""Seconds within which a worker must answer an order."""

LOOK = 0.2
"""Seconds until the first look at the record, in case another process has heard the answer."""

ATTEMPTS = 2
"""Workers that are tried for one job."""


class WorkerState(StrEnum):
    """`starting` until the worker says that it is ready; `gone` for good once it is not to be used any more."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    GONE = "gone"


class Worker(Record):
    """A container that waits for jobs; its id is that of its own job.

    `owner` is whose jobs it runs, "" before the first one; `job` the job that it runs or ran last; `used` when it last
    began or ended one.
    """

    pool: str = POOL
    state: WorkerState = WorkerState.STARTING
    owner: str = ""
    job: str = ""
    used: datetime = Field(default_factory=lambda: datetime.now(UTC))

    def claim(self, owner: str, job_id: str) -> None:
        """Let it run this job. `Unclaimable` unless it is idle and has no other owner."""
        if self.state is not WorkerState.IDLE or self.owner not in ("", owner):
            raise Unclaimable
        self.state, self.owner, self.job, self.used = WorkerState.BUSY, owner, job_id, datetime.now(UTC)

    def finish(self, job_id: str) -> None:
        """Let it wait for the next job, unless it is gone or runs another job than this one."""
        if self.state is WorkerState.BUSY and self.job == job_id:
            self.state, self.used = WorkerState.IDLE, datetime.now(UTC)

    def ready(self) -> None:
        """Let it wait for its first job, unless it is gone."""
        if self.state is WorkerState.STARTING:
            self.state = WorkerState.IDLE

    def leave(self) -> None:
        """Let it run no further job."""
        self.state = WorkerState.GONE


class Unclaimable(Exception):
    """The worker is not idle, or has another owner."""


class AlreadyBegun(Exception):
    """The job has begun, or another process has started it."""


workers = Collection("JobsWorkers", Worker, plain=True)

words = Notices()
"""The answers of workers to orders, by the job's id."""

ends = Notices()
"""The news that a worker has finished with a job, by the job's id."""

MAX_KNOWN = 1000
_known: dict[str, Worker] = {}
"""Workers as this process has written them last, at most `MAX_KNOWN`: to change one of these needs no read."""


async def place(kind: str, job_id: str, spec: JobSpec | None = None) -> bool:
    """Let a warm container run the job of a record; return False when the job needs a container of its own.

    `spec` is what the kind's `prepare` would return, for a caller that knows it.
    Then, and also after True, the caller starts the job's workflow, which looks after the job as after any other. Never
    raises: what has failed is logged, and the workflow goes on from there.
    """
    try:
        limit, served = settings().client_jobs, kind_of(kind)
        if not settings().warm or ((limit or served.takes_turns) and await served.held(job_id, limit)):
            return False
        spec = spec or await served.prepare(job_id)
        return spec is not None and await place_spec(kind, job_id, spec)
    except Unstartable:  # which the workflow records
        return False
    except Exception:
        log.exception("job %s could not be placed", job_id)
        return False


async def place_spec(kind: str, job_id: str, spec: JobSpec) -> bool:
    """As `place`, for a job without a record of its own, and with what failed raised."""
    if not settings().warm or not fits(spec):
        return False
    earlier: str | None = None
    for _ in range(ATTEMPTS):
        worker = await claim(POOL, f"{kind.partition('.')[0]} {spec.owner}", job_id)
        if worker is None:
            return False
        token, hashed = new_token()
        order = (await order_of(job_id, spec, token)).to_json()
        if len(order.encode()) > LARGEST_ORDER:
            await hand_back(worker)
            return False
        job = await _expect(worker, earlier, Job(id=job_id, kind=kind, token_hash=hashed, timeout=spec.timeout), spec)
        if job.token_hash != hashed:
            await hand_back(worker)
            return bool(job.worker)
        message = {"type": "order", "job": job_id, "owner": worker.owner, "order": order}
        sent = await realtime.send(HUB, worker.id, message)
        if sent and await words.wait(job_id, WORD, lambda: has_begun(job_id), LOOK):
            return True
        if not await take_back(job_id, hashed):
            return True
        await dismiss(worker.id)
        earlier = ""
    return False


def fits(spec: JobSpec) -> bool:
    """Whether a warm container may run the job: it has an owner, and asks for nothing that only a new one has."""
    plain = not spec.secrets and not spec.subnet and (spec.image, spec.cpu, spec.memory_gb) == (None, JobSpec.cpu, None)
    return plain and bool(spec.owner) and spec.directory.split("/")[0] == FOLDER


async def _expect(worker: Worker, earlier: str | None, new: Job, spec: JobSpec) -> Job:
    """Write that this worker runs the job; return the record, which has another token when another process was first.

    `earlier` is the hash of the token in the record that this process has taken back, None when it has made none.
    """
    new.inputs, new.worker = stored_inputs(spec), worker.id
    if earlier is None:
        return await jobs.insert(new)

    def expect(record: Job) -> None:
        if record.token_hash == earlier and record.state is JobState.CREATED:
            record.token_hash, record.worker = new.token_hash, worker.id

    return await jobs.update(new.id, expect)


async def claim(pool: str, owner: str, job_id: str) -> Worker | None:
    """Claim an idle worker for a job, if possible one that this owner has already; None when there is none."""
    async for worker in _candidates(pool, owner):
        _known.pop(worker.id, None)
        with contextlib.suppress(Unclaimable, tables.RecordNotFound):
            return _remember(await workers.update(worker, lambda record: record.claim(owner, job_id)))
    return None


def _remember(worker: Worker) -> Worker:
    if len(_known) >= MAX_KNOWN:
        _known.clear()
    _known[worker.id] = worker
    return worker


async def _candidates(pool: str, owner: str) -> AsyncIterator[Worker]:
    """Yield workers that may be idle: those this process knows, then those in the table."""
    tried: set[str] = set()

    def suitable(found: list[Worker]) -> list[Worker]:
        idle = (one for one in found if one.state is WorkerState.IDLE)
        fitting = [one for one in idle if one.pool == pool and one.owner in ("", owner) and one.id not in tried]
        tried.update(one.id for one in fitting)
        return sorted(fitting, key=lambda one: (one.owner != owner, one.id))

    for worker in suitable([*_known.values()]):
        yield worker
    for worker in suitable([one async for one in workers.all({"state": WorkerState.IDLE})]):
        yield worker


async def hand_back(worker: Worker) -> None:
    """Release a claimed worker to which no order was sent."""
    job_id = worker.job
    await change_worker(worker.id, lambda record: record.finish(job_id))


async def change_worker(worker_id: str, change: Callable[[Worker], None]) -> Worker | None:
    """Change a worker's record; None when there is no such worker."""
    try:
        return _remember(await workers.update(_known.pop(worker_id, worker_id), change))
    except tables.RecordNotFound:
        return None


async def forget(worker_id: str) -> None:
    """Delete the record of a worker that has ended."""
    _known.pop(worker_id, None)
    with contextlib.suppress(tables.RecordNotFound):
        await workers.delete(worker_id)


async def dismiss(worker_id: str) -> Worker | None:
    """Let a worker run no further job, and ask it to end; its workflow removes its container."""
    worker = await change_worker(worker_id, Worker.leave)
    await realtime.send(HUB, worker_id, {"type": "end"})
    return worker


async def has_begun(job_id: str) -> bool:
    """Whether the job's worker has answered, or its runner has pushed; False while storage does not answer."""
    try:
        job = await jobs.get(job_id)
    except (tables.RecordNotFound, tables.StorageUnavailable):
        return False
    return job.accepted or job.state is not JobState.CREATED


async def accepted(worker_id: str, job_id: str) -> None:
    """Note that a worker has taken the order; in the job's record only when nobody in this process waits for it."""
    if words.give(job_id):
        return

    def note(record: Job) -> None:
        record.accepted = record.accepted or record.worker == worker_id

    try:
        await jobs.update(job_id, note)
    except tables.RecordNotFound:
        log.warning("worker %s has an order for job %s, which has no record", worker_id, job_id)


async def take_back(job_id: str, hashed: str) -> bool:
    """Take a job from the worker that did not answer: its order is void. False when the job has begun meanwhile."""

    def void(record: Job) -> None:
        if record.token_hash != hashed or record.accepted or record.state is not JobState.CREATED:
            raise AlreadyBegun
        record.token_hash = record.worker = ""

    try:
        await jobs.update(job_id, void)
    except AlreadyBegun:
        return False
    return True
