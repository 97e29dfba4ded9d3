"""A write of a plain record happens once, whatever is lost on the way and whoever else writes."""

import asyncio
import random

import pytest

from shared.tables import (
    Collection,
    RecordNotFound,
    StorageUnavailable,
)
from shared.tables.batch import Operation
from shared.tables.client import client
from shared.tables.ids import new_id
from shared.tables.wire import Unanswered, WireResponse
from tests.shared.tables.faults import flaky, losing, rows_of
from tests.support.records import Run, plain

NOISE = random.Random(1).randbytes(200_000).hex()


@pytest.fixture
def runs(plain_runs: Collection[Run]) -> Collection[Run]:
    return plain_runs


def more(run: Run) -> None:
    run.tokens += 1


def renamed(run: Run) -> None:
    run.name, run.tokens = "m", run.tokens + 1


class TestLostResponses:
    @pytest.mark.parametrize("landed", [True, False])
    async def test_each_write_happens_once(self, runs: Collection[Run], landed: bool):
        await runs.insert(Run())
        text = NOISE if landed else ""  # its blob must not be discarded
        async with losing(landed=landed):
            run = await runs.insert(Run(name="n", prompt=text))
        assert run.etag == (await runs.get(run.id)).etag
        assert (await runs.get(run.id)).prompt == text
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


async def test_changes_by_many_writers_under_faults_are_all_counted(runs: Collection[Run]):
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

    async with flaky(1, 0.2):
        await asyncio.gather(*(work(number) for number in range(6)))
    for run_id, times in done.items():
        assert times < 0 or (await runs.get(run_id)).tokens == times
