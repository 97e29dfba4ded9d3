"""Plain collections: one row a record, and writes that do not wait for each other."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.tables import (
    Collection,
    MissingIndex,
    RecordChanged,
    RecordConflict,
    RecordNotFound,
    Unstorable,
)
from shared.tables.client import client
from shared.tables.wire import WireResponse
from tests.shared.tables.faults import rows_of
from tests.support.records import Counting, Run, collection, plain

NOISE = [random.Random(seed).randbytes(200_000).hex() for seed in range(2)]


@pytest.fixture
def runs(plain_runs: Collection[Run]) -> Collection[Run]:
    return plain_runs


async def rows_of_all(runs: Collection[Run]) -> list[str]:
    """The row keys of all partitions of the table."""
    rows, _ = await client().wire.query(runs.table, "RowKey ge ''")
    return [row["RowKey"] for row in rows]


class TestDeclaration:
    @pytest.mark.parametrize(
        "declared",
        [
            {"indexes": ["status"]},
            {"counters": ["status"]},
            {"sums": ["tokens"]},
            {"sums_by": ["status"]},
            {"orders": ["name"]},
            {"unique": ["name"], "spread": 2},
            {"spread": 0},
        ],
        ids=str,
    )
    def test_what_a_plain_collection_cannot_have_is_refused(self, declared: dict[str, Any]):
        with pytest.raises(ValueError, match="Plain"):
            plain(**declared)

    def test_a_counted_collection_cannot_be_spread(self):
        with pytest.raises(ValueError, match="spread"):
            collection(spread=2)

    async def test_what_needs_counters_is_a_programming_error(self, runs: Collection[Run]):
        now = datetime.now(UTC)
        for call in (runs.totals(), runs.history(now, now), runs.rebuild()):
            with pytest.raises(MissingIndex, match="programming error: Plain"):
                await call


class TestRecords:
    async def test_a_record_comes_back_as_it_was(self, runs: Collection[Run]):
        run = Run(name="é/#", tokens=2**40, seconds=0.1, archived=True, prompt="Ж", options={"a": [1]})
        stored = await runs.insert(run)
        read = await runs.get(run.id)
        assert read == run
        assert read.etag == stored.etag is not None
        assert [item async for item in runs.all()] == [run]

    async def test_one_row_is_written(self):
        runs = plain()
        await runs.insert(Run(name="n"))
        assert [key[:2] for key in await rows_of(runs)] == ["r~"]

    async def test_update_and_delete(self, runs: Collection[Run]):
        run = await runs.insert(Run(name="n", started_at=datetime.now(UTC)))

        def change(run: Run) -> None:
            run.name, run.started_at, run.tokens = None, None, 7

        new = await runs.update(run.id, change)
        assert new == await runs.get(run.id)
        assert (new.name, new.tokens, new.started_at) == (None, 7, None)
        assert new.etag == (await runs.get(run.id)).etag != run.etag
        with pytest.raises(RecordChanged):
            await runs.update(run.id, change, if_match=run.etag)
        with pytest.raises(RecordChanged):
            await runs.delete(run.id, if_match=run.etag)
        await runs.delete(run.id, if_match=new.etag)
        assert await rows_of_all(runs) == []
        for call in (runs.get(run.id), runs.delete(run.id), runs.update(run.id, change)):
            with pytest.raises(RecordNotFound):
                await call

    async def test_a_change_of_nothing_writes_nothing(self, runs: Collection[Run], counting: Counting):
        run = await runs.insert(Run())
        counting.reset()
        same = await runs.update(run.id, lambda r: r.model_copy(deep=True))
        assert (same.etag, dict(counting.calls)) == (run.etag, {"get": 1})

    async def test_a_change_may_leave_the_time_of_the_last_change(self, runs: Collection[Run]):
        run = await runs.insert(Run())
        counted = await runs.update(run.id, lambda r: setattr(r, "tokens", 1), touch=False)
        assert (counted.tokens, counted.updated_at) == (1, run.updated_at)
        assert (await runs.get(run.id)).updated_at == run.updated_at and counted.etag != run.etag
        assert (await runs.update(run.id, lambda r: setattr(r, "tokens", 2))).updated_at > run.updated_at

    async def test_a_repeated_insert_returns_the_stored_record(self, runs: Collection[Run]):
        run = Run(name="n")
        await runs.insert(run.model_copy())
        await runs.update(run.id, lambda r: setattr(r, "tokens", 3))
        assert (await runs.insert(run.model_copy())).tokens == 3
        with pytest.raises(RecordConflict):
            await runs.insert(Run(id=run.id, created_at=run.created_at + timedelta(seconds=1)))

    async def test_a_unique_value_is_taken_once_and_becomes_free(self):
        runs = plain(unique=["name"])
        run = await runs.insert(Run(name="one"))
        await runs.insert(Run())
        await runs.insert(Run())
        with pytest.raises(RecordConflict) as caught:
            await runs.insert(Run(name="one"))
        assert caught.value.field == "name"
        assert (await runs.find("name", "one")).id == run.id
        await runs.update(run.id, lambda r: setattr(r, "name", "two"))
        other = await runs.insert(Run(name="one"))
        with pytest.raises(RecordConflict):
            await runs.update(other.id, lambda r: setattr(r, "name", "two"))
        await runs.delete(run.id)
        assert (await runs.update(other.id, lambda r: setattr(r, "name", "two"))).name == "two"
        assert {key for key in await rows_of(runs) if key[0] == "u"} == {"u~name~two"}
        with pytest.raises(MissingIndex, match="tokens"):
            await runs.find("tokens", 1)

    async def test_tenants_are_apart(self, runs: Collection[Run]):
        for tenant in ("a", "a-b", "ab"):
            await runs.of(tenant).insert(Run(name="same"))
        for tenant in ("a", "a-b", "ab"):
            assert (await runs.of(tenant).page()).total == await runs.of(tenant).count() == 1

    @pytest.mark.parametrize("size", [30_001, 400_000])
    async def test_long_texts_come_back(self, size: int):
        runs = plain()
        run = await runs.insert(Run(prompt=NOISE[0][:size], options={"text": "x" * 40_000}))
        await runs.insert(Run(prompt="short"))
        await runs.update(run.id, lambda r: setattr(r, "tokens", 1))
        read = await runs.get(run.id)
        assert (read.prompt, read.options, read.tokens) == (run.prompt, run.options, 1)
        assert [r async for r in runs.all({"tokens": 1})] == [read]
        assert (await runs.page({"prompt": run.prompt})).items == [read]
        assert (await runs.page(order="prompt", limit=1)).items[0].prompt == "short"
        await runs.update(run.id, lambda r: setattr(r, "prompt", NOISE[1][:size]))
        assert (await runs.get(run.id)).prompt == NOISE[1][:size]
        await runs.delete(run.id)
        assert [name async for name, _ in client().blobs.names() if name.startswith(f"{runs.table}/")] == []

    async def test_what_cannot_be_stored_is_refused_before_anything_is_sent(self, counting: Counting):
        runs = plain()
        for run in (Run(tokens=2**63), Run().model_copy(update={"prompt": "\ud800"})):
            with pytest.raises(Unstorable):
                await runs.insert(run)
        assert not counting.calls

    async def test_writes_of_different_records_run_side_by_side(self, runs: Collection[Run]):
        await runs.insert(Run())
        wire = client().wire
        inner, together, most = wire.transport, 0, 0

        class Watching:
            async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
                nonlocal together, most
                together += 1
                most = max(most, together)
                try:
                    return await inner.send(method, url, headers, body)
                finally:
                    together -= 1

            async def close(self) -> None: ...

        wire.transport = Watching()
        try:
            await asyncio.gather(*(runs.insert(Run()) for _ in range(8)))
        finally:
            wire.transport = inner
        assert most == 8
