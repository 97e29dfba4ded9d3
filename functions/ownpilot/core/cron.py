"""When a schedule is due: cron expressions of five fields in a time zone."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo

MAX_CHARACTERS = 200
"""Characters of an expression, and of the name of a zone."""

_FIELDS = 5
_EVERY_HOUR = set(range(24))
_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)
_LONGEST_CHANGE = timedelta(hours=26)
"""Clocks are never put forward or back by more: at the date line, by a day."""


class InvalidCron(ValueError):
    """The text is no cron expression, or names a date that never comes; the message is for the client."""


class UnknownZone(ValueError):
    """There is no such time zone; the message is for the client."""


def zone_of(name: str | None) -> tzinfo:
    """Return a time zone by its IANA name; None, an empty name and `local` are UTC. `UnknownZone`."""
    from zoneinfo import ZoneInfo

    if not name or name.lower() in ("local", "utc"):
        return UTC
    try:
        if len(name) > MAX_CHARACTERS:
            raise ValueError
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, no name at all, or a folder of zones
        raise UnknownZone(f"{name[:100]!r} is no IANA time zone such as Europe/Berlin") from None


def next_due(expression: str, zone: tzinfo, after: datetime) -> datetime:
    """Return the first moment (UTC) behind `after` at which a schedule is due. `InvalidCron`.

    An expression for certain hours means what a clock in that zone shows. A time in an hour that clocks leave out is
    due once, at the end of that hour; a time in an hour that comes twice is due in the first of the two. An expression
    for every hour goes by hours that really pass.
    """
    try:
        # A time in an hour that comes twice lies before `after` when that is in the second one.
        return next(found for found in _moments(expression, zone, after) if found > after)
    except (StopIteration, OverflowError):
        raise InvalidCron("must name a date that comes: this one never does") from None


def _moments(expression: str, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    from cronsim import CronSim, CronSimError

    local, fields = after.astimezone(zone).replace(tzinfo=None), expression[: MAX_CHARACTERS + 1].split()
    if len(fields) != _FIELDS or len(expression) > MAX_CHARACTERS:
        raise InvalidCron("must have five fields: minute, hour, day of the month, month, day of the week")
    try:
        walk = CronSim(expression, local)
    except (CronSimError, AssertionError) as error:
        raise InvalidCron(f"must be a cron expression such as 0 9 * * 1-5 ({error or 'bad step'})") from None
    if walk.hours == _EVERY_HOUR:
        yield from _by_hours_that_pass(lambda start: next(CronSim(expression, start), None), zone, after)
    for found in walk:
        yield _existing(found.replace(tzinfo=zone)).astimezone(UTC)


def _by_hours_that_pass(
    following: Callable[[datetime], datetime | None], zone: tzinfo, after: datetime
) -> Iterator[datetime]:
    """Yield the moments behind `after` at which a clock shows a time of an expression, also those that it shows twice.

    `following` gives the first such time behind another one, None when there is none.
    """
    at, offset = after.astimezone(UTC), _offset(zone, after)
    while (local := following((at + offset).replace(tzinfo=None))) is not None:
        found = local.replace(tzinfo=UTC) - offset
        horizon = min(found, at + _LONGEST_CHANGE)
        if change := _change_of_clocks(zone, at, horizon, offset):
            at, offset = change - _MINUTE, _offset(zone, change)
        elif found == horizon:
            yield found
            at = found
        else:  # nothing is due before, whatever clocks do in between
            at = max(horizon, found - _LONGEST_CHANGE)
            offset = _offset(zone, at)


def _change_of_clocks(zone: tzinfo, after: datetime, until: datetime, offset: timedelta) -> datetime | None:
    """Return the first moment behind `after`, and not behind `until`, at which clocks have another offset; or None."""
    at = after
    while at < until:
        step = min(at + _HOUR, until)
        if _offset(zone, step) != offset:
            while _offset(zone, at := at + _MINUTE) == offset:
                pass
            return at
        at = step
    return None


def _offset(zone: tzinfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()


def _existing(local: datetime) -> datetime:
    """Return a local time, or the first one that exists after it when clocks leave it out."""
    while local.astimezone(UTC).astimezone(local.tzinfo).replace(tzinfo=None) != local.replace(tzinfo=None):
        local += timedelta(minutes=1)
    return local
