"""What calls cost: as many storage calls with 10,000 runs as with 100."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from starlette.requests import Request
from starlette.responses import Response

from functions.gateway import dashboard, metrics, runs, store
from functions.gateway.records import Run, RunStatus
from shared.api_keys import Client
from shared.http.api import Api
from shared.http.paging import Paging
from shared.tables.ids import new_id
from tests.support.records import Counting

ME = Client(name="me", key_hash="x")
SMALL, LARGE = 100, 10_000


pytestmark = pytest.mark.usefixtures("account")


def request() -> Request:
    app = Api("gateway", "Gateway", "1", [])
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [], "app": app}
    return Request(scope | {"server": ("h", 80), "scheme": "http"})


def paging(order: str = "created_at", *, descending: bool = True) -> Paging:
    return Paging(50, 0, None, order, descending, request(), Response())


LISTS: dict[str, Callable[[], Awaitable[object]]] = {
    "newest": lambda: runs.list_runs(ME, paging()),
    "oldest": lambda: runs.list_runs(ME, paging(descending=False)),
    "by status": lambda: runs.list_runs(ME, paging(), status=RunStatus.COMPLETED),
    "by client": lambda: runs.list_runs(ME, paging(), client_id="c1"),
    "by both": lambda: runs.list_runs(ME, paging(), client_id="c1", status=RunStatus.COMPLETED),
    "last changed": lambda: runs.list_runs(ME, paging("updated_at")),
    "last changed by status": lambda: runs.list_runs(ME, paging("updated_at"), status=RunStatus.COMPLETED),
    "last changed by client": lambda: runs.list_runs(ME, paging("updated_at"), client_id="c1"),
    "by status order": lambda: runs.list_runs(ME, paging("status"), client_id="c1"),
    "stats": lambda: dashboard.get_stats(ME),
    "stats of a client": lambda: dashboard.get_stats(ME, "c1"),
    "recent": lambda: dashboard.get_recent(ME),
    "metrics": lambda: dashboard.get_metrics(ME),
    "metrics of a month": lambda: dashboard.get_metrics(ME, "month"),
    "prometheus": lambda: metrics.get_prometheus_metrics(request()),
}


async def fill(count: int) -> None:
    """Runs of four clients, most of them completed, spread over a day."""
    start = datetime.now(UTC) - timedelta(hours=23)
    statuses = [RunStatus.COMPLETED] * 8 + [RunStatus.FAILED, RunStatus.RUNNING]

    async def one(number: int) -> None:
        at = start + timedelta(hours=20) * number / count
        await store.runs.insert(
            Run(
                id=new_id(at), client_id=f"c{number % 4}", status=statuses[number % 10], prompt="x", model="bash",
                options={}, started_at=at, tokens=number, seconds=1.0,
            )
        )  # fmt: skip

    for first in range(0, count, 500):
        await asyncio.gather(*(one(number) for number in range(first, min(first + 500, count))))


async def measure(counting: Counting) -> dict[str, tuple[int, int]]:
    """(calls, rows read) of each."""
    measured: dict[str, tuple[int, int]] = {}
    for name, call in LISTS.items():
        counting.reset()
        await call()
        measured[name] = sum(counting.calls.values()), counting.rows
    return measured


async def test_lists_and_figures_cost_the_same_with_a_hundred_times_the_runs(counting: Counting):
    await fill(SMALL)
    small = await measure(counting)
    await fill(LARGE - SMALL)
    large = await measure(counting)
    assert (await runs.list_runs(ME, paging())).total == LARGE
    # One call more where an hour's counts tell how many rows to pass over; fewer where the first page fills sooner.
    grown = {name: (small[name], large[name]) for name in large if large[name][0] > small[name][0] + 1}
    assert grown == {}
    assert max(calls for calls, _ in large.values()) <= 8
    assert max(rows for _, rows in large.values()) <= 600
