"""Ids grow, carry their time, and sort newest first as row keys; encoded values stay different and in order."""

import random
import re
import uuid
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tables import Collection, Record, RecordNotFound, ids, sweep
from shared.tables.cells import Cells, add, dump, exact, load
from shared.tables.client import client
from shared.tables.ids import derived_id, first_key, ids_of, new_id, row_key, time_of
from shared.tables.keys import descending, encode
from tests.support.records import Counting

moments = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))


def test_ids_are_uuids_that_only_grow(monkeypatch: pytest.MonkeyPatch):
    made = [new_id() for _ in range(1_000)]
    clock = ids.time.time_ns()
    monkeypatch.setattr(ids.time, "time_ns", lambda: clock - 3_600 * 10**9)
    made += [new_id() for _ in range(1_000)]
    assert made == sorted(set(made))
    assert {(uuid.UUID(made_id).version, uuid.UUID(made_id).variant) for made_id in made} == {(7, uuid.RFC_4122)}


@given(moments)
def test_an_id_carries_its_moment(moment: datetime):
    carried = time_of(new_id(moment))
    assert carried is not None
    assert abs(carried - moment) <= timedelta(milliseconds=1)


@given(st.uuids(), st.uuids())
def test_row_keys_sort_newest_first(one: uuid.UUID, other: uuid.UUID):
    keys = [row_key(str(one)) or "", row_key(str(other).upper()) or ""]
    assert (keys[0] < keys[1]) == (one > other)
    assert ids_of([f"x~{key}" for key in keys]) == [str(one), str(other)]


@given(moments)
def test_keys_from_a_moment_on(moment: datetime):
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert (row_key(new_id(moment)) or "") < first_key(moment)
    assert (row_key(new_id(moment - timedelta(milliseconds=1))) or "") >= first_key(moment)


@pytest.mark.parametrize("before", [datetime(1, 1, 1), datetime(1969, 12, 31, tzinfo=UTC), datetime(1970, 1, 1)])
def test_no_id_is_older_than_1970(before: datetime):
    assert (row_key(new_id(datetime(1970, 1, 1, tzinfo=UTC))) or "") < first_key(before)


@given(
    st.lists(st.one_of(st.none(), st.text(), st.text(alphabet="~.ab/#?%\n", max_size=400)), unique=True, max_size=30)
)
def test_different_values_have_different_keys(values: list[str | None]):
    encoded = [encode(value) for value in values]
    assert len(set(encoded)) == len(values)
    assert all(len(key) <= 128 and set(key) <= set(_ALLOWED) for key in encoded)


_ALLOWED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."


@given(
    st.one_of(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2),
        st.lists(st.floats(allow_nan=False), min_size=2),
        st.lists(moments, min_size=2),
        st.lists(st.text(alphabet="abcXYZ é", max_size=12), min_size=2),
    )
)
def test_sort_keys_go_from_high_to_low(values: list[object]):
    def rank(value: object) -> object:
        return value.casefold().encode() if isinstance(value, str) else value

    for one in values:
        for other in values:
            if rank(one) > rank(other):  # type: ignore[operator]
                assert descending(one) + "~a" < descending(other) + "~0"
        assert descending(one) < descending(None)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_sums_of_floats_are_exact_and_undone_exactly(values: list[float]):
    cells: Cells = {"n": 1}
    for value in values:
        add(cells, {"+seconds": exact(value)})
        cells = load({"v": dump(cells)})
    for value in reversed(values):
        add(cells, {"+seconds": exact(value, -1)})
    assert cells == {"n": 1}


def test_sums_that_earlier_versions_wrote_as_fractions_go_on_exactly():
    cells = load({"v": '{"n":2,"+seconds":"3602879701896397/18014398509481984"}'})
    add(cells, {"+seconds": exact(0.2, -1)})
    assert cells == {"n": 2}


def test_whole_sums_over_53_bits_are_exact():
    cells: Cells = {"+tokens": (1 << 53) - 1, "+cost": exact(0.5)}
    add(cells, {"+tokens": 2})
    assert orjson.loads(dump(cells)) == {"+tokens": "9007199254740993", "+cost": "0.5"}
    assert int(load({"v": dump(cells)})["+tokens"]) == (1 << 53) + 1


