"""The warm containers of an environment."""

import httpx

from shared.warm import Worker, WorkerState, workers
from tests.support.waiting import eventually


async def all_workers() -> list[Worker]:
    """The records of all workers, oldest first; this process must be a part of the app."""
    return sorted([worker async for worker in workers.all()], key=lambda worker: worker.id)


async def spare_workers() -> list[Worker]:
    """The workers that wait for their first job."""
    return [one for one in await all_workers() if one.state is WorkerState.IDLE and not one.owner]


async def pool_is_full(http: httpx.AsyncClient, count: int, seconds: float = 60) -> list[Worker]:
    """Run the timer of the pool, and wait until so many workers wait for their first job."""
    assert (await http.post("/admin/functions/maintenance_minute", json={})).status_code == 202
    return await eventually(spare_workers, until=lambda found: len(found) == count, seconds=seconds)


async def worker_of(job_id: str) -> Worker | None:
    """The worker that was given a job last, None when none was."""
    return next((worker for worker in await all_workers() if worker.job == job_id), None)
