"""One call for "this one, or a new one", and one that deletes all that match."""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from shared import tables
from shared.tables import Collection, MissingIndex, RecordConflict, RecordNotFound, StorageUnavailable, client, shard
from shared.tables.batch import Operation
from shared.tables.client import TableSession
from shared.tables.client import client as session
from shared.tables.counted import CountedCollection
from shared.tables.wire import WireResponse
from tests.shared.tables.faults import Flaky, Once, audit, losing, rows_of
from tests.support.records import Counting, Run, Status, collection, plain

BLOB = random.Random(1).randbytes(200_000).hex()


def more(run: Run) -> None:
    run.tokens += 1


@pytest.fixture(params=["counted", "plain"])
def runs(request: pytest.FixtureRequest, account: None) -> Collection[Run]:
    return collection() if request.param == "counted" else plain(unique=["name"])


async def checked(runs: Collection[Run]) -> list[Run]:
    """All records, once counters, index rows and unique rows agree with them."""
    if isinstance(runs, CountedCollection):
        await audit(runs)
    every = [run async for run in runs.all()]
    rows = await rows_of(runs)
    if runs.schema.unique:
        assert {key for key in rows if key[0] == "u"} == {f"u~name~{run.name}" for run in every if run.name}
    return every


class TestPut:
    async def test_it_inserts_once_and_changes_afterwards(self, runs: Collection[Run], counting: Counting):
        await runs.insert(Run())
        for turn, calls in ((1, 2), (2, 3), (3, 3)):
            counting.reset()
            run = await runs.put("name", "n", more, lambda: Run(name="n"))
            assert counting.calls.total() == calls and counting.calls["get"] <= 2
            assert (run.tokens, run.etag) == (turn, (await runs.get(run.id)).etag)
        assert len(await checked(runs)) == 2

    async def test_a_change_may_return_another_record(self, runs: Collection[Run]):
        for seconds in (1.0, 2.0):
            run = await runs.put("name", "n", lambda r: r.model_copy(update={"seconds": r.seconds + 1}), named("n"))
            assert run.seconds == seconds

    async def test_changes_by_many_writers_are_all_kept(self, runs: Collection[Run]):
        loop, own = asyncio.get_running_loop(), session()
        processes = [TableSession() for _ in range(3)]

        async def by(process: TableSession) -> None:
            client._clients[loop] = process  # the locks are those of this process
            await runs.put("name", "n", more, named("n"))

        await asyncio.gather(*(by(process) for process in processes * 4))
        client._clients[loop] = own
        for process in processes:
            await process.close()
        (run,) = await checked(runs)
        assert run.tokens == 12

    @pytest.mark.parametrize("landed", [True, False])
    async def test_a_lost_response_changes_nothing(self, runs: Collection[Run], landed: bool):
        await runs.insert(Run())
        for turn in (1, 2):
            async with losing(landed=landed):
                run = await runs.put("name", "n", more, named("n"))
            assert run.tokens == turn
        assert len(await checked(runs)) == 2

    async def test_a_record_that_goes_meanwhile_is_made_again(self, runs: Collection[Run]):
        async def rename(run_id: str) -> None:
            await runs.update(run_id, lambda r: setattr(r, "name", "m"))

        for meddle in (runs.delete, rename):
            run = await runs.put("name", "n", more, named("n"))
            wire = session().wire
            inner = wire.transport
            wire.transport = Meddling(inner, partial(meddle, run.id))
            try:
                new = await runs.put("name", "n", more, named("n"))
            finally:
                wire.transport = inner
            assert (new.tokens, new.name) == (1, "n") and new.id != run.id
            await runs.clear()

    async def test_what_is_asked_wrongly_is_refused(self, runs: Collection[Run]):
        for field, value in (("tokens", 1), ("name", None)):
            with pytest.raises(MissingIndex, match="no unique"):
                await runs.put(field, value, more, Run)
        with pytest.raises(ValueError, match="another name"):
            await runs.put("name", "n", more, Run)
        await runs.put("name", "n", more, named("n"))

        def missing(_: Run) -> None:
            raise RecordNotFound("Other", "x")

        with pytest.raises(RecordNotFound, match="Other has no record x"):
            await runs.put("name", "n", missing, named("n"))
        await runs.insert(Run(name="taken"))
        with pytest.raises(RecordConflict, match="name is taken"):
            await runs.put("name", "n", lambda r: setattr(r, "name", "taken"), named("n"))


def named(name: str) -> Callable[[], Run]:
    return lambda: Run(name=name)


