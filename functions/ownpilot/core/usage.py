"""What calls of models used and cost: one record a call, and figures of days that are counted as it is written."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple

from functions.ownpilot.core.entry import Entry
from shared.redaction import redact
from shared.tables import Collection

Period = Literal["day", "week", "month", "year"]
RequestType = Literal["chat", "completion", "embedding", "image", "audio", "tool"]
# Texts, as the table counts by such values without a row for each of them.
DayOfMonth = Literal[
    "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15", "16",
    "17", "18", "19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31",
]  # fmt: skip

UNITS = 100_000_000
"""Costs are whole numbers of millionths of a cent: so many are one USD."""

MOST = 10**12
"""Tokens, or milliseconds, that one call counts at most, whatever a provider says."""

MAX_ERROR = 500
"""Characters of an error that are kept."""


class Price(NamedTuple):
    """USD for a million tokens."""

    input: float
    output: float

    def cost(self, input_tokens: int, output_tokens: int) -> int:
        """Return the cost of these tokens in `UNITS`, exact but for what is below one of them."""
        usd = Decimal(str(self.input)) * input_tokens + Decimal(str(self.output)) * output_tokens
        return round(usd * (UNITS // 1_000_000))


FREE = Price(0, 0)


class UsageRecord(Entry):
    """One call of a model; `cost` is in `UNITS`. `day` is the day of the month of `created_at`, in UTC."""

    day: DayOfMonth
    provider: str
    model: str
    session_id: str | None = None
    request_type: RequestType = "chat"
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    latency_ms: int = 0
    cached: bool | None = None
    failed: bool = False
    error: str | None = None


# One partition for each person and month: a period reads the counters of its months. What a provider used is the sum
# of its models, so it has no counter of its own.
_usage = Collection(
    "OwnpilotUsage",
    UsageRecord,
    indexes=["model", "provider"],
    counters=[("day", "failed")],
    sums=["input_tokens", "output_tokens", "cost", "latency_ms"],
    sums_by=["day", ("day", "provider", "model")],
    view=[name for name in UsageRecord.model_fields if name != "id"],
)


async def record_usage(
    owner: str,
    provider: str,
    model: str,
    *,
    price: Price | None,
    input_tokens: int = 0,
    output_tokens: int = 0,
    latency_ms: float = 0,
    request_type: RequestType = "chat",
    session_id: str | None = None,
    cached: bool | None = None,
    error: str | None = None,
    at: datetime | None = None,
) -> UsageRecord:
    """Write down a call of a model, also one that failed (`error`). `price` is the one of this moment, None if unknown.

    To be awaited after the call, by whoever made it. Keys and tokens in an error are masked. 1 transaction.
    """
    at = (at or datetime.now(UTC)).astimezone(UTC)
    tokens = _bounded(input_tokens), _bounded(output_tokens)
    record = UsageRecord.model_validate(
        {
            "user_id": owner, "created_at": at, "day": f"{at:%d}", "provider": provider, "model": model,
            "session_id": session_id, "request_type": request_type, "input_tokens": tokens[0],
            "output_tokens": tokens[1], "cost": (price or FREE).cost(*tokens), "latency_ms": _bounded(latency_ms),
            "cached": cached, "failed": error is not None, "error": error and redact(error)[:MAX_ERROR],
        }
    )  # fmt: skip
    return await usage_of(owner, at.date()).insert(record)


def _bounded(number: float) -> int:
    return max(0, min(round(number), MOST))


def usage_of(owner: str, month: date) -> Collection[UsageRecord]:
    """Return the records of a person of the month of this day."""
    return _usage.of(f"{owner} {month:%Y-%m}")


class UsageDays(NamedTuple):
    """Days in UTC, the last one included."""

    first: date
    last: date

    @classmethod
    def of(cls, period: Period, today: date) -> "UsageDays":
        """Return the present day, week (from Sunday), month or year, up to today."""
        first = {
            "day": today,
            "week": today - timedelta(days=today.isoweekday() % 7),
            "month": today.replace(day=1),
            "year": today.replace(month=1, day=1),
        }
        return cls(first[period], today)

    @property
    def months(self) -> list[date]:
        """The first days of its months, the latest first."""
        months = range(self.first.year * 12 + self.first.month - 1, self.last.year * 12 + self.last.month)
        return [date(number // 12, number % 12 + 1, 1) for number in reversed(months)]

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.first <= day <= self.last


@dataclass
class UsageFigures:
    """Calls, those of them that failed, tokens, cost in `UNITS`, and the milliseconds of all calls together."""

    requests: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    latency_ms: int = 0

    @property
    def average_ms(self) -> int:
        """Milliseconds of a call."""
        return round(self.latency_ms / self.requests) if self.requests else 0

    def add(self, other: "UsageFigures") -> None:
        """Add the figures of other calls."""
        self.requests += other.requests
        self.failed += other.failed
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cost += other.cost
        self.latency_ms += other.latency_ms


@dataclass
class UsageByDay:
    """Figures by day, and by day, provider and model where they were asked for."""

    days: defaultdict[date, UsageFigures] = field(default_factory=lambda: defaultdict(UsageFigures))
    models: dict[tuple[date, str, str], UsageFigures] = field(default_factory=dict[tuple[date, str, str], UsageFigures])

    def total(self, span: UsageDays) -> UsageFigures:
        """Return the figures of some days together."""
        return sum_of(figures for day, figures in self.days.items() if day in span)


def sum_of(several: Iterable[UsageFigures]) -> UsageFigures:
    """Return these figures together."""
    total = UsageFigures()
    for figures in several:
        total.add(figures)
    return total


async def read_usage(owner: str, *spans: UsageDays, models: bool = False) -> UsageByDay:
    """Return the figures of all months in which these days lie, by model too if asked for.

    1 query for each month, all at once: of a few rows, and of one more for each `models` of the month.
    """
    months = sorted({month for span in spans for month in span.months})
    found = await asyncio.gather(*(usage_of(owner, month).totals(None if models else {}) for month in months))
    usage = UsageByDay()
    for month, totals in zip(months, found, strict=True):
        for (day,), amounts in totals.amounts("day").items():
            usage.days[month.replace(day=int(day))] = _figures(amounts)
        for (day, failed), amounts in totals.amounts("day", "failed").items():
            if failed:
                usage.days[month.replace(day=int(day))].failed += int(amounts["n"])
        if models:
            for (day, provider, model), amounts in totals.amounts("day", "provider", "model").items():
                usage.models[month.replace(day=int(day)), provider, model] = _figures(amounts)
    return usage


def _figures(amounts: Mapping[str, float]) -> UsageFigures:
    rest = {name: int(amount) for name, amount in amounts.items() if name != "n"}
    return UsageFigures(requests=int(amounts.get("n", 0)), **rest)


async def list_usage(
    owner: str, span: UsageDays, usage: UsageByDay, *, provider: str | None, model: str | None, limit: int, offset: int
) -> tuple[list[UsageRecord], int]:
    """Return records of these days from the newest on, and the number of all that match.

    `usage` holds the figures by model of these days: they say which months a page lies in. 1 query for each of those.
    """
    counts: defaultdict[date, int] = defaultdict(int)
    for (day, by, name), figures in usage.models.items():
        if day in span and provider in (None, by) and model in (None, name):
            counts[day.replace(day=1)] += figures.requests
    where = {name: value for name, value in (("model", model), ("provider", provider)) if value is not None}
    records: list[UsageRecord] = []
    skip = offset
    for month in span.months:
        wanted = min(limit - len(records), counts[month] - skip)
        if wanted > 0:
            page = await usage_of(owner, month).page(where, limit=wanted, offset=skip, total=False)
            records += page.items
        skip = max(skip - counts[month], 0)
    return records, sum(counts.values())
