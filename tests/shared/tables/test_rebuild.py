"""A rebuild repairs damage and fulfils a new declaration while others write, and continues when interrupted."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.tables import BoundPassed, Collection, RecordConflict
from shared.tables.batch import Operation, encode
from shared.tables.client import client
from shared.tables.counted import CountedCollection
from shared.tables.rebuild import Rebuild
from shared.tables.wire import Row
from tests.shared.tables.faults import audit, flaky, rows_of
from tests.support.records import Run, Status, collection


async def write(runs: CountedCollection[Run], *operations: Operation) -> None:
    parts = encode(operations, f"{client().wire.url}/{runs.table}", runs.partition)
    await client().wire.transact(runs.table, parts)


async def filled(count: int, **declared: Any) -> CountedCollection[Run]:
    runs = collection(**declared)
    await asyncio.gather(
        *(
            runs.insert(Run(name=f"n{n}", status=list(Status)[n % 3], client_id=f"c{n % 4}", tokens=n, seconds=0.1))
            for n in range(count)
        )
    )
    return runs


async def test_damage_is_repaired():
    runs = await filled(20)
    rows = await rows_of(runs)
    lost = [*[key for key in rows if key.startswith("i~status~")][::3], "u~name~n3"]
    wrong = next(key for key in rows if key.startswith("c~client_id~"))
    await write(
        runs,
        *(Operation("DELETE", key, etag="*") for key in lost),
        Operation("PUT", f"i~status~gone~{'0' * 32}", {"client_id": "nobody"}),
        Operation("PUT", wrong, {"v": '{"n":77}', "k": '["c9"]'}),
    )
    runs.committer.shard.forget()
    result = await runs.rebuild()
    assert (result.records, result.stray) == (20, 1)
    assert len(await audit(runs)) == 20
    assert (await runs.find("name", "n3")).tokens == 3


async def test_a_new_declaration_holds_for_old_records():
    old = await filled(15, indexes=[], unique=[], counters=[], sums=[], sums_by=[], orders=[])
    new = collection()
    new.table = new.schema.table = old.table
    client().committer(old.table, "all").shard.forget()
    await new.rebuild()
    assert len(await audit(new)) == 15
    assert (await new.page({"status": "done"})).total == 5
    assert (await new.totals()).sum("tokens") == sum(range(15))


async def test_two_records_with_a_value_that_becomes_unique_are_a_conflict():
    old = await filled(3, unique=[])
    await old.insert(Run(name="n1"))
    new = collection()
    new.table = new.schema.table = old.table
    with pytest.raises(RecordConflict) as caught:
        await new.rebuild()
    assert caught.value.field == "name"
    await new.delete((await new.page(limit=1)).items[0].id)
    await new.rebuild()
    assert len(await audit(new)) == 3


@pytest.mark.parametrize("rate", [0.0, 0.08])  # a higher rate would give six faults in a row, which are an outage
async def test_beside_live_writers_totals_stay_exact(rate: float):
    runs = await filled(40)
    made = [run.id async for run in runs.all()]
    over = asyncio.Event()

    async def writer(number: int) -> int:
        step = 0
        while not over.is_set() or step < 5:
            step += 1
            status = list(Status)[step % 3]
            await runs.update(made[(number * 7 + step) % 40], lambda r, s=status: setattr(r, "status", s))
            await runs.insert(Run(tokens=1))
        return step

    async def watch() -> None:
        # A total of several responses is not a snapshot: short pages may show a record in both generations.
        while not over.is_set() and not rate:
            before = await runs.page({"client_id": "c3"}, limit=1)
            assert before.total == 10
            assert (await runs.totals()).by("client_id")["c3"] == 10

    async with flaky(3, rate):
        work = asyncio.gather(*(writer(n) for n in range(3)), watch())
        try:
            await runs.rebuild()
            await runs.rebuild()
        finally:
            over.set()
        steps = await work
    records = await audit(runs)
    assert len(records) == 40 + sum(step for step in steps if step)


@asynccontextmanager
async def interrupted(after: int) -> AsyncIterator[None]:
    """Rebuilds in this block end by an error once they have moved so many records."""
    move, moves, moved = Rebuild._move, itertools.count(), asyncio.Barrier(after + 1)

    async def dying(self: Rebuild[Run], row: Row) -> None:
        number = next(moves)
        if number < after:
            await move(self, row)
        if number <= after:
            await moved.wait()
            raise RuntimeError("interrupted")
        await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rebuild, "_move", dying)
        with pytest.raises(RuntimeError, match="interrupted"):
            yield


async def test_an_interrupted_rebuild_goes_on():
    runs = await filled(30)
    async with interrupted(12):
        await Rebuild(runs).run()
    assert (await runs.totals()).count == 30
    result = await runs.rebuild()
    assert result.records <= 30
    assert (await rows_of(runs))["g~"]["done"] is True
    assert len(await audit(runs)) == 30
    assert {row.get("g") for key, row in (await rows_of(runs)).items() if key[0] == "r"} == {"1"}


async def test_an_interrupted_rebuild_begins_again_for_another_declaration():
    old = await filled(15, indexes=[], unique=[], counters=[], sums=[], sums_by=[], orders=[])
    async with interrupted(8):
        await old.rebuild()
    new = collection()
    new.table = new.schema.table = old.table
    client().committer(old.table, "all").shard.forget()
    assert (await new.rebuild()).records == 15
    assert len(await audit(new)) == 15
    assert len((await new.page({"status": "done"})).items) == 5


async def test_while_records_move_a_bounded_partition_counts_each_of_them_once(monkeypatch: pytest.MonkeyPatch):
    runs = await filled(6, bounded=True)
    async with interrupted(4):
        await runs.rebuild()
    narrow = runs.within(8, tokens=100)
    await narrow.insert(Run(tokens=10))
    await narrow.insert(Run(tokens=75))
    for refused in (Run(), Run(tokens=100)):
        with pytest.raises(BoundPassed) as caught:
            await narrow.insert(refused)
    assert (caught.value.name, caught.value.amount) == ("n", 9)
    assert not [key for key in await rows_of(runs) if key.startswith("c~.~") and not key.startswith("c~.~r.")]
    await runs.rebuild()
    assert len(await audit(runs)) == 8


async def test_a_plain_collection_becomes_counted_and_plain_again():
    plain = Collection("Changing", Run, plain=True, unique=["name"])
    for n in range(5):
        await plain.insert(Run(name=f"n{n}", status=list(Status)[n % 3]))
    counted = collection()
    counted.table = counted.schema.table = plain.table
    assert (await counted.rebuild()).records == 5
    assert len(await audit(counted)) == 5
    assert (await counted.page({"status": "pending"})).total == (await counted.totals()).by("status")["pending"] == 2
    run = await counted.update((await counted.find("name", "n0")).id, lambda r: setattr(r, "tokens", 1))
    assert (await plain.update(run.id, lambda r: setattr(r, "name", "n9"))).tokens == 1
    assert (await plain.find("name", "n9")).id == run.id
    await plain.delete(run.id)
    assert (await plain.page()).total == 4