class Meddling(Once):
    """Lets something else happen behind the first read."""

    def __init__(self, inner: Any, meddle: Callable[[], Any]):
        super().__init__(inner, landed=True)
        self.meddle = meddle

    async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
        answer = await self.inner.send(method, url, headers, body)
        if not self.done:
            self.done, wire = True, session().wire
            wire.transport = self.inner
            await self.meddle()
        return answer


class TestClear:
    async def test_it_deletes_what_matches(self, runs: Collection[Run]):
        await asyncio.gather(*(runs.insert(Run(status=list(Status)[n % 3], name=f"n{n}")) for n in range(12)))
        assert await runs.clear({"status": ["done", "running"]}) == 8
        assert {run.status for run in await checked(runs)} == {Status.PENDING}
        assert await runs.clear({"status": "done"}) == 0
        assert await runs.clear() == 4
        assert await checked(runs) == []

    async def test_blobs_go_with_their_records(self, runs: Collection[Run]):
        await runs.insert(Run(prompt=BLOB))
        assert await runs.clear() == 1
        assert [name async for name, _ in session().blobs.names() if name.startswith(f"{runs.table}/")] == []

    async def test_transactions_are_filled(self, counting: Counting):
        for runs, together in ((plain(), 100), (plain(unique=["name"]), 50), (collection(indexes=["status"]), 20)):
            await asyncio.gather(*(runs.insert(Run(name=f"n{n}")) for n in range(100)))
            counting.reset()
            assert await runs.clear() == 100
            assert (counting.calls["query"], counting.calls["get"]) == (1, 100)
            assert counting.calls["batch"] <= 100 / together + 1
            assert await rows_of(runs) == {} or isinstance(runs, CountedCollection)

    async def test_spread_records_go_too(self, account: None):
        runs = plain(spread=4)
        await asyncio.gather(*(runs.insert(Run(tokens=n % 2)) for n in range(20)))
        assert await runs.clear({"tokens": 1}) == await runs.count() == 10

    async def test_a_tenant_clears_its_own_records(self, runs: Collection[Run]):
        await runs.of("ann").insert(Run())
        await runs.of("bob").insert(Run())
        assert await runs.of("ann").clear() == await runs.of("bob").count() == 1

    @pytest.mark.parametrize("landed", [True, False])
    async def test_a_lost_response_loses_no_count(self, runs: Collection[Run], landed: bool):
        await asyncio.gather(*(runs.insert(Run(name=f"n{n}")) for n in range(5)))
        async with losing(landed=landed):
            assert await runs.clear() == 5
        assert await checked(runs) == []

    async def test_what_changes_meanwhile_is_read_again(self, runs: Collection[Run], monkeypatch: pytest.MonkeyPatch):
        made = [await runs.insert(Run(name=f"n{n}")) for n in range(5)]
        inner, wire = runs.remove, session().wire

        async def remove(stored: Any) -> list[bool]:
            monkeypatch.setattr(runs, "remove", inner)
            await runs.update(made[0].id, lambda r: setattr(r, "status", Status.DONE))
            await runs.update(made[1].id, more)
            await runs.delete(made[2].id)
            key = f"u~name~{made[3].name}"  # a row that is lost
            unique = (await wire.get(runs.table, "all", key) or ({}, ""))[1]
            await wire.write(runs.table, "all", Operation("DELETE", key, etag=unique))
            return await inner(stored)

        monkeypatch.setattr(runs, "remove", remove)
        assert await runs.clear({"status": "pending"}) == 3
        assert [run.id for run in await checked(runs)] == [made[0].id]

    async def test_one_that_is_killed_is_continued(self, runs: Collection[Run]):
        await asyncio.gather(*(runs.insert(Run(name=f"n{n}", status=list(Status)[n % 2])) for n in range(130)))
        wire, sent = session().wire, 0
        inner = wire.transport

        class Killed(Once):
            async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
                nonlocal sent
                sent += url.endswith("$batch")
                if sent == 2:
                    raise asyncio.CancelledError
                return await inner.send(method, url, headers, body)

        wire.transport = Killed(inner, landed=False)
        try:
            with pytest.raises((asyncio.CancelledError, StorageUnavailable)):
                await runs.clear({"status": "pending"})
        finally:
            wire.transport = inner
        await tables.close()
        left = len([run for run in await checked(runs) if run.status is Status.PENDING])
        assert 0 < left < 65
        assert await runs.clear({"status": "pending"}) == left
        assert {run.status for run in await checked(runs)} == {Status.RUNNING}


