"""Any sequence of operations by two processes, with faults and clock jumps, has the results of a dictionary."""

import asyncio
import time
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from shared.tables import RecordConflict, RecordNotFound, StorageUnavailable, client, ids, shard
from shared.tables.client import TableSession
from tests.shared.tables.faults import Flaky, audit
from tests.support.records import Run, Status, collection


class Machine(RuleBasedStateMachine):
    """Two clients of one loop stand for two processes; both start on the same counter shard."""

    made = Bundle("made")
    skew = 0
    """Nanoseconds by which the clock is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.runs = collection()
        self.model: dict[str, Run] = {}
        self.doubtful: set[str] = set()
        Machine.skew = 0

    @initialize(seed=st.integers(0, 1000))
    def start(self, seed: int) -> None:
        self.processes = [self.loop.run_until_complete(self.process(seed + n)) for n in range(2)]

    async def process(self, seed: int) -> tuple[TableSession, Flaky]:
        process = TableSession()
        process.wire.pause = 0.001
        flaky = process.wire.transport = Flaky(process.wire.transport, seed, 0.25)
        process.committer(self.runs.table, self.runs.partition).shard.number = 0
        return process, flaky

    def do(self, process: int, work: Any) -> Any:
        """Run a coroutine as one of the processes, its faults quiet afterwards."""
        used, flaky = self.processes[process]
        client._clients[self.loop] = used

        async def whole() -> Any:
            try:
                return await work
            finally:
                await flaky.quiet()

        return self.loop.run_until_complete(whole())

    @rule(target=made, process=st.integers(0, 1), name=st.integers(0, 5), status=st.sampled_from(Status))
    def insert(self, process: int, name: int, status: Status) -> str:
        run = Run(name=f"n{name}", status=status, seconds=name / 10)
        try:
            self.model[run.id] = self.do(process, self.runs.insert(run))
        except RecordConflict:
            assert self.doubtful or any(other.name == run.name for other in self.model.values())
        except StorageUnavailable:
            self.doubtful.add(run.id)
        return run.id

    @rule(process=st.integers(0, 1), run_id=made, name=st.integers(0, 5), status=st.sampled_from(Status))
    def update(self, process: int, run_id: str, name: int, status: Status) -> None:
        def change(run: Run) -> None:
            run.name, run.status, run.tokens = f"n{name}", status, run.tokens + 1

        try:
            self.model[run_id] = self.do(process, self.runs.update(run_id, change))
        except RecordNotFound:
            assert run_id not in self.model or run_id in self.doubtful
        except RecordConflict:
            assert self.doubtful or any(other.name == f"n{name}" for other in self.model.values())
        except StorageUnavailable:
            self.doubtful.add(run_id)

    @rule(process=st.integers(0, 1), run_id=made)
    def delete(self, process: int, run_id: str) -> None:
        try:
            self.do(process, self.runs.delete(run_id))
            self.model.pop(run_id, None)
        except RecordNotFound:
            assert run_id not in self.model or run_id in self.doubtful
        except StorageUnavailable:
            self.doubtful.add(run_id)

    @rule(process=st.integers(0, 1))
    def rebuild(self, process: int) -> None:
        try:
            self.do(process, self.runs.rebuild())
        except StorageUnavailable:
            pass  # a later one continues it

    @rule(hours=st.integers(-5, 5))
    def jump(self, hours: int) -> None:
        """The clock is set forward or back by hours."""
        Machine.skew += hours * 3_600 * 10**9

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "processes"):
            return
        _, flaky = self.processes[0]
        flaky.rate, rate = 0.0, flaky.rate
        records = self.do(0, audit(self.runs))
        page = self.do(0, self.runs.page(limit=1000))
        flaky.rate = rate
        assert [run.id for run in page.items] == sorted(records, reverse=True)
        for run_id in records.keys() | self.model.keys():
            if run_id not in self.doubtful:
                assert records[run_id].model_dump() == self.model[run_id].model_dump()

    def teardown(self) -> None:
        for process, _ in getattr(self, "processes", []):
            self.loop.run_until_complete(process.close())
        client._clients.pop(self.loop, None)
        self.loop.close()


async def test_any_sequence(account: None, monkeypatch: pytest.MonkeyPatch):
    clock = time.time_ns
    monkeypatch.setattr(ids.time, "time_ns", lambda: clock() + Machine.skew)
    monkeypatch.setattr(ids, "_last", ids._last)  # ids made here in the future must not affect later tests
    monkeypatch.setattr(shard, "SHARDS", 2)
    quick = settings(max_examples=8, stateful_step_count=15, deadline=None)
    await asyncio.to_thread(run_state_machine_as_test, Machine, settings=quick)
