"""Lists of plain collections are filtered and sorted in memory, by any field."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.tables import (
    BadCursor,
    Collection,
    MissingIndex,
    TooManyRecords,
)
from tests.support.records import Run, Status, plain


@pytest.fixture
def runs(plain_runs: Collection[Run]) -> Collection[Run]:
    return plain_runs


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
