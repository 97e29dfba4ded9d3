"""Bounds of a partition: how many records, and which sums, it may hold at most."""

import asyncio
import random

import pytest

from shared import tables
from shared.tables import BoundPassed, MissingIndex
from shared.tables.counted import CountedCollection
from tests.support.records import Run, collection

RECORDS, TOKENS = 12, 40


@pytest.fixture
def runs(account: None) -> CountedCollection[Run]:
    return collection(bounded=True).within(RECORDS, tokens=TOKENS)


async def fill(runs: CountedCollection[Run], seed: int) -> None:
    """Insert, change and delete records side by side."""
    chance, made = random.Random(seed), list[Run]()

    async def one() -> None:
        tokens = chance.randrange(9)
        try:
            if made and chance.random() < 0.6:
                await runs.update(chance.choice(made).id, lambda run: setattr(run, "tokens", tokens))
            else:
                made.append(await runs.insert(Run(tokens=tokens)))
        except BoundPassed as error:
            assert (error.name, error.most) in (("n", RECORDS), ("tokens", TOKENS)) and error.amount > error.most

    await asyncio.gather(*(one() for _ in range(60)))


async def check(runs: CountedCollection[Run]) -> None:
    totals, found = await runs.totals(), [run async for run in runs.all()]
    assert (totals.count, totals.sum("tokens")) == (len(found), sum(run.tokens for run in found))
    assert totals.count <= RECORDS and totals.sum("tokens") <= TOKENS


async def test_writes_at_once_fill_it_and_do_not_pass_it(runs: CountedCollection[Run]):
    await fill(runs, 1)
    await check(runs)
    with pytest.raises(BoundPassed):
        await runs.insert(Run(tokens=TOKENS))


async def test_writes_of_several_processes_do_not_pass_it(runs: CountedCollection[Run]):
    async def process(seed: int) -> None:
        await fill(runs, seed)
        await tables.close()

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, process(seed)) for seed in range(3)))
    await check(runs)


async def test_what_makes_it_smaller_is_done_even_where_it_holds_too_much(runs: CountedCollection[Run]):
    first = await runs.insert(Run(tokens=30))
    narrow = runs.within(RECORDS, tokens=10)
    assert (await narrow.update(first, lambda run: setattr(run, "tokens", 20))).tokens == 20
    with pytest.raises(BoundPassed):
        await narrow.insert(Run(tokens=1))
    await narrow.insert(Run())
    await narrow.delete(first.id)
    await narrow.insert(Run(tokens=10))


async def test_a_refused_write_leaves_no_trace(runs: CountedCollection[Run]):
    kept = await runs.insert(Run(name="a", tokens=TOKENS))
    with pytest.raises(BoundPassed):
        await runs.insert(Run(name="b", tokens=1))
    with pytest.raises(BoundPassed):
        await runs.update(kept, lambda run: setattr(run, "tokens", TOKENS + 1))
    assert (await runs.get(kept.id)).tokens == TOKENS
    await runs.delete(kept.id)
    assert (await runs.insert(Run(name="b", tokens=1))).name == "b"


async def test_bounds_must_be_declared(runs: CountedCollection[Run]):
    with pytest.raises(MissingIndex):
        collection().within(1)
    with pytest.raises(MissingIndex):
        runs.within(1, minutes=1)
