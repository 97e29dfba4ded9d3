"""Plain collections: one row a record, lists filtered and sorted in memory, writes that do not wait for each other."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from shared.tables import (
    BadCursor,
    Collection,
    MissingIndex,
    RecordChanged,
    RecordConflict,
    RecordNotFound,
    StorageUnavailable,
    TooManyRecords,
    Unstorable,
)
from shared.tables.batch import Operation
from shared.tables.client import client
from shared.tables.ids import new_id
from shared.tables.wire import Transport, Unanswered, WireResponse
from tests.shared.tables.conftest import Counting, Run, Status, collection
from tests.shared.tables.faults import rows_of
from tests.shared.tables.test_faults import flaky

NOISE = [random.Random(seed).randbytes(200_000).hex() for seed in range(2)]
_numbers = count()


def plain(**declared: Any) -> Collection[Run]:
    """A plain collection in a table that no other test uses."""
    return Collection(f"Plain{next(_numbers)}", Run, plain=True, **declared)


@pytest.fixture(params=[{}, {"unique": ["name"]}, {"spread": 5}], ids=["simple", "unique", "spread"])
def runs(request: pytest.FixtureRequest, account: None) -> Collection[Run]:
    return plain(**request.param)


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

    async def test_update_delete_and_what_is_not_there(self, runs: Collection[Run]):
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
    async def test_long_texts_come_back(self, runs: Collection[Run], size: int):
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

    async def test_what_cannot_be_stored_is_said_before_anything_is_sent(self, counting: Counting):
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


async def rows_of_all(runs: Collection[Run]) -> list[str]:
    """The row keys of all partitions of the table."""
    rows, _ = await client().wire.query(runs.table, "RowKey ge ''")
    return [row["RowKey"] for row in rows]


class TestLists:
    async def test_pages_follow_each_other_by_offset_and_by_cursor(self, runs: Collection[Run]):
        made = [await runs.insert(Run(tokens=n)) for n in range(7)]
        for descending, wanted in ((True, made[::-1]), (False, made)):
            first = await runs.page(limit=3, descending=descending)
            second = await runs.page(limit=3, descending=descending, cursor=first.cursor)
            third = await runs.page(limit=3, descending=descending, cursor=second.cursor)
            assert first.items + second.items + third.items == wanted
            assert (first.total, third.total, third.cursor) == (7, 7, None)
        assert (await runs.page(limit=3, offset=5)).items == [made[1], made[0]]
        assert (await runs.page(limit=3, offset=9)).items == []

    async def test_any_plain_value_filters(self, runs: Collection[Run]):
        for n in range(6):
            await runs.insert(Run(status=list(Status)[n % 3], tokens=n, name=None if n == 4 else f"n{n}"))

        async def tokens(**where: object) -> list[int]:
            page = await runs.page(where)
            assert page.total == len(page.items) == await runs.count(where)
            assert sorted([run.tokens async for run in runs.all(where)]) == sorted(run.tokens for run in page.items)
            return [run.tokens for run in page.items]

        assert await tokens(status="done") == [5, 2]
        assert await tokens(status=[Status.DONE, "pending"]) == [5, 3, 2, 0]
        assert await tokens(status="running", tokens=4) == [4]
        assert await tokens(name=None) == [4]
        assert await tokens(name=[None, "n1"], archived=False) == [4, 1]
        assert await tokens(archived=True) == []

    async def test_any_plain_values_sort(self, runs: Collection[Run]):
        names = ["b", None, "", "Ab", "abc", "C"]
        made = [(await runs.insert(Run(name=name, tokens=n % 3))).id for n, name in enumerate(names)]
        made.append((await runs.insert(Run(seconds=float("nan")))).id)

        async def sorted_by(order: Any, **options: Any) -> list[int]:
            return [made.index(run.id) for run in (await runs.page(order=order, **options)).items]

        assert await sorted_by("name") == [5, 0, 4, 3, 2, 6, 1]
        assert await sorted_by("name", descending=False) == [1, 6, 2, 3, 4, 0, 5]
        assert await sorted_by("-name", descending=False) == [5, 0, 4, 3, 2, 6, 1]
        assert await sorted_by(["tokens", "-name"]) == [0, 3, 6, 4, 1, 5, 2]
        assert await sorted_by(["-tokens", "created_at"]) == [2, 5, 1, 4, 0, 3, 6]
        assert await sorted_by(["-tokens", "-created_at"]) == [5, 2, 4, 1, 6, 3, 0]
        assert (await sorted_by("seconds"))[-1] == 6

    async def test_between_two_moments(self, runs: Collection[Run]):
        noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
        for hour in range(5):
            await runs.insert(Run(created_at=noon + timedelta(hours=hour), tokens=hour))
        found = [r.tokens async for r in runs.all(after=noon + timedelta(hours=1), before=noon + timedelta(hours=4))]
        assert sorted(found) == [1, 2, 3]

    async def test_what_is_asked_wrongly_is_refused(self, runs: Collection[Run]):
        for where, order in (({"options": {}}, "name"), ({"nothing": 1}, "name"), ({}, "options"), ({}, "nothing")):
            with pytest.raises(MissingIndex, match="programming error"):
                await runs.page(where, order=order)
        for cursor in ("x", "p-1", f"0.{'0' * 32}"):
            with pytest.raises(BadCursor):
                await runs.page(cursor=cursor)

    async def test_a_view_leaves_fields_out_of_lists(self):
        runs = plain(view=["name"])
        run = await runs.insert(Run(name="n", tokens=5, options={"a": 1}))
        (item,) = (await runs.page()).items
        assert (item.name, item.tokens, item.options) == ("n", 0, {})
        assert (await runs.get(run.id)).tokens == 5
        with pytest.raises(MissingIndex, match="list view"):
            await runs.page({"tokens": 5})

    async def test_a_list_over_its_bound_is_refused_and_a_stream_is_not(self):
        for runs in (plain(max_records=3), plain(max_records=3, spread=2)):
            for number in range(4):
                assert (await runs.page()).total == number
                await runs.insert(Run())
            with pytest.raises(TooManyRecords, match="over 3 records"):
                await runs.page()
            assert await runs.count() == len([run async for run in runs.all()]) == 4


class Losing:
    """Loses the response of the first write, which has or has not reached the service; then lets `meddle` work."""

    def __init__(self, inner: Transport, *, landed: bool, meddle: Any = None):
        self.inner, self.landed, self.meddle, self.done = inner, landed, meddle, False

    async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
        if self.done or method == "GET":
            return await self.inner.send(method, url, headers, body)
        self.done = True
        if self.landed:
            await self.inner.send(method, url, headers, body)
        if self.meddle:
            await self.meddle()
        raise Unanswered("lost")

    async def close(self) -> None: ...


@asynccontextmanager
async def losing(*, landed: bool, meddle: Any = None) -> AsyncIterator[None]:
    wire = client().wire
    inner = wire.transport
    wire.transport = Losing(inner, landed=landed, meddle=meddle)
    try:
        yield
    finally:
        wire.transport = inner


def more(run: Run) -> None:
    run.tokens += 1


def renamed(run: Run) -> None:
    run.name, run.tokens = "m", run.tokens + 1


class TestLostResponses:
    @pytest.mark.parametrize("landed", [True, False])
    async def test_each_write_happens_once(self, runs: Collection[Run], landed: bool):
        await runs.insert(Run())
        async with losing(landed=landed):
            run = await runs.insert(Run(name="n", prompt=NOISE[0]))
        assert run.etag == (await runs.get(run.id)).etag
        assert (await runs.get(run.id)).prompt == NOISE[0]
        for change in (more, renamed):
            async with losing(landed=landed):
                new = await runs.update(run.id, change)
            assert new.etag == (await runs.get(run.id)).etag
        assert (await runs.get(run.id)).tokens == 2
        async with losing(landed=landed):
            await runs.delete(run.id)
        assert await runs.count() == 1

    @pytest.mark.parametrize("landed", [True, False])
    async def test_another_writer_meanwhile_keeps_its_change(self, runs: Collection[Run], landed: bool):
        run = await runs.insert(Run())
        key = runs.columns.form.row_key(run.id) or ""

        async def meddle() -> None:  # as another process would, without this process's lock
            for _ in range(3):
                stored = await runs.read(run.id)
                new = stored.record.model_copy(update={"seconds": stored.record.seconds + 1})
                await runs.commit(stored, (new, {**runs.columns.encode(new), "RowKey": f"r~{key}"}))

        async with losing(landed=landed, meddle=meddle):
            new = await runs.update(run.id, more)
        assert (new.tokens, new.seconds) == (1, 3.0)
        assert new == await runs.get(run.id)
        assert new.etag == (await runs.get(run.id)).etag

    async def test_a_record_that_is_deleted_meanwhile_is_not_found(self, runs: Collection[Run]):
        run = await runs.insert(Run())

        async def meddle() -> None:
            await runs.commit(await runs.read(run.id), None)

        async with losing(landed=False, meddle=meddle):
            with pytest.raises(RecordNotFound):
                await runs.update(run.id, more)

    async def test_a_lost_unique_row_does_not_stop_its_record(self):
        runs = plain(unique=["name"])
        run = await runs.insert(Run(name="n"))
        unique = (await client().wire.get(runs.table, "all", "u~name~n") or ({}, ""))[1]
        await client().wire.write(runs.table, "all", Operation("DELETE", "u~name~n", etag=unique))
        await runs.delete(run.id)
        assert await rows_of(runs) == {}

    async def test_a_service_that_does_not_respond(self, monkeypatch: pytest.MonkeyPatch):
        runs = plain()
        wire = client().wire

        async def lost(*_: object) -> WireResponse:
            raise Unanswered("lost")

        monkeypatch.setattr(wire.transport, "send", lost)
        monkeypatch.setattr(wire, "pause", 0.001)
        for call in (runs.insert(Run()), runs.get(new_id()), runs.page()):
            with pytest.raises(StorageUnavailable):
                await call


@pytest.mark.parametrize("seed", range(3))
async def test_changes_by_many_writers_under_faults_are_all_counted(runs: Collection[Run], seed: int):
    made = [(await runs.insert(Run(name=f"n{n}"))).id for n in range(3)]
    done = dict.fromkeys(made, 0)

    async def work(number: int) -> None:
        for step in range(5):
            run_id = made[(number + step) % 3]
            try:
                await runs.update(run_id, more)
                done[run_id] += 1
            except StorageUnavailable:
                done[run_id] -= 1_000  # it may have happened or not

    async with flaky(seed, 0.2):
        await asyncio.gather(*(work(number) for number in range(6)))
    for run_id, times in done.items():
        assert times < 0 or (await runs.get(run_id)).tokens == times
