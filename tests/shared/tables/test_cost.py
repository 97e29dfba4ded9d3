"""What an operation costs: storage calls and rows, the same at a hundred records and at ten thousand."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from shared.tables import Collection, MissingIndex, RecordChanged, RecordNotFound, bulk
from shared.tables.batch import Operation
from shared.tables.ids import new_id, row_key
from tests.support.records import Counting, Run, Status, collection
from tests.support.records import plain as plain_collection

START = datetime(2026, 5, 1, tzinfo=UTC)
SPAN = timedelta(days=2)


@pytest.fixture(scope="module", params=[100, 10_000], ids=["100", "10000"])
async def filled(request: pytest.FixtureRequest, account: None) -> AsyncIterator[Collection[Run]]:
    """Records made over two days, a third of them in each state."""
    runs = collection(indexes=["status"], counters=["status"], sums_by=[], unique=[], orders=[])
    number: int = request.param
    for first in range(0, number, 500):
        moments = [START + SPAN * n / number for n in range(first, min(first + 500, number))]
        made = [Run(id=new_id(at), created_at=at, status=list(Status)[n % 3]) for n, at in enumerate(moments, first)]
        await asyncio.gather(*map(runs.insert, made))
    yield runs


async def test_create(filled: Collection[Run], counting: Counting):
    await filled.insert(Run())
    counting.reset()
    await filled.insert(Run())
    assert (dict(counting.calls), counting.rows, counting.written) == ({"batch": 1}, 0, 4)


async def test_change_of_state(filled: Collection[Run], counting: Counting):
    run = await filled.insert(Run())
    counting.reset()
    await filled.update(run.id, lambda r: setattr(r, "status", Status.DONE))
    assert (dict(counting.calls), counting.rows, counting.written) == ({"get": 1, "batch": 1}, 1, 5)
    await filled.delete(run.id)


@pytest.mark.parametrize("kind", [collection, plain_collection])
async def test_a_list_reads_at_most_16_records_whole_at_a_time_and_none_for_a_field_that_it_is_without(
    counting: Counting, kind: Callable[..., Collection[Run]], monkeypatch: pytest.MonkeyPatch
):
    runs = kind(view=["status", "prompt"])
    for _ in range(20):
        await runs.insert(Run(prompt="x" * 40_000))
    counting.reset()
    assert {run.prompt for run in (await runs.without("prompt").page(limit=20)).items} != {"x" * 40_000}
    assert counting.calls["get"] == 0
    under_way, most, find = 0, 0, runs._find

    async def counted(record_id: str) -> Any:
        nonlocal under_way, most
        under_way, most = under_way + 1, max(most, under_way + 1)
        try:
            return await find(record_id)
        finally:
            under_way -= 1

    monkeypatch.setattr(runs, "_find", counted)
    assert {run.prompt for run in (await runs.page(limit=20)).items} == {"x" * 40_000}
    assert most == 16


@pytest.mark.parametrize("kind", [collection, plain_collection])
async def test_a_record_that_was_read_is_updated_without_a_read_unless_it_has_changed_since(
    counting: Counting, kind: Callable[[], Collection[Run]]
):
    runs = kind()
    known = await runs.get((await runs.insert(Run(prompt="x" * 40_000))).id)
    known.tokens = 1000  # what a caller has changed in its copy is not written
    counting.reset()
    await runs.update(known, lambda run: setattr(run, "tokens", run.tokens + 1))
    assert counting.calls["get"] == 0
    updated = await runs.update(known, lambda run: setattr(run, "tokens", run.tokens + 1))
    assert (counting.calls["get"], updated.tokens, updated.prompt) == (1, 2, "x" * 40_000)
    with pytest.raises(RecordChanged):
        await runs.update(known, lambda run: None, if_match="other")
    with pytest.raises(RecordChanged):
        await runs.update(known, lambda run: setattr(run, "tokens", 7), if_match=known.etag)
    await runs.delete(known.id)
    with pytest.raises(RecordNotFound):
        await runs.update(known, lambda run: setattr(run, "tokens", 7))


@pytest.mark.parametrize("kind", [collection, plain_collection])
async def test_a_change_that_changes_nothing_or_refuses_is_decided_on_what_is_stored(
    counting: Counting, kind: Callable[[], Collection[Run]]
):
    runs = kind()
    stale = await runs.insert(Run(tokens=1))
    await runs.update(stale.id, lambda run: setattr(run, "tokens", 2))

    def refuse_one(run: Run) -> None:
        if run.tokens == 1:
            raise ValueError
        run.tokens += 1

    with pytest.raises(RecordChanged):
        await runs.update(stale, lambda run: setattr(run, "tokens", 1), if_match=stale.etag)
    assert (await runs.update(stale, refuse_one)).tokens == 3
    assert (await runs.update(stale, lambda run: setattr(run, "tokens", 1))).tokens == 1
    latest = await runs.get(stale.id)
    assert latest.tokens == 1
    counting.reset()
    await runs.update(latest, lambda run: setattr(run, "tokens", 1))
    assert dict(counting.calls) == {"get": 1}


@pytest.mark.parametrize("kind", [collection, plain_collection])
async def test_a_record_that_was_written_is_updated_without_a_read(
    counting: Counting, kind: Callable[[], Collection[Run]]
):
    runs = kind()
    run = await runs.insert(Run(prompt="short", started_at=START))
    counting.reset()
    for tokens in range(1, 4):
        run = await runs.update(run, lambda run: setattr(run, "tokens", run.tokens + 1))
        assert run.tokens == tokens
    run = await runs.update(run, lambda run: setattr(run, "started_at", None))  # a column that a merge cannot remove
    assert counting.calls["get"] == 0
    assert await runs.get(run.id) == run
    await runs.update(run.id, lambda run: setattr(run, "tokens", 9))
    assert (await runs.update(run, lambda run: setattr(run, "prompt", "new"))).tokens == 9
    assert (await runs.page({"prompt": "new"} if kind is plain_collection else None)).total == 1
    await runs.delete(run.id)


async def test_get(filled: Collection[Run], counting: Counting):
    run = await filled.insert(Run())
    counting.reset()
    await filled.get(run.id)
    assert (dict(counting.calls), counting.rows) == ({"get": 1}, 1)


async def test_totals(filled: Collection[Run], counting: Counting):
    counting.reset()
    totals = await filled.totals()
    assert (dict(counting.calls), counting.rows) == ({"query": 1}, 1)
    assert sum(totals.by("status").values()) == totals.count


@pytest.mark.parametrize("where", [{}, {"status": "done"}])
async def test_first_page(filled: Collection[Run], counting: Counting, where: dict[str, object]):
    counting.reset()
    page = await filled.page(where, limit=50)
    assert (dict(counting.calls), counting.rows) == ({"query": 2}, len(page.items) + 1)


@pytest.mark.parametrize("where", [{}, {"status": "done"}])
async def test_deep_page_is_right_and_flat(filled: Collection[Run], counting: Counting, where: dict[str, object]):
    every = [run.id async for run in filled.all(where)]
    offset = len(every) // 2
    counting.reset()
    page = await filled.page(where, limit=50, offset=offset)
    assert [run.id for run in page.items] == every[offset : offset + 50]
    assert page.total == len(every)
    assert counting.calls.total() <= 3
    assert counting.rows <= 400
    page = await filled.page(where, limit=50, offset=offset, descending=False)
    assert [run.id for run in page.items] == every[::-1][offset : offset + 50]


async def test_history(filled: Collection[Run], counting: Counting):
    counting.reset()
    assert (await filled.history(START, START + SPAN)).count >= 100
    assert (dict(counting.calls), counting.rows) == ({"query": 1}, 48)


async def test_totals_of_one_value_do_not_grow_with_the_values(account: None, counting: Counting):
    runs = collection(unique=[])
    await asyncio.gather(*(runs.insert(Run(client_id=f"c{n % 60}", tokens=n)) for n in range(120)))
    counting.reset()
    whole = await runs.totals({})
    assert (dict(counting.calls), counting.rows) == ({"query": 1}, 1)
    assert (whole.count, whole.by("status")[Status.PENDING], whole.sum("tokens")) == (120, 120, sum(range(120)))
    counting.reset()
    one = await runs.totals({"client_id": "c7"})
    assert (dict(counting.calls), counting.rows) == ({"query": 1}, 1)
    assert one.matching({"client_id": ["c7"], "status": [Status.PENDING]}) == 2
    assert one.sum("tokens", client_id="c7") == 7 + 67
    with pytest.raises(MissingIndex, match="nothing is declared that counts by name"):
        await runs.totals({"name": "x"})


async def test_a_rebuild_reads_many_records_at_once_and_fills_its_transactions(account: None, counting: Counting):
    runs = collection(unique=[])
    await asyncio.gather(*(runs.insert(Run(client_id=f"c{n % 5}", tokens=n)) for n in range(400)))
    calls = []
    for _ in range(2):
        counting.reset()
        assert (await runs.rebuild()).records == 400
        calls.append(counting.calls.total())
    # A transaction has room for 12 records with their index rows; the rest are counters and marks.
    assert max(calls) < 400 / 12 + 60


NOISE = random.Random(1).randbytes(30_000).hex()


@pytest.fixture(scope="module", params=[1, 4], ids=["one partition", "spread"])
async def plain(request: pytest.FixtureRequest, account: None) -> AsyncIterator[Collection[Run]]:
    """1,050 plain records."""
    notes = Collection(f"Costs{request.param}", Run, plain=True, spread=request.param)
    operations = defaultdict[str, list[Operation]](list)
    for number in range(1_050):
        run = Run(tokens=number, status=list(Status)[number % 3])
        key = row_key(run.id) or ""
        columns = notes.columns.typed(notes.columns.encode(run))
        operations[notes.partition_of(key)].append(Operation("PUT", f"r~{key}", columns))
    for partition, own in operations.items():
        await bulk.write(notes.table, partition, own)
    yield notes


class TestPlain:
    async def test_writes(self, plain: Collection[Run], counting: Counting):
        run = await plain.insert(Run())
        assert (dict(counting.calls), counting.rows, counting.written) == ({"write": 1}, 0, 1)
        for change, written in ((lambda r: setattr(r, "tokens", 5), 1), (lambda r: setattr(r, "prompt", NOISE), 1)):
            counting.reset()
            await plain.update(run.id, change)
            assert (dict(counting.calls), counting.rows) == ({"get": 1, "write": 1}, 1)
            assert counting.written == written
        counting.reset()
        await plain.get(run.id)
        assert (dict(counting.calls), counting.rows) == ({"get": 1}, 1)
        counting.reset()
        await plain.delete(run.id)
        assert (dict(counting.calls), counting.rows, counting.written) == ({"get": 1, "write": 1}, 1, 1)

    async def test_writes_of_a_unique_value(self, counting: Counting):
        notes = Collection("CostsUnique", Run, plain=True, unique=["name"])
        await notes.insert(Run())
        counting.reset()
        run = await notes.insert(Run(name="a"))
        assert (dict(counting.calls), counting.written) == ({"batch": 1}, 2)
        counting.reset()
        await notes.find("name", "a")
        assert (dict(counting.calls), counting.rows) == ({"get": 2}, 2)
        for change, calls, written in (
            (lambda r: setattr(r, "tokens", 5), {"get": 1, "write": 1}, 1),
            (lambda r: setattr(r, "name", "b"), {"get": 1, "batch": 1}, 3),
        ):
            counting.reset()
            await notes.update(run.id, change)
            assert (dict(counting.calls), counting.written) == (calls, written)
        counting.reset()
        await notes.delete(run.id)
        assert (dict(counting.calls), counting.written) == ({"get": 1, "batch": 1}, 2)

    async def test_lists(self, plain: Collection[Run], counting: Counting):
        for read in (
            lambda: plain.page(limit=50),
            lambda: plain.page({"status": "done"}, limit=50, offset=300, order=["-tokens", "created_at"]),
            lambda: plain.count(),
            lambda: plain.count({"status": "done"}),
            lambda: drained(plain.all({"status": "done"})),
        ):
            counting.reset()
            await read()
            assert (dict(counting.calls), counting.rows) == ({"query": 2}, 1_050)

    async def test_a_long_text_costs_a_point_read_where_it_is_listed(self, counting: Counting):
        notes = Collection("CostsLong", Run, plain=True)
        for tokens in range(3):
            await notes.insert(Run(prompt=NOISE, tokens=tokens))
        counting.reset()
        await notes.page(limit=2)
        assert (dict(counting.calls), counting.rows) == ({"query": 1, "get": 2}, 5)
        counting.reset()
        assert (await notes.page({"prompt": NOISE}, limit=1, order="tokens")).total == 3
        assert (dict(counting.calls), counting.rows) == ({"query": 1, "get": 3}, 6)


async def drained(records: AsyncIterator[Run]) -> None:
    async for _ in records:
        pass


def test_decoding_a_page_takes_a_few_times_as_long_as_parsing_it():
    runs = collection()
    encoded = [{**runs.columns.encode(run), "RowKey": f"r~{row_key(run.id)}"} for run in (Run() for _ in range(1_000))]
    text = orjson.dumps(encoded)
    parsing: list[float] = []
    decoding: list[float] = []
    for _ in range(15):
        start = time.process_time()
        rows = orjson.loads(text)
        parsed = time.process_time()
        runs.columns.decode(rows)
        parsing.append(parsed - start)
        decoding.append(time.process_time() - parsed)
    assert min(decoding) < 5 * min(parsing)
