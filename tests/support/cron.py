"""When cron expressions are due, worked out the slow way: every minute of a range is looked at."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_NUMBERS = {name: place for place, name in enumerate(_MONTHS, 1)} | {name: place for place, name in enumerate(_DAYS)}
MINUTE = timedelta(minutes=1)

Minute = tuple[datetime, datetime, list[datetime]]
"""A moment in UTC, what a clock shows then, and what it would have shown in minutes that were left out before it."""


def minutes_of(zone: str, start: datetime, end: datetime) -> list[Minute]:
    """All minutes of a range, as a clock in this zone shows them."""
    found: list[Minute] = []
    at, tz, before = start, ZoneInfo(zone), None
    while at < end:
        local = at.astimezone(tz)
        left_out: list[datetime] = []
        naive = local.replace(tzinfo=None, fold=0)
        while before is not None and before + MINUTE < naive:
            before += MINUTE
            left_out.append(before)
        found.append((at, local, left_out))
        before, at = naive, at + MINUTE
    return found


def due_in(expression: str, minutes: list[Minute]) -> Iterator[datetime]:
    """The moments of these minutes at which an expression is due."""
    fields = [_values(part, place) for place, part in enumerate(expression.upper().split())]
    stars = [part.startswith("*") for part in expression.split()]
    every_hour = fields[1] == set(range(24))

    def fits(local: datetime) -> bool:
        minute, hour, day, month, weekday = fields
        if local.minute not in minute or local.hour not in hour or local.month not in month:
            return False
        on_day, on_weekday = local.day in day, bool({local.isoweekday(), local.isoweekday() % 7} & weekday)
        return on_day and on_weekday if stars[2] or stars[4] else on_day or on_weekday

    for at, local, left_out in minutes:
        if every_hour:
            is_due = fits(local)
        else:
            is_due = (fits(local) and not local.fold) or any(map(fits, left_out))
        if is_due:
            yield at


def _values(part: str, place: int) -> set[int]:
    low, high = _BOUNDS[place]

    def number(text: str) -> int:
        return _NUMBERS[text] if text in _NUMBERS else int(text)

    found: set[int] = set()
    for term in part.split(","):
        span, _, step = term.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            begin, end = low, high
        elif last:
            begin, end = number(first), number(last)
        else:
            begin, end = number(first), high if step else number(first)
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def utc(text: str) -> datetime:
    """A moment in UTC from ISO 8601 without a zone."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