class Machine(RuleBasedStateMachine):
    """Two processes under faults: counters, index rows and records agree after every step, ranges with a dictionary."""

    plain = False

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.runs = plain(unique=["name"]) if self.plain else collection(orders=["tokens"], indexes=["status", "name"])
        self.model: dict[str, int] = {}
        self.doubtful = False

    @initialize(seed=st.integers(0, 1000))
    def start(self, seed: int) -> None:
        self.processes = [self.loop.run_until_complete(self.process(seed + n)) for n in range(2)]

    async def process(self, seed: int) -> tuple[TableSession, Flaky]:
        process = TableSession()
        process.wire.pause = 0.001
        flaky = process.wire.transport = Flaky(process.wire.transport, seed, 0.2)
        return process, flaky

    def do(self, process: int, work: Any) -> Any:
        used, flaky = self.processes[process]
        client._clients[self.loop] = used

        async def whole() -> Any:
            try:
                return await work
            finally:
                await flaky.quiet()

        return self.loop.run_until_complete(whole())

    @rule(process=st.integers(0, 1), name=st.integers(0, 5), tokens=st.integers(1, 4))
    def put(self, process: int, name: int, tokens: int) -> None:
        def change(run: Run) -> None:
            run.tokens += tokens

        try:
            run = self.do(process, self.runs.put("name", f"n{name}", change, named(f"n{name}")))
        except StorageUnavailable:
            self.doubtful = True
            return
        self.model[f"n{name}"] = self.model.get(f"n{name}", 0) + tokens
        assert self.doubtful or run.tokens == self.model[f"n{name}"]

    @rule(names=st.lists(st.integers(0, 5), min_size=2, max_size=6))
    def race(self, names: list[int]) -> None:
        """Both processes put at the same time."""

        async def by(number: int, name: int) -> None:
            client._clients[self.loop] = self.processes[number % 2][0]
            await self.runs.put("name", f"n{name}", more, named(f"n{name}"))

        async def whole() -> list[Any]:
            work = (by(number, name) for number, name in enumerate(names))
            return await asyncio.gather(*work, return_exceptions=True)

        done = self.do(0, whole())
        self.loop.run_until_complete(self.processes[1][1].quiet())
        self.doubtful |= any(isinstance(result, StorageUnavailable) for result in done)
        assert self.doubtful or done == [None] * len(names)
        for name in names:
            self.model[f"n{name}"] = self.model.get(f"n{name}", 0) + 1

    @rule(process=st.integers(0, 1), names=st.lists(st.integers(0, 5), max_size=3))
    def clear(self, process: int, names: list[int]) -> None:
        where = {"name": [f"n{name}" for name in names]} if names else None
        gone = {f"n{name}" for name in names} if where else {*self.model}
        try:
            removed = self.do(process, self.runs.clear(where))
        except StorageUnavailable:
            self.doubtful = True
            return
        assert self.doubtful or removed == len(gone & self.model.keys())
        self.model = {name: tokens for name, tokens in self.model.items() if name not in gone}

    @rule(low=st.integers(-1, 9) | st.none(), high=st.integers(0, 12) | st.none(), descending=st.booleans())
    def range_(self, low: int | None, high: int | None, descending: bool) -> None:
        runs = self.runs
        page = self.do(0, runs.page(order="tokens", between=(low, high), descending=descending, limit=100))
        found = [run.tokens for run in page.items]
        assert found == sorted(found, reverse=descending) and page.total == len(found)
        if not self.doubtful:
            inside = (t for t in self.model.values() if (low is None or low <= t) and (high is None or t < high))
            assert sorted(found) == sorted(inside)

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "processes"):
            return
        _, flaky = self.processes[0]
        flaky.rate, rate = 0.0, flaky.rate
        records = self.do(0, checked(self.runs))
        flaky.rate = rate
        assert self.doubtful or {run.name: run.tokens for run in records} == self.model

    def teardown(self) -> None:
        for process, _ in getattr(self, "processes", []):
            self.loop.run_until_complete(process.close())
        client._clients.pop(self.loop, None)
        self.loop.close()


@pytest.mark.parametrize("kind", ["counted", "plain"])
async def test_any_sequence(account: None, monkeypatch: pytest.MonkeyPatch, kind: str):
    monkeypatch.setattr(shard, "SHARDS", 2)
    monkeypatch.setattr(Machine, "plain", kind == "plain")
    quick = settings(max_examples=2, stateful_step_count=10, deadline=None)
    await asyncio.to_thread(run_state_machine_as_test, Machine, settings=quick)
