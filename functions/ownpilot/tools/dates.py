"""Tools on dates and times."""

import calendar
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated, Any, Literal

from pydantic import Field

from functions.ownpilot.core.entry import iso, moment
from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools.parameters import Number, Short
from functions.ownpilot.tools.registry import tool

Date = Annotated[str, Field(max_length=100, description="ISO 8601, or now, today, tomorrow, yesterday")]
Zone = Annotated[str, Field(max_length=64, description="Such as Europe/Berlin; by default UTC")]
Unit = Literal["years", "months", "weeks", "days", "hours", "minutes", "seconds", "milliseconds"]

_LENGTHS: dict[Unit, timedelta] = {
    "weeks": timedelta(weeks=1), "days": timedelta(days=1), "hours": timedelta(hours=1),
    "minutes": timedelta(minutes=1), "seconds": timedelta(seconds=1), "milliseconds": timedelta(milliseconds=1),
}  # fmt: skip
_WORDS = {"today": 0, "tomorrow": 1, "yesterday": -1}
_FORMATS = {
    "date": "YYYY-MM-DD", "time": "HH:mm:ss", "datetime": "YYYY-MM-DD HH:mm:ss", "short": "YYYY-MM-DD HH:mm",
    "long": "D MMMM YYYY", "full": "dddd, D MMMM YYYY, HH:mm",
}  # fmt: skip
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_TOKEN = re.compile(r"\[([^\]]*)\]|YYYY|YY|MMMM|MMM|MM|M|DD|D|dddd|ddd|HH|H|hh|h|mm|m|ss|s|SSS|A|ZZ|Z|X")
_TOKENS: dict[str, Callable[[datetime], str]] = {
    "YYYY": lambda it: f"{it.year:04}", "YY": lambda it: f"{it.year % 100:02}",
    "MMMM": lambda it: _MONTHS[it.month - 1], "MMM": lambda it: _MONTHS[it.month - 1][:3],
    "MM": lambda it: f"{it.month:02}", "M": lambda it: str(it.month),
    "DD": lambda it: f"{it.day:02}", "D": lambda it: str(it.day),
    "dddd": lambda it: _DAYS[it.weekday()], "ddd": lambda it: _DAYS[it.weekday()][:3],
    "HH": lambda it: f"{it.hour:02}", "H": lambda it: str(it.hour),
    "hh": lambda it: f"{it.hour % 12 or 12:02}", "h": lambda it: str(it.hour % 12 or 12),
    "mm": lambda it: f"{it.minute:02}", "m": lambda it: str(it.minute),
    "ss": lambda it: f"{it.second:02}", "s": lambda it: str(it.second),
    "SSS": lambda it: f"{it.microsecond // 1000:03}", "A": lambda it: "AM" if it.hour < 12 else "PM",
    "Z": lambda it: it.isoformat()[-6:], "ZZ": lambda it: it.isoformat()[-6:].replace(":", ""),
    "X": lambda it: str(int(it.timestamp())),
}  # fmt: skip


def _zone(name: str | None) -> tzinfo:
    """Return a time zone by its name. `ToolError`."""
    if not name or name.upper() in ("UTC", "Z"):
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, no name at all, or a folder of zones
        raise ToolError(f"timezone: {name!r} is not known; write it like Europe/Berlin") from None


def _moment(text: str | None) -> datetime:
    """Return the moment that a text names, None: now; in UTC. `ToolError`."""
    word = (text or "now").strip().lower()
    now = datetime.now(UTC)
    if word == "now":
        return now
    if word in _WORDS:
        return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=_WORDS[word])
    try:
        return moment((text or "").strip())
    except ValueError as error:
        raise ToolError(f"date: {error}") from None


@tool(category="core", tags=("now", "date", "clock"))
async def get_current_time(context: ToolContext, timezone: Zone | None = None) -> dict[str, Any]:
    """Tell what date and time it is."""
    now = datetime.now(_zone(timezone))
    return {
        "iso": iso(now), "local": now.isoformat(timespec="seconds"), "date": now.date().isoformat(),
        "time": f"{now:%H:%M:%S}", "weekday": _DAYS[now.weekday()], "timezone": timezone or "UTC",
        "unix": int(now.timestamp()),
    }  # fmt: skip


@tool(category="dateTime", tags=("timezone", "convert"))
async def format_date(
    context: ToolContext,
    date: Date,
    format: Annotated[
        Short, Field(description="iso, date, time, datetime, short, long, full, or such as YYYY-MM-DD [at] HH:mm Z")
    ] = "iso",
    timezone: Zone | None = None,
) -> str:
    """Write a date in a format, in a time zone."""
    try:
        local = _moment(date).astimezone(_zone(timezone))
    except OverflowError:
        raise _out_of_range() from None
    if format == "iso":
        return local.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    pattern = _FORMATS.get(format, format)
    return _TOKEN.sub(lambda token: token[0][1:-1] if token[0][0] == "[" else _TOKENS[token[0]](local), pattern)


@tool(category="dateTime", tags=("between", "difference", "age"))
async def date_diff(
    context: ToolContext, date1: Date, date2: Date | None = None, unit: Unit = "days"
) -> dict[str, Any]:
    """Tell how long it is from one date to another one (by default now): in whole years or months, or in parts of the
    smaller units. It is negative when the second date comes first."""
    first, second = _moment(date1), _moment(date2)
    if unit in ("years", "months"):
        months = _months_between(first, second)
        value: float = int(months / 12) if unit == "years" else months
    else:
        value = round((second - first) / _LENGTHS[unit], 6)
    return {"difference": int(value) if value == int(value) else value, "unit": unit,
            "from": iso(first), "to": iso(second)}  # fmt: skip


def _months_between(first: datetime, second: datetime) -> int:
    """Return how many whole months it is from one moment to another one."""
    if second < first:
        return -_months_between(second, first)
    months = (second.year - first.year) * 12 + second.month - first.month
    return months - (_plus_months(first, months) > second)


@tool(category="dateTime", tags=("later", "ago", "plus", "minus"))
async def add_to_date(
    context: ToolContext,
    amount: Annotated[Number, Field(description="A negative number goes back")],
    unit: Unit,
    date: Date | None = None,
) -> str:
    """Add a time to a date, by default to now. A month after 31 January is the last day of February."""
    start = _moment(date)
    try:
        if unit in _LENGTHS:
            return iso(start + _LENGTHS[unit] * amount)
        if amount != int(amount):
            raise ToolError(f"amount: {unit} are added as whole numbers")
        return iso(_plus_months(start, int(amount) * (12 if unit == "years" else 1)))
    except (OverflowError, ValueError):
        raise _out_of_range() from None


def _plus_months(start: datetime, months: int) -> datetime:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise OverflowError
    return start.replace(year=year, month=month + 1, day=min(start.day, calendar.monthrange(year, month + 1)[1]))


def _out_of_range() -> ToolError:
    return ToolError("The result is not in the years 1 to 9999.")
