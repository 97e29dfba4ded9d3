"""Many plain records at once, in place of whatever is stored under their ids."""

from datetime import UTC, datetime

import pytest

from shared.tables import Collection, MissingIndex
from shared.tables.client import client
from shared.tables.plain import PlainCollection
from tests.shared.tables.faults import Once
from tests.support.records import Counting, Run, plain

AT = datetime(2026, 1, 1, tzinfo=UTC)


def run(number: int, prompt: str = "") -> Run:
    return Run(id=Run.derived_id(AT, str(number)), created_at=AT, tokens=number, prompt=prompt)


async def kept(runs: Collection[Run]) -> dict[int, str]:
    return {each.tokens: each.prompt async for each in runs.scan()}


@pytest.fixture
def runs(account: None) -> PlainCollection[Run]:
    made = plain()
    assert isinstance(made, PlainCollection)
    return made


async def test_a_hundred_rows_are_a_transaction_and_a_repeat_leaves_the_same(
    runs: PlainCollection[Run], counting: Counting
):
    await runs.insert(run(0, "before"))
    for _ in range(2):
        counting.reset()
        await runs.store([run(number, "after") for number in range(250)])
        assert counting.calls == {"batch": 3}
    assert await kept(runs) == dict.fromkeys(range(250), "after")


async def test_what_is_to_go_goes_and_may_be_gone_already(runs: PlainCollection[Run]):
    await runs.store([run(number) for number in range(5)])
    await runs.store([run(9)], [run(1).id, run(7).id, run(2).id])
    assert set(await kept(runs)) == {0, 3, 4, 9}
    await runs.store([], [run(7).id])
    await runs.store([])


async def test_records_of_more_than_four_megabytes_are_several_transactions(
    runs: PlainCollection[Run], counting: Counting
):
    await runs.insert(run(0))
    counting.reset()
    await runs.store([run(number, "é" * 29_000) for number in range(100)])
    assert counting.calls == {"batch": 2}
    assert await kept(runs) == dict.fromkeys(range(100), "é" * 29_000)


async def test_a_text_of_any_length_is_kept(runs: PlainCollection[Run]):
    long = "".join(f"{number:x}" for number in range(300_000))
    await runs.store([run(1, long), run(2)])
    assert await kept(runs) == {1: long, 2: ""}


@pytest.mark.parametrize(("landed", "then"), [(True, 0), (False, 0), (True, 500), (False, 503)])
async def test_a_transaction_without_an_answer_is_sent_again(runs: PlainCollection[Run], landed: bool, then: int):
    await runs.store([run(0)])
    wire = client().wire
    inner, wire.transport = wire.transport, Once(wire.transport, landed=landed, then=then)
    await runs.store([run(1), run(2)], [run(0).id])
    wire.transport = inner
    assert set(await kept(runs)) == {1, 2}


async def test_a_change_that_another_writer_has_read_before_is_made_again(runs: PlainCollection[Run]):
    await runs.store([run(1)])
    read = await runs.get(run(1).id)
    await runs.store([run(1, "imported")])
    changed = await runs.update(read, lambda it: setattr(it, "archived", True))
    assert (changed.prompt, changed.archived) == ("imported", True)


async def test_unique_values_and_spread_records_are_refused(account: None):
    for declared in ({"unique": ["name"]}, {"spread": 4}):
        runs = plain(**declared)
        assert isinstance(runs, PlainCollection)
        with pytest.raises(MissingIndex):
            await runs.store([run(1)])
