"""Claims of warm containers: over random schedules of many claimers no container ever has two owners or two jobs."""

import asyncio
import random

import pytest

from shared import warm
from shared.tables.ids import new_id
from shared.warm import Worker, WorkerState, change_worker, claim, workers

OWNERS = ["ann", "bob", "cid"]
WORKERS = 4
CLAIMERS = 8
ROUNDS = 6


class Schedule:
    """Claimers that run side by side, and what each container has seen: its owners, and the job that it runs now."""

    def __init__(self, seed: int):
        self.chance = random.Random(seed)
        self.owners: dict[str, set[str]] = {}
        self.running: dict[str, str] = {}
        self.claims = 0

    async def claimer(self) -> None:
        for _ in range(ROUNDS):
            owner, job = self.chance.choice(OWNERS), new_id()
            if self.chance.random() < 0.5:
                warm._known.clear()  # as in another process
            worker = await claim("python", owner, job)
            if worker is None:
                await change_worker((await workers.insert(Worker())).id, Worker.ready)
                continue
            self.claims += 1
            assert worker.id not in self.running
            self.running[worker.id] = job
            self.owners.setdefault(worker.id, set()).add(owner)
            await asyncio.sleep(self.chance.random() / 100)
            await self._end(worker, job)

    async def _end(self, worker: Worker, job: str) -> None:
        """The job ends well, its worker fails, or its word is lost and comes again when another job runs."""
        del self.running[worker.id]
        match self.chance.randrange(4):
            case 0:
                await change_worker(worker.id, Worker.leave)
            case 1:
                await change_worker(worker.id, lambda record: record.finish("another job"))
                await change_worker(worker.id, lambda record: record.finish(job))
                await change_worker(worker.id, lambda record: record.finish(job))
            case _:
                await change_worker(worker.id, lambda record: record.finish(job))


@pytest.mark.parametrize("seed", range(2))
async def test_no_container_has_two_owners_or_two_jobs(account: None, seed: int):
    async for worker in workers.all():
        await workers.delete(worker.id)
    warm._known.clear()
    for _ in range(WORKERS):
        await workers.insert(Worker(state=WorkerState.IDLE))
    schedule = Schedule(seed)
    await asyncio.gather(*(schedule.claimer() for _ in range(CLAIMERS)))
    assert schedule.claims > ROUNDS
    assert {len(owners) for owners in schedule.owners.values()} == {1}


@pytest.mark.parametrize("state", [WorkerState.STARTING, WorkerState.BUSY, WorkerState.GONE])
def test_only_an_idle_worker_without_another_owner_is_claimed(state: WorkerState):
    for worker in (Worker(state=state), Worker(state=WorkerState.IDLE, owner="bob")):
        with pytest.raises(warm.Unclaimable):
            worker.claim("ann", "job")


def test_one_that_is_gone_never_comes_back():
    worker = Worker(state=WorkerState.BUSY, job="a")
    worker.leave()
    worker.finish("a")
    worker.ready()
    assert worker.state is WorkerState.GONE
