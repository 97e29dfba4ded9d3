"""The times of NCRONTAB schedules."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.emulator.host.ncrontab import Schedule


def following(expression: str, start: str, count: int = 1) -> list[str]:
    schedule, moment, found = Schedule(expression), datetime.fromisoformat(start), []
    for _ in range(count):
        moment = schedule.after(moment)
        found.append(moment.isoformat(" "))
    return found


@pytest.mark.parametrize(
    ("expression", "start", "expected"),
    [
        ("0 */5 * * * *", "2026-01-01 10:02:30", ["2026-01-01 10:05:00", "2026-01-01 10:10:00"]),
        ("*/5 * * * *", "2026-01-01 10:02:30", ["2026-01-01 10:05:00", "2026-01-01 10:10:00"]),
        ("*/20 * * * * *", "2026-01-01 10:00:20", ["2026-01-01 10:00:40", "2026-01-01 10:01:00"]),
        ("0 0 */6 * * *", "2026-01-01 18:00:00", ["2026-01-02 00:00:00", "2026-01-02 06:00:00"]),
        ("0 30 9 * * mon-fri", "2026-01-02 10:00:00", ["2026-01-05 09:30:00", "2026-01-06 09:30:00"]),
        ("0 0 0 * * sun", "2026-01-01 00:00:00", ["2026-01-04 00:00:00", "2026-01-11 00:00:00"]),
        ("0 0 0 31 * *", "2026-01-31 00:00:00", ["2026-03-31 00:00:00", "2026-05-31 00:00:00"]),
        ("0 0 0 29 2 *", "2026-01-01 00:00:00", ["2028-02-29 00:00:00", "2032-02-29 00:00:00"]),
        ("0 0 0 1 january,jul *", "2026-01-01 00:00:00", ["2026-07-01 00:00:00", "2027-01-01 00:00:00"]),
        ("0 10-20/5,50 0 * * *", "2026-01-01 00:15:00", ["2026-01-01 00:20:00", "2026-01-01 00:50:00"]),
        ("0 50/5 * * * *", "2026-01-01 00:51:00", ["2026-01-01 00:55:00", "2026-01-01 01:50:00"]),
        ("59 59 23 31 12 *", "2026-12-31 23:59:58", ["2026-12-31 23:59:59", "2027-12-31 23:59:59"]),
    ],
)
def test_schedules(expression: str, start: str, expected: list[str]):
    assert following(expression, start, 2) == expected


def test_the_day_and_the_day_of_the_week_must_both_match():
    assert following("0 0 0 13 * fri", "2026-01-01 00:00:00") == ["2026-02-13 00:00:00"]


def test_fractions_of_a_second_are_cut_off():
    assert following("* * * * * *", "2026-01-01 00:00:00.900") == ["2026-01-01 00:00:01"]


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "* * * * * * *", "60 * * * * *", "0 0 24 * * *", "0 0 0 0 * *", "0 0 0 * 13 *", "0 0 0 * * 7",
     "0 */0 * * * *", "0 5-1 * * * *", "x * * * * *", "0 0 0 * * funday", "-1 * * * * *", "1, * * * * *",
     "*-5 * * * * *", "00:05:00"],
)  # fmt: skip
def test_malformed_expressions_are_refused(expression: str):
    with pytest.raises(ValueError, match=r"field|is not a"):
        Schedule(expression)


def test_a_schedule_without_any_date_is_refused():
    with pytest.raises(ValueError, match="never fires"):
        Schedule("0 0 0 31 2 *")


def field(low: int, high: int) -> st.SearchStrategy[str]:
    numbers = st.lists(st.integers(low, high), min_size=1, max_size=3).map(lambda some: ",".join(map(str, some)))
    return st.one_of(st.just("*"), st.integers(1, high).map(lambda step: f"*/{step}"), numbers)


@settings(max_examples=200, deadline=None)
@given(
    expression=st.tuples(field(0, 59), field(0, 59), field(0, 23)),
    start=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
)
def test_the_next_time_is_the_first_that_matches(expression: tuple[str, str, str], start: datetime):
    def fits(moment: datetime) -> bool:
        return all(
            text == "*" or (value % int(text[2:]) == 0 if text.startswith("*/") else str(value) in text.split(","))
            for text, value in zip(expression, (moment.second, moment.minute, moment.hour), strict=True)
        )

    found = Schedule(" ".join([*expression, "*", "*", "*"])).after(start)
    assert found > start
    assert fits(found)
    # No time between the start and the found time matches: a sample of the gap, and its last seconds.
    gap = int((found - start).total_seconds())
    for seconds in [*range(1, min(gap, 300)), *range(max(1, gap - 300), gap)]:
        assert not fits(start.replace(microsecond=0) + timedelta(seconds=seconds))
