"""Days in a row: how many target days, such as all workdays, were reached one after the other."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import NamedTuple

WEEK = (0, 1, 2, 3, 4, 5, 6)
"""The days of the week as numbers: 0 is Sunday."""


class Streaks(NamedTuple):
    """Target days that were reached in a row: the `last` run, which ends at `reached_on`, and the `longest` one."""

    last: int
    longest: int
    reached_on: date | None

    def current(self, now: date, targets: Iterable[int] = WEEK) -> int:
        """Return the length of the last run if it goes on: if it has today or, until that is reached, the day before.

        That is the last target day before today.
        """
        return self.last if self.reached_on and self.reached_on >= target_before(now, targets) else 0


def weekday(day: date) -> int:
    """Return the day of the week as a number: 0 is Sunday."""
    return day.isoweekday() % 7


def target_before(day: date, targets: Iterable[int]) -> date:
    """Return the last target day before a day; `date.min` when the calendar has none."""
    wanted = {*targets}
    for back in range(1, 8):
        if day.toordinal() <= back:
            break
        before = day - timedelta(days=back)
        if weekday(before) in wanted:
            return before
    return date.min


def streaks(reached: Iterable[date], targets: Iterable[int] = WEEK) -> Streaks:
    """Return the runs of target days among the days that were reached; other days neither count nor end a run."""
    wanted = {*targets}
    run, longest, previous = 0, 0, None
    for day in sorted({day for day in reached if weekday(day) in wanted}):
        run = run + 1 if previous == target_before(day, wanted) else 1
        longest, previous = max(longest, run), day
    return Streaks(run, longest, previous)
