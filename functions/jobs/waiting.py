"""The line of jobs that cannot start yet: the oldest try first, each again after a pause, until a deadline."""

import contextlib
import math
import time
import zlib
from datetime import UTC, datetime, timedelta

from shared import tables
from shared.containers import ContainersBusy
from shared.faults import Sweep
from shared.jobs import JobKind, WaitingJob, in_words, waiting_jobs
from shared.settings import settings

AT_THE_FRONT = 5
"""How many of the oldest jobs in line ask for a container; the others only look how far the line has moved."""

GRACE = timedelta(minutes=2)
"""How much later than planned a job may try again until it no longer counts: its workflow was ended from outside."""

REMEMBERED = 300.0
"""Seconds after a refusal, for which this process looks at the line before it starts a new job."""

_look_until = 0.0
"""The moment of `time.monotonic` until which the line is looked at."""

_closed_until = 0.0
"""The moment of `time.monotonic` until which nothing is tried, because the service has asked for it."""


class NotInTime(Exception):
    """The job has waited longer than `RUNYARD_START_DEADLINE`; the message is for the client."""


async def turn(job_id: str, kind: JobKind, waits: int) -> int | None:
    """Return None when the job may try to start, else the seconds until it may ask again.

    `waits` is how often it has waited. Raises `NotInTime`. No storage call while there was no refusal lately, unless
    `RUNYARD_CLIENT_JOBS` is set or the kind takes turns.
    """
    global _look_until
    limit = settings().client_jobs
    if (limit or kind.takes_turns) and (reason := await kind.held(job_id, limit)):
        return await _wait(job_id, kind, reason, held=True, step=waits)
    now = time.monotonic()
    if not waits and now >= max(_look_until, _closed_until):
        return None
    older = [job for job in await _line() if job.id < job_id]
    if now >= _closed_until:
        if not older and not waits:
            _look_until = 0.0
        if len(older) < (AT_THE_FRONT if waits else 1):
            return None
    reason = older[0].reason if older else "The container service has asked to wait"
    least = max(0.0, _closed_until - now) if len(older) < AT_THE_FRONT else 0.0
    return await _wait(job_id, kind, reason, step=len(older) // AT_THE_FRONT, least=least)


async def refused(job_id: str, kind: JobKind, error: ContainersBusy) -> int:
    """Put a job into the line because the service has refused it; return the seconds until it may ask again.

    Raises `NotInTime`.
    """
    global _look_until, _closed_until
    now = time.monotonic()
    _look_until = now + REMEMBERED
    _closed_until = max(_closed_until, now + error.retry_after)
    return await _wait(job_id, kind, str(error), refused=True, least=error.retry_after)


async def leave(job_id: str) -> None:
    """Take a job out of the line; one that is not in it is no error."""
    with contextlib.suppress(tables.RecordNotFound):
        await waiting_jobs.delete(job_id)


async def sweep(limit: timedelta = timedelta(hours=1)) -> None:
    """Delete what is left in the line of jobs of which nothing was heard for so long after they were due."""
    before = datetime.now(UTC) - limit
    async with Sweep("jobs in line") as sweep:
        async for job in waiting_jobs.all():
            if job.until < before:
                with sweep.item(job.id):
                    await leave(job.id)


async def _line() -> list[WaitingJob]:
    """Return the jobs that wait for room, oldest first, without those of which nothing was heard in time."""
    now = datetime.now(UTC)
    found = [job async for job in waiting_jobs.all() if not job.held and job.until > now]
    return sorted(found, key=lambda job: job.id)


async def _wait(
    job_id: str,
    kind: JobKind,
    reason: str,
    *,
    held: bool = False,
    refused: bool = False,
    step: int = 0,
    least: float = 0.0,
) -> int:
    """Note that the job waits; return for how many seconds: the pause of this step, at least `least`.

    It ends at the deadline at the latest.
    A refused job's step is the number of its refusals before. `held` is whether it waits for other jobs of its client,
    which does not count towards the deadline.
    """
    now = datetime.now(UTC)
    try:
        job = await waiting_jobs.get(job_id)
    except tables.RecordNotFound:
        job = WaitingJob(id=job_id, kind=kind.name, since=now, until=now)
    known, was_held, new = job.reason, job.held, job.etag is None
    job.reason, job.held, job.refusals = reason, held, job.refusals + refused
    job.since = now if held or was_held else job.since
    pause = _pause(job_id, job.refusals if refused else step, job.refusals + step, least)
    if not held:
        deadline = settings().start_deadline
        left = deadline - (now - job.since).total_seconds()
        if left <= 0:
            await leave(job_id)
            raise NotInTime(f"Not started within {in_words(deadline)}: {reason}")
        pause = min(pause, math.ceil(left))
    job.until = now + timedelta(seconds=pause) + GRACE
    if reason != known:
        await kind.waiting(job_id, reason)
    await (waiting_jobs.insert(job) if new else waiting_jobs.update(job_id, lambda _: job))
    return pause


def _pause(job_id: str, step: int, number: int, least: float) -> int:
    """Return a pause in whole seconds, up to half longer than the setting says, so that jobs do not ask together."""
    pauses = [int(pause) for pause in settings().start_pauses.split(",")]
    seconds = max(pauses[min(step, len(pauses) - 1)], least)
    spread = zlib.crc32(f"{job_id} {number}".encode()) / 2**32  # the same in a repeat
    return math.ceil(seconds * (1 + spread / 2))