class Goal(Record, prefix="goal_"):
    title: str = ""


class Milestone(Goal):
    due: int = 0


class TestPublicIds:
    def test_a_prefix_and_the_digits_of_a_uuid(self):
        for goal in (Goal(), Milestone(), Goal(created_at=datetime(2026, 1, 2, 3, 4, 5, 678000, UTC))):
            assert re.fullmatch(r"goal_[0-9a-f]{12}7[0-9a-f]{19}", goal.id)
            assert time_of(goal.id) == Goal.id_form.time_of(goal.id) == goal.created_at
        assert Goal.new_id(goal.created_at)[:17] == goal.id[:17]
        assert Goal.derived_id(goal.created_at, "a") == Goal.derived_id(goal.created_at, "a") != goal.id
        assert Goal.derived_id(goal.created_at, "a")[5:] == derived_id(goal.created_at, "a").replace("-", "")
        assert uuid.UUID(Record().id) and Record.new_id().count("-") == 4
        assert Goal.model_validate_json('{"title": "t"}').id.startswith("goal_")
        assert Goal(id="goal_1").id == "goal_1"

    @given(st.lists(st.uuids(version=4), max_size=5))
    def test_row_keys_and_back(self, values: list[uuid.UUID]):
        texts = [f"goal_{value.hex}" for value in values]
        keys = [Goal.id_form.row_key(text) or "" for text in texts]
        assert keys == [row_key(str(value)) for value in values]
        assert Goal.id_form.texts([f"r~{key}" for key in keys]) == texts

    @pytest.mark.parametrize("prefix", ["", "Goal_", "goal", "1_", "a/_", "_", "a" * 17 + "_"])
    def test_a_prefix_that_no_id_can_have_is_refused(self, prefix: str):
        with pytest.raises(ValueError, match="prefix"):
            type("Bad", (Record,), {}, prefix=prefix)

    @pytest.mark.parametrize("declared", [{"plain": True}, {"indexes": ["title"], "unique": ["title"]}], ids=str)
    async def test_reads_and_lists_have_the_same_ids(self, account: None, counting: Counting, declared: dict[str, Any]):
        goals = Collection(f"Goals{len(declared)}", Goal, **declared)
        goal = await goals.insert(Goal(title="a" * 40_000))
        assert (await goals.page({"title": goal.title})).items[0].id == goal.id
        assert [g.id async for g in goals.all()] == [goal.id]
        assert (await goals.update(goal.id, lambda g: setattr(g, "title", "b"))).id == goal.id
        if not declared.get("plain"):
            assert (await goals.find("title", "b")).id == goal.id
            assert (await goals.rebuild()).records == 1
        counting.reset()
        assert (await goals.get(goal.id)).created_at == goal.created_at
        assert dict(counting.calls) == {"get": 1}
        counting.reset()
        bare = str(uuid.UUID(goal.id[5:]))
        for text in (bare, bare.replace("-", ""), f"task_{goal.id[5:]}", goal.id.upper(), goal.id + "0", "goal_", ""):
            with pytest.raises(RecordNotFound):
                await goals.get(text)
        assert not counting.calls
        with pytest.raises(ValueError, match="is not an id of Goal"):
            await goals.insert(Goal(id=bare))

    async def test_a_blob_is_swept_by_the_ids_of_its_collection(self, account: None):
        goals = Collection("GoalsSwept", Goal, plain=True)
        text = random.Random(1).randbytes(200_000).hex()
        kept, lost = await goals.insert(Goal(title=text)), Goal()
        for name in (f"GoalsSwept/all/{lost.id}/title/{new_id()}", f"Undeclared/all/{lost.id}/title/{new_id()}"):
            await client().blobs.put(name, b"x")
        assert await sweep(timedelta(hours=-1)) == 1
        assert (await goals.get(kept.id)).title == text


class Kind(StrEnum):
    A = "a"


def test_a_known_value_and_its_text_have_one_key():
    assert encode(Kind.A) == encode("a") == "a"
