"""Records, index rows and counters agree, whatever is lost on the way."""

import asyncio
import random
import threading

import pytest

from shared import tables
from shared.tables import RecordConflict, RecordNotFound, StorageUnavailable, bulk, shard
from shared.tables.batch import Operation
from shared.tables.client import client
from shared.tables.counted import CountedCollection
from shared.tables.ids import new_id
from shared.tables.wire import Unanswered, WireResponse
from tests.shared.tables.faults import Once, audit, flaky
from tests.support.records import Run, Status, collection


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("then", [0, 500, 503])
@pytest.mark.parametrize("operation", ["insert", "update", "delete"])
async def test_a_lost_response_changes_nothing(landed: bool, then: int, operation: str):
    runs, wire = collection(), client().wire
    first = await runs.insert(Run(name="first"))
    inner = wire.transport
    wire.transport = Once(inner, landed=landed, then=then)
    try:
        if operation == "insert":
            run = await runs.insert(Run(name="second"))
            assert run.etag == (await runs.get(run.id)).etag
        elif operation == "update":
            run = await runs.update(first.id, lambda r: setattr(r, "tokens", r.tokens + 1))
            assert (run.tokens, run.etag) == (1, (await runs.get(run.id)).etag)
        else:
            await runs.delete(first.id)
    finally:
        wire.transport = inner
    records = await audit(runs)
    assert len(records) == {"insert": 2, "update": 1, "delete": 0}[operation]


async def test_a_request_that_arrives_after_its_repeat_was_refused_does_nothing():
    """The first request is held back, its repeat is refused since another run has the name, then the first arrives."""
    runs, wire = collection(), client().wire
    await runs.insert(Run())
    inner = wire.transport
    held: list[tuple[str, str, dict[str, str], bytes | None]] = []

    class Hold(Once):
        async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
            if url.endswith("$batch") and not held:
                held.append((method, url, headers, body))
                other = threading.Thread(target=asyncio.run, args=(take_the_name(),))
                other.start()
                await asyncio.to_thread(other.join)
                raise Unanswered("late")
            return await inner.send(method, url, headers, body)

    async def take_the_name() -> None:
        run = await runs.insert(Run(name="n"))
        ids.append(run.id)
        await tables.close()

    ids: list[str] = []
    wire.transport = Hold(inner, landed=False)
    try:
        with pytest.raises(RecordConflict):
            await runs.insert(Run(name="n"))
    finally:
        wire.transport = inner
    await runs.delete(ids[0])  # now only the rewritten root row can stop the request that was held back
    answer = await inner.send(*held[0])
    assert b"412" in answer.body
    assert len(await audit(runs)) == 1


@pytest.mark.parametrize("seed", range(6))
async def test_any_schedule_of_faults(seed: int):
    runs, chance = collection(), random.Random(seed)
    known: dict[str, Run] = {}
    unclear: set[str] = set()

    async def work(worker: int) -> None:
        for step in range(16):
            run_id = chance.choice([*known, ""]) if known else ""
            try:
                if not run_id or chance.random() < 0.4:
                    run = Run(name=f"n{chance.randrange(12)}", tokens=worker, seconds=0.1 * step)
                    run_id = run.id
                    known[run.id] = await runs.insert(run)
                elif chance.random() < 0.7:
                    status = chance.choice(list(Status))

                    def change(run: Run, status: Status = status) -> None:
                        run.status, run.client_id, run.tokens = status, f"c{run.tokens % 3}", run.tokens + 1

                    before = known[run_id].tokens
                    new = await runs.update(run_id, change)
                    assert new.tokens > before or run_id in unclear
                    if run_id in known and new.tokens > known[run_id].tokens:
                        known[run_id] = new
                else:
                    unclear.add(run_id)
                    await runs.delete(run_id)
                    known.pop(run_id, None)
            except (RecordConflict, RecordNotFound, KeyError):
                pass
            except StorageUnavailable:
                unclear.add(run_id)

    async with flaky(seed, 0.3) as faults:
        await asyncio.gather(*(work(worker) for worker in range(6)))
        page = await runs.page(limit=100)
        assert len(page.items) == page.total == (await runs.totals()).count
        for status in Status:
            page = await runs.page({"status": status}, limit=100)
            assert len(page.items) == page.total
            assert all(run.status is status for run in page.items)
    assert sum(faults.faults.values()) > 10 and faults.faults["lost answer"] + faults.faults["late"]
    records = await audit(runs)
    for run_id, run in known.items():
        if run_id not in unclear:
            assert records[run_id].tokens == run.tokens


@pytest.mark.parametrize("shards", [1, 16])
async def test_two_processes_on_one_shard(monkeypatch: pytest.MonkeyPatch, shards: int):
    monkeypatch.setattr(shard, "SHARDS", shards)
    runs = collection()
    shared = (await runs.insert(Run())).id

    def process() -> None:
        async def main() -> None:
            runs.committer.shard.number = 0
            async with flaky(7, 0.1):
                await asyncio.gather(*(one(n) for n in range(12)))
            await tables.close()

        async def one(n: int) -> None:
            run = await runs.insert(Run(tokens=n))
            await runs.update(run.id, lambda r: setattr(r, "status", Status.DONE))
            await runs.update(shared, lambda r: setattr(r, "tokens", r.tokens + 1))

        asyncio.run(main())

    threads = [threading.Thread(target=process) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    records = await audit(runs)
    assert len(records) == 25
    assert records[shared].tokens == 24


async def test_a_service_that_does_not_respond(runs: CountedCollection[Run], monkeypatch: pytest.MonkeyPatch):
    await runs.insert(Run())
    wire = client().wire

    async def lost(*_: object) -> WireResponse:
        raise Unanswered("lost")

    with monkeypatch.context() as patch:
        patch.setattr(wire.transport, "send", lost)
        patch.setattr(wire, "pause", 0.002)
        with pytest.raises(StorageUnavailable):
            await runs.insert(Run())
        with pytest.raises(StorageUnavailable):
            await runs.get(new_id())
    await runs.insert(Run())
    assert len(await audit(runs)) == 2


async def test_a_lost_index_row_does_not_stop_the_record(runs: CountedCollection[Run]):
    run = await runs.insert(Run())
    key = next(key for key in runs.schema.rows(*(await runs.read(run.id)).state)[0] if key.startswith("i~status~"))
    await bulk.write(runs.table, "all", [Operation("DELETE", key, etag="*")])
    await runs.update(run.id, lambda r: setattr(r, "status", Status.DONE))
    assert (await audit(runs))[run.id].status is Status.DONE


async def test_a_cancelled_caller_does_not_affect_the_writes_of_others(runs: CountedCollection[Run]):
    tasks = [asyncio.create_task(runs.insert(Run(tokens=n))) for n in range(8)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[5].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(result, Run) for result in done) == 6
    await runs.committer.settle()
    assert len(await audit(runs)) >= 6
