"""Writes that wait at the same moment join one transaction; each has its own outcome."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from shared.tables import Collection, RecordConflict, Unstorable
from shared.tables.client import TableSession
from shared.tables.counted import CountedCollection
from tests.shared.tables.faults import audit
from tests.support.records import Counting, Run, Status, collection


async def test_sixteen_writers_share_transactions_and_never_conflict(runs: CountedCollection[Run], counting: Counting):
    await runs.insert(Run())
    counting.reset()

    async def writer(number: int) -> None:
        for _ in range(10):
            await runs.insert(Run(client_id=f"c{number % 2}", tokens=number))

    await asyncio.gather(*(writer(number) for number in range(16)))
    assert counting.calls["batch"] <= 160 / 4
    assert counting.calls["get"] <= 2  # counter rows seen for the first time
    assert len(await audit(runs)) == 161


async def test_one_bad_member_is_refused_alone(runs: CountedCollection[Run], counting: Counting):
    await runs.insert(Run(name="taken"))
    counting.reset()
    names = ["a", "b", "taken", "c", "twice", "twice", "d"]
    results = await asyncio.gather(*(runs.insert(Run(name=n)) for n in names), return_exceptions=True)
    assert [isinstance(result, RecordConflict) for result in results] == [False, False, True, False, False, True, False]
    assert len(await audit(runs)) == 6


async def test_changes_of_one_record_follow_each_other(runs: CountedCollection[Run], counting: Counting):
    run = await runs.insert(Run())
    counting.reset()
    await asyncio.gather(*(runs.update(run.id, lambda r: setattr(r, "tokens", r.tokens + 1)) for _ in range(16)))
    assert (await runs.get(run.id)).tokens == 16
    assert counting.calls["batch"] == 16
    await audit(runs)


async def test_a_change_does_not_wait_for_all_new_records_nor_a_new_record_for_all_changes(
    runs: CountedCollection[Run],
):
    stored = await asyncio.gather(*(runs.insert(Run()) for _ in range(100)))
    finished: list[str] = []

    async def note(kind: str, write: Coroutine[Any, Any, Run]) -> None:
        await write
        finished.append(kind)

    def change(run: Run) -> Coroutine[Any, Any, Run]:
        return runs.update(run, lambda record: setattr(record, "status", Status.DONE))

    await asyncio.gather(*(note("new", runs.insert(Run())) for _ in range(100)), note("change", change(stored[0])))
    assert finished.index("change") < 50
    finished.clear()
    changes = [note("change", change(run)) for run in stored[1:]]
    await asyncio.gather(*changes[:50], note("new", runs.insert(Run())), *changes[50:])
    assert finished.index("new") < 90
    await audit(runs)


async def test_mixed_work_of_sixteen_writers_on_eight_records():
    runs = collection()
    made = [(await runs.insert(Run(name=f"n{n}"))).id for n in range(8)]

    async def writer(number: int) -> None:
        for step in range(10):
            if (number + step) % 3:
                status = list(Status)[(number + step) % 3]
                await runs.update(made[step % 8], lambda r, s=status: setattr(r, "status", s))
            else:
                await runs.insert(Run(seconds=0.1, status=Status.RUNNING))

    await asyncio.gather(*(writer(number) for number in range(16)))
    records = await audit(runs)
    totals = await runs.totals()
    assert totals.sum("seconds") == pytest.approx(0.1 * (len(records) - 8), abs=1e-12)


async def test_a_batch_stays_below_the_limits_of_a_transaction(runs: CountedCollection[Run], counting: Counting):
    import random

    noise = [random.Random(n).randbytes(170_000).hex() for n in range(30)]  # packs to about 190 KB each
    await asyncio.gather(*(runs.insert(Run(prompt=text)) for text in noise))
    assert len(await audit(runs)) == 30
    await asyncio.gather(*(runs.insert(Run()) for _ in range(100)))
    assert (await runs.totals()).count == 130


async def test_an_unstorable_record_is_refused_before_anything_is_sent(
    runs: CountedCollection[Run], counting: Counting
):
    with pytest.raises(Unstorable) as caught:
        await runs.insert(Run(tokens=2**63))
    assert caught.value.field == "tokens"
    with pytest.raises(Unstorable) as caught:
        await runs.insert(Run().model_copy(update={"prompt": "\ud800"}))
    assert caught.value.field == "prompt"
    assert not counting.calls["batch"]


class TestDeclaration:
    def test_too_many_fields_are_refused(self):
        from pydantic import create_model

        from shared.tables import Record

        fields = {f"f{n}": (str, "") for n in range(260)}
        with pytest.raises(ValueError, match="262 fields"):
            Collection("Wide", create_model("Wide", __base__=Record, **fields))  # type: ignore[call-overload]

    def test_unknown_and_structured_fields_are_refused(self):
        with pytest.raises(ValueError, match="nothing"):
            collection(indexes=["nothing"])
        with pytest.raises(ValueError, match="options"):
            collection(counters=["options"])

    @pytest.mark.parametrize("name", ["ab", "1abc", "a-b-c", "a" * 64])
    def test_a_name_that_a_table_cannot_have_is_refused(self, name: str):
        with pytest.raises(ValueError, match="table name"):
            Collection(name, Run)

    def test_too_many_rows_of_one_write_are_refused(self):
        with pytest.raises(ValueError, match="transaction"):
            collection(indexes=["status"] * 60)


async def test_the_writers_of_the_last_2000_partitions_are_kept(account: None):
    session = TableSession()
    first = session.committer("Kept", "0")
    for number in range(1_999):
        session.committer("Kept", str(number))
    assert session.committer("Kept", "0") is first
    for number in range(2_001):
        session.committer("Kept", f"other{number}")
    assert session.committer("Kept", "0") is not first
    await session.close()
