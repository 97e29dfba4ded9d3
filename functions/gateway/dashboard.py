"""The dashboard: totals from the counters, charts from hourly counts."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import Query

from functions.gateway.records import AlertType, RunStatus
from functions.gateway.store import alerts, artifacts, check_prompts, runs
from shared.api_keys import CurrentClient, clients
from shared.http.bodies import ResponseBody
from shared.http.errors import BadRequest
from shared.http.paging import Limit
from shared.http.routes import router
from shared.tables import History

routes = router("/api/dashboard", "dashboard")

Period = Literal["hour", "day", "week", "month"]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PERIODS = {"hour": HOUR, "day": DAY, "week": 7 * DAY, "month": 30 * DAY}
BUCKETS = {"hour": timedelta(minutes=5), "day": HOUR, "week": DAY, "month": DAY}

MAX_RANGE = 366 * DAY
"""The longest range of time that a request may ask for: it reads every hour of the range."""

MAX_BUCKETS = 10_000
"""The most buckets of a response."""


class Stats(ResponseBody):
    """Totals; `avg_execution_time` in seconds, over completed runs."""

    total_runs: int
    active_runs: int
    completed_runs: int
    failed_runs: int
    cancelled_runs: int
    total_artifacts: int
    total_clients: int
    unread_alerts: int
    total_tokens_used: int
    avg_execution_time: float


class RecentRun(ResponseBody):
    """One of the latest runs."""

    id: str
    status: RunStatus
    prompt: str
    started_at: datetime
    completed_at: datetime | None


class RecentAlert(ResponseBody):
    """One of the latest alerts."""

    id: str
    type: AlertType
    message: str
    created_at: datetime


class Recent(ResponseBody):
    """The latest runs and alerts."""

    runs: list[RecentRun]
    alerts: list[RecentAlert]


class Bucket(ResponseBody):
    """The number of runs created in the interval that begins at `timestamp`."""

    timestamp: datetime
    count: int


class Metrics(ResponseBody):
    """Figures of the runs that were created in a range of time."""

    period: Period
    start_date: datetime
    end_date: datetime
    runs_by_status: dict[RunStatus, int]
    runs_over_time: list[Bucket]
    tokens_used: int
    avg_execution_time: float


@routes.get("/stats")
async def get_stats(client: CurrentClient, client_id: str | None = None) -> Stats:
    """Totals of all clients or of one; `total_clients` always counts all clients."""
    whose = {} if client_id is None else {"client_id": client_id}
    of_runs, of_artifacts, of_alerts, total_clients = await asyncio.gather(
        runs.totals(whose), artifacts.totals(whose), alerts.totals(whose), clients.count()
    )
    matching: dict[str, list[object]] = {name: [value] for name, value in whose.items()}

    def count(status: RunStatus) -> int:
        return of_runs.matching({**matching, "status": [status]})

    completed = count(RunStatus.COMPLETED)
    seconds = of_runs.sum("seconds", **whose, status=RunStatus.COMPLETED)
    return Stats(
        total_runs=sum(map(count, RunStatus)),
        active_runs=count(RunStatus.PENDING) + count(RunStatus.RUNNING),
        completed_runs=completed,
        failed_runs=count(RunStatus.FAILED),
        cancelled_runs=count(RunStatus.CANCELLED),
        total_artifacts=of_artifacts.matching(matching),
        total_clients=total_clients,
        unread_alerts=of_alerts.matching({**matching, "read": [False]}),
        total_tokens_used=int(of_runs.sum("tokens", **whose)),
        avg_execution_time=_average(seconds, completed),
    )


def _average(seconds: float, count: int) -> float:
    return round(seconds / count, 3) if count else 0.0


@routes.get("/recent")
async def get_recent(
    client: CurrentClient, limit: Limit = 10, type: Literal["runs", "alerts", "all"] = "all"
) -> Recent:
    """The latest runs and alerts, newest first. At most 32 MB of prompts."""
    found_runs = (await runs.page(limit=limit, check=check_prompts)).items if type != "alerts" else []
    found_alerts = (await alerts.page(limit=limit)).items if type != "runs" else []
    return Recent(
        runs=[RecentRun.model_validate(run) for run in found_runs],
        alerts=[RecentAlert.model_validate(alert) for alert in found_alerts],
    )


@routes.get("/metrics")
async def get_metrics(
    client: CurrentClient,
    period: Period = "day",
    start_date: Annotated[str | None, Query(description="ISO 8601; by default one period before end_date")] = None,
    end_date: Annotated[str | None, Query(description="ISO 8601; by default now")] = None,
) -> Metrics:
    """Runs over a range of time in whole buckets; all other figures cover each hour that overlaps the range."""
    end = _parse_date("end_date", end_date) if end_date is not None else datetime.now(UTC)
    try:
        start = _parse_date("start_date", start_date) if start_date is not None else end - PERIODS[period]
    except OverflowError as error:
        raise BadRequest("end_date: is too early") from error
    if start > end:
        raise BadRequest("start_date: must not be after end_date")
    if end - start > MAX_RANGE:
        raise BadRequest(f"start_date: must be at most {MAX_RANGE.days} days before end_date")
    width = BUCKETS[period]
    if (end - start) / width > MAX_BUCKETS:
        raise BadRequest(f"period: {period} divides the range into more than {MAX_BUCKETS} parts; name a longer one")
    history = await runs.history(start, end)
    statuses = {**dict.fromkeys(RunStatus, 0), **history.by("status")}
    return Metrics(
        period=period,
        start_date=start,
        end_date=end,
        runs_by_status=statuses,
        runs_over_time=_buckets(history, start, end, width),
        tokens_used=int(history.sum("tokens")),
        avg_execution_time=_average(history.sum("seconds", status=RunStatus.COMPLETED), statuses[RunStatus.COMPLETED]),
    )


def _parse_date(name: str, text: str) -> datetime:
    """Return a date of the query in UTC; without a time zone it is read as UTC. 400 for any other text."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"{name}: must be an ISO 8601 date") from error
    if not 1970 < moment.year < 9000:
        raise BadRequest(f"{name}: is out of range")
    return moment


def _buckets(history: History, start: datetime, end: datetime, width: timedelta) -> list[Bucket]:
    """Return all buckets that overlap the range, also empty ones."""
    first = _floor(start, width)
    counts: dict[datetime, int] = {}
    while first < end or not counts:
        counts[first] = 0
        first += width
    for hour in history.hours:
        parts = [(hour.hour, hour.count)]
        if width < HOUR:
            parts = [(hour.hour + place * width, count) for place, count in enumerate(hour.fives)]
        for moment, count in parts:
            bucket = _floor(moment, width)
            if bucket in counts:
                counts[bucket] += count
    return [Bucket(timestamp=moment, count=count) for moment, count in counts.items()]


def _floor(moment: datetime, width: timedelta) -> datetime:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // width * width
