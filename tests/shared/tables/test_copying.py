"""Copies of records: whole rows in their order, and records that are stored as they were."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from shared.tables import Collection, MissingIndex, RecordConflict, RecordNotFound
from shared.tables.client import client
from tests.support.records import Agent, Counting, Run, Status, collection, numbered, plain

pytestmark = pytest.mark.usefixtures("account")

LONG = ["text " * 20_000, random.Random(1).randbytes(300_000).hex()]
"""One that is packed into the row, and one that becomes a blob."""

OLD = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


def either() -> pytest.MarkDecorator:
    """Run a test for a counted and for a plain collection."""
    made = [lambda: collection(), lambda: plain(unique=["name"])]
    return pytest.mark.parametrize("make", made, ids=["counted", "plain"])


@either()
async def test_rows_are_whole_in_the_order_of_keys_from_any_of_them_on(make):
    runs: Collection[Run] = make().of("ann")
    made = [await runs.insert(Run(name=f"n{n}", prompt=LONG[n] if n < 2 else "p", tokens=n)) for n in range(5)]
    await runs.of("ben").insert(Run(name="other"))
    rows = [row async for page in runs.rows() for row in page]
    assert [runs.id_of(row) for row in rows] == [run.id for run in reversed(made)]
    assert [runs.key_of(row) for row in rows] == sorted(runs.key_of(row) for row in rows)
    for row, run in zip(rows, reversed(made), strict=True):
        assert await runs.whole(row) == runs.columns.encode(run)
    later = [row async for page in runs.rows(runs.key_of(rows[1])) for row in page]
    assert [runs.id_of(row) for row in later] == [run.id for run in made[2::-1]]


@either()
async def test_a_text_that_was_replaced_or_deleted_since_the_row_was_read(make):
    runs: Collection[Run] = make()
    first, second = [await runs.insert(Run(prompt=LONG[1])) for _ in range(2)]
    rows = {runs.id_of(row): row async for page in runs.rows() for row in page}
    await runs.update(first.id, lambda run: setattr(run, "prompt", LONG[1][::-1]))
    await runs.delete(second.id)
    found = await runs.whole(rows[first.id])
    assert found and found["prompt"] == LONG[1][::-1]
    assert await runs.whole(rows[second.id]) is None


@either()
async def test_a_record_is_stored_as_it_is_whatever_is_there(make):
    runs: Collection[Run] = make()
    kept = Run(created_at=OLD, updated_at=OLD + timedelta(hours=1), name="kept", prompt=LONG[0], status=Status.DONE)
    await runs.replace(kept.model_copy())
    found = await runs.get(kept.id)
    assert found == kept and (found.created_at, found.updated_at) == (OLD, OLD + timedelta(hours=1))
    await runs.update(kept.id, lambda run: run.model_copy(update={"name": "other", "prompt": LONG[1], "tokens": 7}))
    await runs.replace(kept.model_copy())
    assert await runs.get(kept.id) == kept == await runs.find("name", "kept")
    with pytest.raises(RecordNotFound):
        await runs.find("name", "other")
    assert [name async for name, _ in client().blobs.names(f"{runs.table}/")] == []  # of the text that is replaced
    assert await runs.count() == 1 == await runs.count({"status": "done"})
    await runs.replace(kept.model_copy(update={"tokens": 99, "name": "x"}), keep=("tokens",))
    assert [(run.tokens, run.name) async for run in runs.all()] == [(0, "x")]


@either()
async def test_a_unique_value_of_another_record_is_a_conflict(make):
    runs: Collection[Run] = make()
    await runs.insert(Run(name="taken"))
    with pytest.raises(RecordConflict) as error:
        await runs.replace(Run(name="taken"))
    assert error.value.field == "name" and await runs.count() == 1


async def test_counters_follow(account: None):
    runs = collection()
    first = await runs.insert(Run(status=Status.RUNNING, tokens=5))
    await runs.replace(first.model_copy(update={"status": Status.DONE, "tokens": 7}))
    await runs.replace(Run(status=Status.DONE, tokens=1))
    totals = await runs.totals()
    assert (totals.count, totals.by("status")[Status.DONE], totals.sum("tokens")) == (2, 2, 8)
    assert (await runs.page({"status": "done"})).total == 2 and (await runs.page({"status": "running"})).total == 0


@either()
async def test_what_is_as_it_should_be_is_not_written(make, counting: Counting):
    runs: Collection[Run] = make()
    run = await runs.insert(Run(name="n"))
    counting.reset()
    await runs.replace(run.model_copy())
    assert (counting.calls.total(), counting.written) == (1, 0)


async def test_what_has_no_order_or_no_id_is_refused(account: None):
    with pytest.raises(MissingIndex):
        _ = [row async for row in plain(spread=4).rows()]
    with pytest.raises(ValueError, match="not an id"):
        await numbered().replace(Agent())
