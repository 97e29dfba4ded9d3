"""Ids grow, carry their time, and sort newest first as row keys; encoded values keep apart and keep their order."""

import uuid
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tables import ids
from shared.tables.cells import Cells, add, dump, load
from shared.tables.ids import first_key, ids_of, new_id, row_key, time_of
from shared.tables.keys import descending, encode
from shared.tables.schema import exact

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
        add(cells, {"+seconds": -exact(value)})
    assert cells == {"n": 1}


class Kind(StrEnum):
    A = "a"


def test_a_known_value_and_its_text_have_one_key():
    assert encode(Kind.A) == encode("a") == "a"
