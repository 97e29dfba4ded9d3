"""Collections: what is written is what is read, listed and counted."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import Field

from shared.tables import (
    BadCursor,
    Collection,
    MissingIndex,
    Record,
    RecordChanged,
    RecordConflict,
    RecordNotFound,
    TooDeep,
    reading,
)
from shared.tables.columns import Columns
from shared.tables.ids import new_id, row_key, time_of
from tests.support.records import Run, Status, collection


def ids(records: list[Run]) -> list[str]:
    return [record.id for record in records]


class TestGet:
    async def test_a_record_comes_back_as_it_was(self, runs: Collection[Run]):
        run = Run(
            name="a/b #1? 'é' ~",
            tokens=2**40,
            seconds=0.1,
            archived=True,
            started_at=datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
            prompt="Ж" * 100,
            options={"a": [1, None, {"b": "c"}]},
        )
        stored = await runs.insert(run)
        read = await runs.get(run.id)
        assert read == run
        assert read.etag == stored.etag is not None
        assert isinstance(read.status, Status)
        assert "etag" not in read.model_dump_json()

    async def test_an_unknown_id_is_not_found(self, runs: Collection[Run]):
        with pytest.raises(RecordNotFound):
            await runs.get(new_id())

    async def test_a_text_that_is_not_an_id_is_not_found_without_a_call(self, runs: Collection[Run], counting):
        for text in ("", "x", "../..", "0" * 36, "') or true", new_id() + " "):
            with pytest.raises(RecordNotFound):
                await runs.get(text)
        assert not counting.calls

    async def test_a_tenant_sees_its_own_records_alone(self, runs: Collection[Run]):
        mine, other = runs.of("ann@example.org"), runs.of("bob/ü")
        run = await mine.insert(Run(name="same"))
        await other.insert(Run(name="same"))
        with pytest.raises(RecordNotFound):
            await other.get(run.id)
        assert (await mine.page()).total == 1
        assert (await runs.page()).total == 0


class TestInsert:
    async def test_a_unique_value_is_taken_once(self, runs: Collection[Run]):
        await runs.insert(Run(name="one"))
        with pytest.raises(RecordConflict) as caught:
            await runs.insert(Run(name="one"))
        assert caught.value.field == "name"
        assert (await runs.totals()).count == 1

    async def test_none_is_not_unique(self, runs: Collection[Run]):
        await runs.insert(Run())
        await runs.insert(Run())
        assert (await runs.totals()).count == 2

    async def test_a_repeated_insert_returns_the_stored_record(self, runs: Collection[Run]):
        run = Run(name="n")
        await runs.insert(run.model_copy())
        await runs.update(run.id, lambda r: setattr(r, "status", Status.DONE))
        again = await runs.insert(run.model_copy())
        assert again.status is Status.DONE
        assert (await runs.totals()).count == 1

    async def test_another_record_of_the_same_id_is_refused(self, runs: Collection[Run]):
        run = await runs.insert(Run())
        with pytest.raises(RecordConflict) as caught:
            await runs.insert(Run(id=run.id, created_at=run.created_at + timedelta(seconds=1)))
        assert caught.value.field == "id"


class TestUpdate:
    async def test_it_moves_index_rows_and_counters(self, runs: Collection[Run]):
        run = await runs.insert(Run(tokens=1, seconds=0.5))

        def change(run: Run) -> None:
            run.status, run.client_id, run.tokens, run.seconds = Status.RUNNING, "c2", 10, 0.1

        new = await runs.update(run.id, change)
        assert new == await runs.get(run.id)
        assert new.updated_at >= run.updated_at
        assert new.etag == (await runs.get(run.id)).etag != run.etag
        for where, total in (
            ({"status": "pending"}, 0),
            ({"status": "running"}, 1),
            ({"client_id": "c1"}, 0),
            ({"client_id": "c2"}, 1),
            ({"client_id": "c2", "status": "running"}, 1),
            ({"client_id": "c2", "status": "pending"}, 0),
        ):
            page = await runs.page(where)
            assert (page.total, len(page.items)) == (total, total), where
        totals = await runs.totals()
        assert totals.by("status") == {Status.RUNNING: 1}
        assert totals.by("client_id") == {"c2": 1}
        assert totals.by("client_id", "status") == {("c2", Status.RUNNING): 1}
        assert (totals.sum("tokens"), totals.sum("seconds")) == (10, 0.1)
        assert (totals.sum("tokens", client_id="c2"), totals.sum("tokens", client_id="c1")) == (10, 0)

    async def test_amounts_are_counts_and_sums_of_each_combination_of_values(self):
        runs = collection(counters=["archived"], sums_by=["status", ("client_id", "status")])
        for client, status, tokens in (("a/b", "done", 3), ("a/b", "done", 4), ("a/b", "pending", 0), ("c", "done", 5)):
            await runs.insert(Run(client_id=client, status=Status(status), tokens=tokens, seconds=0.5))
        totals = await runs.totals()
        assert totals.amounts("client_id", "status") == {
            ("a/b", Status.DONE): {"n": 2, "tokens": 7, "seconds": 1.0},
            ("a/b", Status.PENDING): {"n": 1, "seconds": 0.5},
            ("c", Status.DONE): {"n": 1, "tokens": 5, "seconds": 0.5},
        }
        assert totals.amounts("status")[Status.DONE,] == {"n": 3, "tokens": 12, "seconds": 1.5}
        assert totals.amounts("archived") == {(False,): {"n": 4}}
        assert totals.by("status") == {Status.DONE: 3, Status.PENDING: 1}

    async def test_a_change_that_raises_writes_nothing(self, runs: Collection[Run]):
        run = await runs.insert(Run())

        def change(run: Run) -> None:
            run.status = Status.DONE
            raise RuntimeError("no")

        with pytest.raises(RuntimeError):
            await runs.update(run.id, change)
        assert await runs.get(run.id) == run

    async def test_a_change_of_nothing_writes_nothing(self, runs: Collection[Run], counting):
        run = await runs.insert(Run(seconds=1.0, options={"a": 1}))
        counting.reset()
        same = await runs.update(run.id, lambda r: r.model_copy(deep=True))
        assert (same.etag, same.updated_at) == (run.etag, run.updated_at)
        assert counting.calls == {"get": 1}

    async def test_a_value_can_be_taken_away(self, runs: Collection[Run]):
        run = await runs.insert(Run(name="n", started_at=datetime.now(UTC)))

        def change(run: Run) -> None:
            run.name = run.started_at = None

        await runs.update(run.id, change)
        read = await runs.get(run.id)
        assert (read.name, read.started_at) == (None, None)
        await runs.insert(Run(name="n"))

    async def test_only_the_version_that_was_named_changes(self, runs: Collection[Run]):
        run = await runs.insert(Run())
        await runs.update(run.id, lambda r: setattr(r, "tokens", 1), if_match=run.etag)
        with pytest.raises(RecordChanged):
            await runs.update(run.id, lambda r: setattr(r, "tokens", 2), if_match=run.etag)
        with pytest.raises(RecordChanged):
            await runs.delete(run.id, if_match=run.etag)
        assert (await runs.get(run.id)).tokens == 1

    async def test_a_unique_value_of_another_is_refused(self, runs: Collection[Run]):
        await runs.insert(Run(name="a"))
        run = await runs.insert(Run(name="b"))
        with pytest.raises(RecordConflict):
            await runs.update(run.id, lambda r: setattr(r, "name", "a"))
        await runs.update(run.id, lambda r: setattr(r, "name", "c"))
        assert (await runs.find("name", "c")).id == run.id
        with pytest.raises(RecordNotFound):
            await runs.find("name", "b")


class TestDelete:
    async def test_nothing_is_left(self, runs: Collection[Run]):
        run = await runs.insert(Run(name="n", tokens=5))
        await runs.delete(run.id)
        with pytest.raises(RecordNotFound):
            await runs.get(run.id)
        with pytest.raises(RecordNotFound):
            await runs.find("name", "n")
        with pytest.raises(RecordNotFound):
            await runs.delete(run.id)
        page, totals = await runs.page(), await runs.totals()
        assert (page.items, page.total, totals.count, totals.sum("tokens")) == ([], 0, 0, 0)
        assert totals.by("client_id") == {}


class TestLongTexts:
    @pytest.mark.parametrize("size", [29_999, 30_001, 400_000, 1_500_000])
    async def test_texts_of_any_length_come_back(self, runs: Collection[Run], size: int):
        import random

        text = "".join(random.Random(size).choices("abcdefgh \nЖ😀", k=size))
        run = await runs.insert(Run(prompt=text, options={"text": text}))
        assert (await runs.get(run.id)) == run
        await runs.update(run.id, lambda r: setattr(r, "tokens", 1))
        read = await runs.get(run.id)
        assert (read.prompt == text, read.options == {"text": text}, read.tokens) == (True, True, 1)
        await runs.update(run.id, lambda r: setattr(r, "prompt", "short"))
        assert (await runs.get(run.id)).prompt == "short"
        await runs.delete(run.id)


class TestPage:
    async def test_newest_first_by_offset_and_by_cursor(self):
        runs = collection()
        made = [await runs.insert(Run(tokens=i)) for i in range(7)]
        newest = [run.id for run in reversed(made)]
        first = await runs.page(limit=3)
        assert ([r.id for r in first.items], first.total) == (newest[:3], 7)
        second = await runs.page(limit=3, cursor=first.cursor)
        third = await runs.page(limit=3, cursor=second.cursor)
        assert [r.id for r in second.items + third.items] == newest[3:]
        assert (third.cursor, third.total) == (None, 7)
        assert [r.id for r in (await runs.page(limit=3, offset=5)).items] == newest[5:]
        assert [r.tokens for r in (await runs.page(limit=2)).items] == [6, 5]

    async def test_oldest_first(self):
        runs = collection()
        made = [(await runs.insert(Run())).id for _ in range(5)]
        page = await runs.page(limit=2, descending=False)
        assert [r.id for r in page.items] == made[:2]
        page = await runs.page(limit=2, descending=False, cursor=page.cursor)
        assert [r.id for r in page.items] == made[2:4]
        page = await runs.page(limit=2, descending=False, cursor=page.cursor)
        assert ([r.id for r in page.items], page.cursor) == (made[4:], None)

    async def test_several_values_merge(self):
        runs = collection()
        made = [(await runs.insert(Run(status=list(Status)[i % 3]))).id for i in range(9)]
        page = await runs.page({"status": ["pending", "done"]}, limit=4)
        wanted = [made[i] for i in range(8, -1, -1) if i % 3 != 1]
        assert ([r.id for r in page.items], page.total) == (wanted[:4], 6)
        page = await runs.page({"status": ["pending", "done"]}, limit=4, cursor=page.cursor)
        assert ([r.id for r in page.items], page.cursor) == (wanted[4:], None)

    async def test_ordered_by_last_update(self):
        runs = collection()
        made = [(await runs.insert(Run(client_id=f"c{i % 2}"))).id for i in range(4)]
        await runs.update(made[1], lambda r: setattr(r, "tokens", 1))
        wanted = [made[1], made[3], made[2], made[0]]
        assert [r.id for r in (await runs.page(order="updated_at")).items] == wanted
        assert [r.id for r in (await runs.page(order="updated_at", descending=False)).items] == wanted[::-1]
        filtered = await runs.page({"client_id": "c1"}, order="updated_at")
        assert ([r.id for r in filtered.items], filtered.total) == ([made[1], made[3]], 2)

    async def test_ordered_by_a_text(self):
        runs = collection(orders=["name"], unique=[])
        for name in ("b", None, "", "ab", "abc", "C"):
            await runs.insert(Run(name=name))
        page = await runs.page(order="name", limit=4)
        rest = await runs.page(order="name", cursor=page.cursor)
        assert [r.name for r in page.items + rest.items] == ["C", "b", "abc", "ab", "", None]

    async def test_ordered_by_a_field_of_known_values(self):
        runs = collection()
        made = [(await runs.insert(Run(status=list(Status)[i % 3], client_id=f"c{i // 3}"))).id for i in range(6)]
        page = await runs.page(order="status", limit=4)
        wanted = [made[i] for i in (4, 1, 3, 0, 5, 2)]  # running, pending, done
        assert [r.id for r in page.items] == wanted[:4]
        page = await runs.page(order="status", limit=4, cursor=page.cursor)
        assert ([r.id for r in page.items], page.cursor) == (wanted[4:], None)
        assert [r.id for r in (await runs.page(order="status", offset=3)).items] == wanted[3:]
        assert [r.id for r in (await runs.page(order="status", descending=False)).items] == wanted[::-1]
        page = await runs.page({"client_id": "c1"}, order="status")
        assert [r.id for r in page.items] == [made[4], made[3], made[5]]

    async def test_a_filter_without_an_index_is_an_error(self, runs: Collection[Run]):
        with pytest.raises(MissingIndex, match="tokens"):
            await runs.page({"tokens": 1})
        with pytest.raises(MissingIndex, match="seconds"):
            await runs.page(order="seconds")
        with pytest.raises(BadCursor, match="cursor"):
            await runs.page(cursor="' or true")

    async def test_a_cursor_of_the_other_direction_is_refused(self):
        runs = collection()
        for _ in range(2):
            await runs.insert(Run())
        page = await runs.page(limit=1)
        with pytest.raises(BadCursor, match="other direction"):
            await runs.page(limit=1, descending=False, cursor=page.cursor)

    async def test_a_long_text_in_the_list_view_is_whole(self):
        runs = collection(view=["prompt"])
        texts = ["x" * 2_000, "y" * 40_000, "z"]
        for text in texts:
            await runs.insert(Run(prompt=text))
        for where in ({}, {"status": "pending"}):
            assert [r.prompt for r in (await runs.page(where)).items] == texts[::-1]


class TestDeepOffsets:
    """Lists in an order that nothing counts by."""

    @pytest.fixture(autouse=True)
    def small_bounds(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(reading, "MAX_PASSED", 6)

    @pytest.fixture(params=[4, 1000])
    def page_size(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(reading, "PAGE", request.param)

    @pytest.mark.usefixtures("page_size")
    async def test_an_offset_within_the_bound_is_served_and_one_beyond_it_is_refused(self):
        runs = collection()
        made = [(await runs.insert(Run())).id for _ in range(9)][::-1]
        page = await runs.page(order="updated_at", offset=5, limit=2)
        assert ids(page.items) == made[5:7]
        assert ids((await runs.page(order="updated_at", limit=9, cursor=page.cursor)).items) == made[7:]
        with pytest.raises(TooDeep, match="at most 6 records"):
            await runs.page(order="updated_at", limit=1, offset=8)
        with pytest.raises(TooDeep, match="at most 6 records"):
            await runs.page(order="updated_at", limit=1, descending=False)

    @pytest.mark.usefixtures("page_size")
    async def test_an_offset_behind_the_end_of_a_short_list_is_an_empty_page(self):
        runs = collection()
        for _ in range(3):
            await runs.insert(Run())
        page = await runs.page(order="updated_at", offset=500)
        assert (page.items, page.total) == ([], 3)

    async def test_the_newest_first_have_no_bound(self):
        runs = collection()
        made = [(await runs.insert(Run())).id for _ in range(9)][::-1]
        assert ids((await runs.page(offset=8)).items) == made[8:]
        assert ids((await runs.page(limit=1, descending=False)).items) == made[8:]


class TestHistory:
    async def test_counts_by_hour_and_five_minutes(self, runs: Collection[Run]):
        noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
        for minutes in (0, 4, 5, 59, 60, 200):
            await runs.insert(Run(created_at=noon + timedelta(minutes=minutes), tokens=1))
        late = (await runs.page(limit=1)).items[0]
        await runs.update(late.id, lambda r: setattr(r, "status", Status.DONE))
        history = await runs.history(noon, noon + timedelta(hours=4))
        hours = history.hours
        assert [(hour.hour - noon) // timedelta(hours=1) for hour in hours] == [0, 1, 3]
        assert [hour.count for hour in hours] == [4, 1, 1]
        assert hours[0].fives == [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
        assert hours[2].by("status") == {Status.DONE: 1}
        assert hours[0].sum("tokens") == 4
        assert (history.count, history.sum("tokens")) == (6, 6)
        assert history.by("status") == {Status.PENDING: 5, Status.DONE: 1}

    async def test_a_year_without_records_costs_one_query_and_nothing_else(self, runs: Collection[Run]):
        noon = datetime(2020, 3, 1, 12, tzinfo=UTC)
        history = await runs.history(noon, noon + timedelta(days=365))
        assert (history.hours, history.count) == ([], 0)


class TestAll:
    async def test_every_match_comes_once_while_it_is_deleted(self):
        runs = collection()
        made = [(await runs.insert(Run())).id for _ in range(5)]
        seen = []
        async for run in runs.all({"status": "pending"}):
            await runs.delete(run.id)
            seen.append(run.id)
        assert seen == made[::-1]

    async def test_between_two_moments(self):
        runs = collection()
        noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
        for hour in range(5):
            await runs.insert(Run(created_at=noon + timedelta(hours=hour), tokens=hour))
        found = [r.tokens async for r in runs.all(after=noon + timedelta(hours=1), before=noon + timedelta(hours=4))]
        assert found == [3, 2, 1]


class TestDefaults:
    async def test_fields_without_a_column_have_the_defaults_that_the_model_gives_them(self):
        class Odd(Record):
            constant: int = 3
            own: list[int] = [1]
            made: dict[str, int] = Field(default_factory=lambda: {"a": 1})
            derived: str = Field(default_factory=lambda values: f"{values['constant']}!")
            optional: int | None = 4

        odd = Columns(Odd, None)
        key = row_key(new_id()) or ""
        one, other = odd.decode([{"RowKey": f"r~{key}"}, {"RowKey": f"r~{key}", "constant": "5"}])
        assert (one.constant, one.own, one.made, one.derived, one.optional) == (3, [1], {"a": 1}, "3!", None)
        assert (other.constant, other.derived) == (5, "5!")
        assert one.own is not other.own and one.made is not other.made
        assert one.created_at == time_of(one.id) == one.updated_at


def test_rows_with_different_columns_become_records_with_their_defaults():
    columns = collection().columns
    records = [Run(name="a", tokens=3, options={"x": 1}), Run(), Run(seconds=0.5)]
    rows = [{**columns.encode(record), "RowKey": f"r~{row_key(record.id)}"} for record in records]
    for name in ("status", "archived", "options", "seconds"):
        del rows[1][name]
    rows[2] |= {"status": None, "tokens": None, "of_an_older_model": 1, "_long": ""}
    decoded = columns.decode(rows)
    assert [record.model_dump() for record in decoded] == [record.model_dump() for record in records]
    assert decoded[1].options is not Run.model_fields["options"].default
