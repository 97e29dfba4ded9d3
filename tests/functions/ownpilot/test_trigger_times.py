"""When a schedule is due: against a reference that looks at every minute, and at the edges of clocks and calendars."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from functions.ownpilot.core.cron import InvalidCron, UnknownZone, next_due, zone_of
from tests.support.cron import due_in, minutes_of, utc

CHANGES = [
    ("Europe/Berlin", "2026-03-28T12:00"), ("Europe/Berlin", "2026-10-24T12:00"),
    ("America/Havana", "2026-03-07T12:00"), ("Australia/Lord_Howe", "2026-04-04T06:00"),
    ("Australia/Lord_Howe", "2026-10-03T06:00"), ("Asia/Kathmandu", "2026-12-31T12:00"),
]  # fmt: skip
"""Zones, and moments before their clocks change, if they do."""

RANGES = {
    (zone, start): minutes_of(zone, utc(start), utc(start) + timedelta(days=1, hours=12)) for zone, start in CHANGES
}

minute = st.integers(0, 59).map(str) | st.sampled_from(["*", "*/7", "0,30", "5-20/5", "15/20"])
hour = st.integers(0, 23).map(str) | st.sampled_from(["*", "0-23", "*/2", "1,2,3", "0-3", "2/5"])
weekday = st.sampled_from(["*", "1-5", "SUN", "0", "7", "MON-FRI", "sat,sun"])
day = st.sampled_from(["*", "*", "1", "29", "*/2", "28-31"])


def found(expression: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    moments, at = list[datetime](), start - timedelta(minutes=1)
    while (at := next_due(expression, zone_of(zone), at)) < end:
        moments.append(at)
    return moments


@examples(max_examples=60, deadline=None)
@given(st.sampled_from(CHANGES), minute, hour, day, weekday)
def test_it_is_due_when_a_slow_reference_says(place: tuple[str, str], minute: str, hour: str, day: str, weekday: str):
    expression, minutes = f"{minute} {hour} {day} * {weekday}", RANGES[place]
    start, end = minutes[0][0], minutes[-1][0] + timedelta(minutes=1)
    assert found(expression, place[0], start, end) == [*due_in(expression, minutes)]


@pytest.mark.parametrize(
    ("expression", "zone", "after", "due"),
    [
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T00:00", "2026-03-29T01:00"),  # left out: at the end of that hour
        ("0,30 2 * * *", "Europe/Berlin", "2026-03-29T01:00", "2026-03-30T00:00"),  # once for both
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:00", "2026-10-25T00:30"),  # comes twice: in the first
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10", "2026-10-26T01:30"),  # and not in the second
        ("0 * * * *", "Europe/Berlin", "2026-10-25T00:30", "2026-10-25T01:00"),  # hours that pass
        ("0 0 29 2 *", "local", "2026-03-01T00:00", "2028-02-29T00:00"),
        ("0 9 * * 1-5", None, "2026-11-27T09:00", "2026-11-30T09:00"),
        ("0 0 1 jan *", "Asia/Tokyo", "2026-06-01T00:00", "2026-12-31T15:00"),
        ("0 9 13 * fri", "UTC", "2026-11-01T00:00", "2026-11-06T09:00"),  # both are given: either will do
    ],
)
def test_a_moment_is(expression: str, zone: str | None, after: str, due: str):
    assert next_due(expression, zone_of(zone), utc(after)) == utc(due)


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "* * * * * *", "@daily", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
     "*/0 * * * *", "5-1 * * * *", "x * * * *", "0 0 31 2 *", "0 0 30 feb *", "0 0 31 4,6,9,11 *", "² * * * *",
     "* * * * 1#2/3", "-1 * * * *", "* " * 300],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_at_once(expression: str):
    with pytest.raises(InvalidCron):
        next_due(expression, UTC, utc("2026-01-01T00:00"))


@pytest.mark.parametrize("name", ["Europe", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "a\0b", "x" * 300])
def test_what_is_no_zone_is_refused(name: str):
    with pytest.raises(UnknownZone):
        zone_of(name)
