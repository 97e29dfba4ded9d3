"""Any sequence of operations on a plain collection by two processes, with faults, has the results of a dictionary."""

import asyncio
from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from shared.tables import Collection, RecordConflict, RecordNotFound, StorageUnavailable, client
from shared.tables.client import TableSession
from tests.shared.tables.faults import Flaky, rows_of
from tests.support.records import Run, Status

_numbers = count()


class Machine(RuleBasedStateMachine):
    """Two sessions of one loop stand for two processes."""

    made = Bundle("made")
    declared: dict[str, Any] = {}

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.runs = Collection(f"PlainMachine{next(_numbers)}", Run, plain=True, **self.declared)
        self.unique = bool(self.declared.get("unique"))
        self.model: dict[str, Run] = {}
        self.doubtful: set[str] = set()

    @initialize(seed=st.integers(0, 1000))
    def start(self, seed: int) -> None:
        self.processes = [self.loop.run_until_complete(self.process(seed + n)) for n in range(2)]

    async def process(self, seed: int) -> tuple[TableSession, Flaky]:
        process = TableSession()
        process.wire.pause = 0.001
        flaky = process.wire.transport = Flaky(process.wire.transport, seed, 0.25)
        return process, flaky

    def do(self, process: int, *work: Any) -> list[Any]:
        """Run coroutines side by side as one of the processes, its faults quiet afterwards."""
        used, flaky = self.processes[process]
        client._clients[self.loop] = used

        async def whole() -> list[Any]:
            done = await asyncio.gather(*work, return_exceptions=True)
            await flaky.quiet()
            return done

        return self.loop.run_until_complete(whole())

    def one(self, process: int, work: Any) -> Any:
        (done,) = self.do(process, work)
        if isinstance(done, BaseException):
            raise done
        return done

    def taken(self, name: str, run_id: str) -> bool:
        others = (run for own, run in self.model.items() if own != run_id)
        return self.unique and (bool(self.doubtful) or any(other.name == name for other in others))

    @rule(target=made, process=st.integers(0, 1), name=st.integers(0, 4), status=st.sampled_from(Status))
    def insert(self, process: int, name: int, status: Status) -> str:
        run = Run(name=f"n{name}", status=status, seconds=name / 10)
        try:
            self.model[run.id] = self.one(process, self.runs.insert(run))
        except RecordConflict:
            assert self.taken(f"n{name}", run.id)
        except StorageUnavailable:
            self.doubtful.add(run.id)
        return run.id

    @rule(process=st.integers(0, 1), run_id=made, name=st.integers(0, 4), status=st.sampled_from(Status))
    def update(self, process: int, run_id: str, name: int, status: Status) -> None:
        def change(run: Run) -> None:
            run.name, run.status, run.tokens = f"n{name}", status, run.tokens + 1

        try:
            self.model[run_id] = self.one(process, self.runs.update(run_id, change))
        except RecordNotFound:
            assert run_id not in self.model or run_id in self.doubtful
        except RecordConflict:
            assert self.taken(f"n{name}", run_id)
        except StorageUnavailable:
            self.doubtful.add(run_id)

    @rule(run_id=made, times=st.integers(1, 3))
    def race(self, run_id: str, times: int) -> None:
        """Both processes count in the same record at the same time."""

        def change(run: Run) -> None:
            run.tokens += 1

        async def by(process: TableSession) -> Any:
            # The lock is taken in the session that is current now: the processes do not wait for each other.
            client._clients[self.loop] = process
            return await self.runs.update(run_id, change)

        done = self.do(0, *(by(process) for process, _ in self.processes for _ in range(times)))
        self.loop.run_until_complete(self.processes[1][1].quiet())
        if any(isinstance(result, StorageUnavailable) for result in done):
            self.doubtful.add(run_id)
        elif run_id in self.model and run_id not in self.doubtful:
            assert not [result for result in done if isinstance(result, BaseException)]
            last = max(done, key=lambda run: run.tokens)
            assert last.tokens == self.model[run_id].tokens + 2 * times
            self.model[run_id] = last

    @rule(process=st.integers(0, 1), run_id=made)
    def delete(self, process: int, run_id: str) -> None:
        try:
            self.one(process, self.runs.delete(run_id))
            self.model.pop(run_id, None)
        except RecordNotFound:
            assert run_id not in self.model or run_id in self.doubtful
        except StorageUnavailable:
            self.doubtful.add(run_id)

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "processes"):
            return
        _, flaky = self.processes[0]
        flaky.rate, rate = 0.0, flaky.rate
        page = self.one(0, self.runs.page(limit=1000, order=["name", "-created_at"]))
        total = self.one(0, self.runs.count())
        rows = self.one(0, rows_of(self.runs))
        flaky.rate = rate
        records = {run.id: run for run in page.items}
        assert page.total == total == len(records)
        assert page.items == sorted(sorted(page.items, key=lambda r: r.id, reverse=True), key=lambda r: r.name or "")
        if self.unique:
            assert {key for key in rows if key[0] == "u"} == {f"u~name~{run.name}" for run in records.values()}
        for run_id in records.keys() | self.model.keys():
            if run_id not in self.doubtful:
                assert records[run_id].model_dump() == self.model[run_id].model_dump()

    def teardown(self) -> None:
        for process, _ in getattr(self, "processes", []):
            self.loop.run_until_complete(process.close())
        client._clients.pop(self.loop, None)
        self.loop.close()


@pytest.mark.parametrize("declared", [{}, {"unique": ["name"]}, {"spread": 3}], ids=["simple", "unique", "spread"])
async def test_any_sequence(account: None, monkeypatch: pytest.MonkeyPatch, declared: dict[str, Any]):
    monkeypatch.setattr(Machine, "declared", declared)
    quick = settings(max_examples=2, stateful_step_count=10, deadline=None)
    await asyncio.to_thread(run_state_machine_as_test, Machine, settings=quick)
