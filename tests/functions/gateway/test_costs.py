"""What calls cost: as many storage calls with 10,000 runs as with 100. And what timers do, called by hand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from starlette.requests import Request
from starlette.responses import Response

from functions.gateway import dashboard, metrics, runs, store, upkeep
from functions.gateway.alerting import fault
from functions.gateway.models import Alert, AlertType, Run, RunStatus
from shared import blobs, containers, tables
from shared.access import Client
from shared.http import idempotency, ratelimit
from shared.http.api import Api
from shared.http.idempotency import Claim, claims
from shared.http.ratelimit import RateLimit, Window, windows
from shared.ids import new_id
from shared.settings import settings
from shared.tables.client import client
from tests.shared.tables.conftest import Counting

ME = Client(name="me", key_hash="x")
SMALL, LARGE = 100, 10_000


@pytest.fixture(scope="module", autouse=True)
async def account(storage: str) -> AsyncIterator[None]:
    """The storage emulator is this process's storage account."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AzureWebJobsStorage", storage)
        settings.cache_clear()
        await tables.close()
        yield
        await tables.close()
        await blobs.close()
        await containers.close()
        settings.cache_clear()


@pytest.fixture
async def counting() -> AsyncIterator[Counting]:
    """The counter in front of this test's requests."""
    wire = client().wire
    counting = Counting(wire.transport)
    wire.transport = counting
    yield counting
    wire.transport = counting._inner


def request() -> Request:
    app = Api("gateway", "Gateway", "1", [], render=lambda status, message: message)
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [], "app": app}
    return Request(scope | {"server": ("h", 80), "scheme": "http"})


LISTS: dict[str, Callable[[], Awaitable[object]]] = {
    "newest": lambda: runs.list_runs(ME, request(), Response()),
    "oldest": lambda: runs.list_runs(ME, request(), Response(), sort_order="asc"),
    "by status": lambda: runs.list_runs(ME, request(), Response(), status=RunStatus.COMPLETED),
    "by client": lambda: runs.list_runs(ME, request(), Response(), client_id="c1"),
    "by both": lambda: runs.list_runs(ME, request(), Response(), client_id="c1", status=RunStatus.COMPLETED),
    "last changed": lambda: runs.list_runs(ME, request(), Response(), sort_by="updated_at"),
    "last changed by status": lambda: runs.list_runs(
        ME, request(), Response(), sort_by="updated_at", status=RunStatus.COMPLETED
    ),
    "last changed by client": lambda: runs.list_runs(ME, request(), Response(), sort_by="updated_at", client_id="c1"),
    "by status order": lambda: runs.list_runs(ME, request(), Response(), sort_by="status", client_id="c1"),
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
    assert (await runs.list_runs(ME, request(), Response())).total == LARGE
    # One call more where an hour's counts tell how many rows to pass over; fewer where the first page fills sooner.
    grown = {name: (small[name], large[name]) for name in large if large[name][0] > small[name][0] + 1}
    assert grown == {}
    assert max(calls for calls, _ in large.values()) <= 8
    assert max(rows for _, rows in large.values()) <= 600


async def test_a_fault_raises_one_alert_an_hour():
    before = await store.alerts.count()
    await asyncio.gather(*(fault("storage slow", f"took {n} s") for n in range(3)))
    await fault("storage slow", "again")
    await fault("other", "else")
    assert await store.alerts.count() == before + 2
    (alert,) = [a async for a in store.alerts.all({"type": AlertType.WARNING}) if a.metadata.get("cause") == "other"]
    assert (alert.message, alert.run_id, alert.client_id) == ("else", None, None)


async def test_stores_that_answer_slowly_raise_an_alert():
    before = await store.alerts.count()
    await upkeep.watch()
    assert await store.alerts.count() == before
    await upkeep.watch(slow=0.0)
    await upkeep.watch(slow=0.0)
    messages = [alert.message async for alert in store.alerts.all() if isinstance(alert, Alert)]
    assert sum(message.startswith("The database answers slowly") for message in messages) == 1


async def test_kept_answers_are_forgotten_after_a_day():
    old, young = datetime.now(UTC) - timedelta(hours=25), datetime.now(UTC) - timedelta(hours=23)
    for key, at in (("old", old), ("young", young)):
        await claims.insert(Claim(id=new_id(at), key=key, status=201))
    assert await idempotency.purge() == 1
    assert (await claims.find("key", "young")).status == 201


async def test_callers_that_stay_away_are_forgotten():
    for hours in (25, 1):
        await windows.insert(Window(id=new_id(), began=datetime.now(UTC) - timedelta(hours=hours)))
    assert await ratelimit.purge() == 1
    assert await windows.count() == 1


async def test_most_counted_requests_cost_no_storage_call(counting: Counting):
    limit = RateLimit("test", 100, 0)
    await limit.count("somebody else")
    counting.reset()
    verdicts = [await limit.count("caller") for _ in range(120)]
    assert sum(verdict.allowed for verdict in verdicts) == 100
    assert sum(counting.calls.values()) <= 40


async def test_a_store_that_is_away_lets_requests_pass(monkeypatch: pytest.MonkeyPatch):
    async def away(*_: object) -> None:
        raise tables.Unavailable("away")

    monkeypatch.setattr(windows, "update", away)
    verdict = await RateLimit("test", 1, 1).count("nobody")
    assert (verdict.allowed, verdict.headers) == (True, {})


async def test_a_new_minute_begins_with_the_first_request_after_the_last(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ratelimit, "MINUTE", 0.5)
    limit = RateLimit("short", 2, 0)
    assert [(await limit.count("caller")).allowed for _ in range(3)] == [True, True, False]
    deadline = asyncio.get_running_loop().time() + 10
    while not (await limit.count("caller")).allowed:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)
