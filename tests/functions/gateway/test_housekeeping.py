"""What routes share, called directly: faults, purges, limits at their edges."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from functions.gateway import cleanup, store, timers
from functions.gateway.raise_alert import fault
from functions.gateway.records import Alert, AlertType
from shared import api_keys, tables
from shared.api_keys import Client, client_of, clients, key_hash
from shared.http import idempotency, ratelimit
from shared.http.idempotency import Claim, claims
from shared.http.ratelimit import RateLimit, Window, windows
from shared.tables.ids import new_id
from tests.support.records import Counting

pytestmark = pytest.mark.usefixtures("account")


class TestLastActive:
    async def test_the_time_of_the_last_request_is_written_at_most_once_a_minute(self, counting: Counting):
        long_ago = datetime.now(UTC) - timedelta(minutes=2)
        await clients.insert(Client(name="sleepy", key_hash=key_hash("sk-sleepy"), last_active=long_ago))
        counting.reset()
        for _ in range(5):
            found = await client_of("sk-sleepy")
            assert found
            assert datetime.now(UTC) - found.last_active < timedelta(minutes=1)
        assert counting.calls["batch"] == 1

    async def test_a_known_key_costs_no_storage_call(self, counting: Counting):
        await clients.insert(Client(name="known", key_hash=key_hash("sk-known")))
        await client_of("sk-known")
        counting.reset()
        assert await client_of("sk-known")
        assert sum(counting.calls.values()) == 0

    async def test_a_client_deleted_during_the_request_is_not_found(self, monkeypatch: pytest.MonkeyPatch):
        long_ago = datetime.now(UTC) - timedelta(minutes=2)
        client = await clients.insert(Client(name="deleted", key_hash=key_hash("sk-deleted"), last_active=long_ago))
        monkeypatch.setitem(api_keys._callers._seen, key_hash("sk-deleted"), (client, float("inf")))
        await clients.delete(client.id)
        assert await client_of("sk-deleted") is None


async def test_a_repeated_fault_raises_one_alert_an_hour():
    before = await store.alerts.count()
    await asyncio.gather(*(fault("storage slow", f"took {n} s") for n in range(3)))
    await fault("storage slow", "again")
    await fault("other", "else")
    assert await store.alerts.count() == before + 2
    (alert,) = [a async for a in store.alerts.all({"type": AlertType.WARNING}) if a.metadata.get("cause") == "other"]
    assert (alert.message, alert.run_id, alert.client_id) == ("else", None, None)


async def test_slow_storage_raises_an_alert():
    before = await store.alerts.count()
    await timers.watch()
    assert await store.alerts.count() == before
    await timers.watch(slow=0.0)
    await timers.watch(slow=0.0)
    messages = [alert.message async for alert in store.alerts.all() if isinstance(alert, Alert)]
    assert sum(message.startswith("The database is slow") for message in messages) == 1


async def test_kept_responses_are_deleted_after_a_day():
    old, young = datetime.now(UTC) - timedelta(hours=25), datetime.now(UTC) - timedelta(hours=23)
    for key, at in (("old", old), ("young", young)):
        await claims.insert(Claim(id=new_id(at), key=key, status=201))
    assert await idempotency.purge() == 1
    assert (await claims.find("key", "young")).status == 201


async def test_rate_windows_of_inactive_callers_are_deleted():
    for hours in (25, 1):
        await windows.insert(Window(id=new_id(), began=datetime.now(UTC) - timedelta(hours=hours)))
    assert await ratelimit.purge() == 1
    assert await windows.count() == 1


async def test_most_counted_requests_cost_no_storage_call(counting: Counting):
    limit = RateLimit("test", 100, 0)
    await limit.count("another caller")
    counting.reset()
    verdicts = [await limit.count("caller") for _ in range(120)]
    assert sum(verdict.allowed for verdict in verdicts) == 100
    assert sum(counting.calls.values()) <= 40


async def test_requests_pass_the_rate_limit_when_storage_is_unreachable(monkeypatch: pytest.MonkeyPatch):
    async def unreachable(*_: object) -> None:
        raise tables.StorageUnavailable("unreachable")

    monkeypatch.setattr(windows, "update", unreachable)
    verdict = await RateLimit("test", 1, 1).count("caller")
    assert (verdict.allowed, verdict.headers) == (True, {})


async def test_a_new_minute_begins_with_the_first_request_after_the_last(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ratelimit, "MINUTE", 0.5)
    limit = RateLimit("short", 2, 0)
    assert [(await limit.count("caller")).allowed for _ in range(3)] == [True, True, False]
    deadline = asyncio.get_running_loop().time() + 10
    while not (await limit.count("caller")).allowed:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)


class TestTurns:
    @pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
    async def test_each_record_is_seen_once_even_when_several_share_a_millisecond(self, size: int):
        start = datetime(2024, 1, 1, tzinfo=UTC)
        moments = [start + timedelta(milliseconds=number // 3, microseconds=number) for number in range(20)]
        records = [Alert(created_at=at, type=AlertType.INFO, message="x") for at in reversed(moments)]

        async def before(moment: datetime | None) -> AsyncIterator[Alert]:
            for record in records:
                if moment is None or record.created_at < moment:
                    yield record

        seen: list[str] = []
        moment, turns = None, 0
        while True:
            found, following = await cleanup._batch(before(moment), size)
            seen += [record.id for record in found]
            turns += 1
            if following is None:
                break
            moment = datetime.fromisoformat(following)
        assert seen == [record.id for record in records]
        assert turns <= 20 / size + 1
