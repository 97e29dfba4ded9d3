"""NCRONTAB schedules: `{second} {minute} {hour} {day} {month} {day of week}`; with five fields the second is 0."""

import re
from datetime import datetime, timedelta

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
FIELDS = [
    ("second", 0, 59),
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day", 1, 31),
    ("month", 1, 12),
    ("day of week", 0, 6),
]
# February 29 falls on a given weekday at least every 28 years, or 40 around a century without a leap day.
HORIZON = timedelta(days=366 * 41)


class Schedule:
    """The times of a timer; unlike in cron, both the day and the day of the week must match.

    Raises:
        ValueError: the expression is malformed, or matches no date.
    """

    def __init__(self, expression: str):
        fields = expression.split()
        if len(fields) == 5:
            fields.insert(0, "0")
        if len(fields) != 6:
            raise ValueError(f"{expression!r} must have six fields: second minute hour day month day-of-week")
        values = [_values(text, *field) for text, field in zip(fields, FIELDS, strict=True)]
        self._seconds, self._minutes, self._hours, *_ = (sorted(found) for found in values)
        self._days, self._months, self._weekdays = values[3:]
        try:
            self.after(datetime(2000, 1, 1))
        except OverflowError:
            raise ValueError(f"{expression!r} never fires") from None

    def after(self, moment: datetime) -> datetime:
        """The first time of the schedule after `moment`, in whole seconds."""
        start = moment.replace(microsecond=0) + timedelta(seconds=1)
        day = start.replace(hour=0, minute=0, second=0)
        while day - moment < HORIZON:
            # `isoweekday` counts Sunday as 7.
            if day.month in self._months and day.day in self._days and day.isoweekday() % 7 in self._weekdays:
                found = self._within(day, start)
                if found is not None:
                    return found
            day += timedelta(days=1)
        raise OverflowError("never fires")

    def _within(self, day: datetime, start: datetime) -> datetime | None:
        for hour in self._hours:
            if day.replace(hour=hour, minute=59, second=59) < start:
                continue
            for minute in self._minutes:
                if day.replace(hour=hour, minute=minute, second=59) < start:
                    continue
                for second in self._seconds:
                    found = day.replace(hour=hour, minute=minute, second=second)
                    if found >= start:
                        return found
        return None


def _values(text: str, field: str, low: int, high: int) -> set[int]:
    """The numbers that one field allows: `*`, `5`, `1-5`, `mon-fri`, `*/15`, `10/20` and lists of them."""
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?", part)
        if match is None or (match[1] == "*" and match[2]) or (match[3] and int(match[3]) == 0):
            raise ValueError(f"{text!r} is not a {field}")
        first = low if match[1] == "*" else _number(match[1], field)
        if match[2]:
            last = _number(match[2], field)
        else:
            last = high if match[1] == "*" or match[3] else first
        if not low <= first <= last <= high:
            raise ValueError(f"{text!r} is not a {field}: from {low} to {high}, the smaller one first")
        found.update(range(first, last + 1, int(match[3] or 1)))
    return found


def _number(text: str, field: str) -> int:
    names = {"month": MONTHS, "day of week": DAYS}.get(field, [])
    name = text.lower()[:3]
    if name in names:
        return names.index(name) + (field == "month")
    if not text.isdigit():
        raise ValueError(f"{text!r} is not a {field}")
    return int(text)
