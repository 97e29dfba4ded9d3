"""The dashboard and the models."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from infra.local.environment import Environment
from tests.support.environments import StrictHost
from tests.support.gateway import Gateway, register
from tests.support.values import UNKNOWN
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
async def owner(stack: Environment) -> AsyncIterator[Gateway]:
    """A client with a completed, a failed, a cancelled and a running run."""
    owner = await register(stack)
    done = await owner.reach((await owner.run("sleep 1"))["id"])
    failed = (await owner.run("false"))["id"]
    await owner.reach(failed)

    async def alerts() -> int:
        return (await get(owner, "alerts", run_id=failed))["total"]

    await eventually(alerts)
    stopped = await owner.run("sleep 300")
    await owner.http.delete(f"/gateway/api/runs/{stopped['id']}")
    await owner.http.post(f"/gateway/api/runs/{done['id']}/artifacts", files={"file": ("a", b"x")})
    running = await owner.run("sleep 300")
    yield owner
    await owner.http.delete(f"/gateway/api/runs/{running['id']}")
    await owner.http.aclose()


async def get(gateway: Gateway, path: str, **params: Any) -> dict[str, Any]:
    answer = await gateway.http.get(f"/gateway/api/{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestStats:
    async def test_statistics_of_one_client(self, owner: Gateway):
        stats = await get(owner, "dashboard/stats", client_id=owner.id)
        assert 0.5 < stats.pop("avg_execution_time") < 30  # a second's sleep, from the first word of its container on
        assert stats.pop("total_clients") >= 1
        assert stats == {
            "total_runs": 4, "active_runs": 1, "completed_runs": 1, "failed_runs": 1, "cancelled_runs": 1,
            "total_artifacts": 1, "unread_alerts": 1, "total_tokens_used": 0,
        }  # fmt: skip

    async def test_statistics_of_all_clients_agree_with_the_lists(self, owner: Gateway):
        stats = await get(owner, "dashboard/stats")
        parts = ("active_runs", "completed_runs", "failed_runs", "cancelled_runs")
        assert stats["total_runs"] == sum(stats[part] for part in parts) >= 4
        assert stats["total_artifacts"] == (await get(owner, "artifacts"))["total"]
        assert stats["total_clients"] == (await get(owner, "clients"))["total"]
        assert stats["unread_alerts"] == (await get(owner, "alerts"))["unread_count"]

    async def test_statistics_of_an_unknown_client_are_zero(self, owner: Gateway):
        stats = await get(owner, "dashboard/stats", client_id=UNKNOWN)
        del stats["total_clients"]
        assert set(stats.values()) == {0}


class TestRecent:
    async def test_runs_and_alerts_are_listed_newest_first(self, owner: Gateway):
        recent = await get(owner, "dashboard/recent", limit=3)
        assert [run["id"] for run in recent["runs"]] == [r["id"] for r in (await get(owner, "runs", limit=3))["runs"]]
        assert set(recent["runs"][0]) == {"id", "status", "prompt", "started_at", "completed_at"}
        assert set(recent["alerts"][0]) == {"id", "type", "message", "created_at"}

    async def test_the_type_selects_runs_or_alerts(self, owner: Gateway):
        assert (await get(owner, "dashboard/recent", type="runs"))["alerts"] == []
        assert (await get(owner, "dashboard/recent", type="alerts"))["runs"] == []

    @pytest.mark.parametrize("query", ["type=x", "limit=0"])
    async def test_an_invalid_query_is_refused(self, gateway: Gateway, query: str):
        assert (await gateway.http.get(f"/gateway/api/dashboard/recent?{query}")).status_code == 400


class TestMetrics:
    @pytest.mark.parametrize(
        ("period", "length", "width", "buckets"),
        [
            ("hour", timedelta(hours=1), timedelta(minutes=5), (12, 13)),
            ("day", timedelta(days=1), timedelta(hours=1), (24, 25)),
            ("week", timedelta(days=7), timedelta(days=1), (7, 8)),
            ("month", timedelta(days=30), timedelta(days=1), (30, 31)),
        ],
    )
    async def test_a_period_ends_at_the_present(
        self, owner: Gateway, period: str, length: timedelta, width: timedelta, buckets: tuple[int, int]
    ):
        metrics = await get(owner, "dashboard/metrics", period=period)
        start, end = (datetime.fromisoformat(metrics[name]) for name in ("start_date", "end_date"))
        assert metrics["period"] == period
        assert end - start == length
        assert abs(datetime.now(UTC) - end) < timedelta(minutes=1)
        times = [datetime.fromisoformat(bucket["timestamp"]) for bucket in metrics["runs_over_time"]]
        assert len(times) in buckets
        assert {later - earlier for earlier, later in pairwise(times)} == {width}
        assert times[0] <= start
        assert times[-1] < end <= times[-1] + width
        total = (await get(owner, "dashboard/stats"))["total_runs"]
        counted = sum(bucket["count"] for bucket in metrics["runs_over_time"])
        assert counted == sum(metrics["runs_by_status"].values()) == total

    async def test_the_default_period_is_a_day(self, owner: Gateway):
        metrics = await get(owner, "dashboard/metrics")
        assert metrics["period"] == "day"
        assert set(metrics["runs_by_status"]) == {"pending", "running", "completed", "failed", "cancelled"}
        assert metrics["avg_execution_time"] == (await get(owner, "dashboard/stats"))["avg_execution_time"]

    async def test_given_dates_override_the_period(self, owner: Gateway):
        dates = {"start_date": "2024-01-01T00:00:00Z", "end_date": "2024-01-02T00:00:00Z"}
        metrics = await get(owner, "dashboard/metrics", period="hour", **dates)
        assert {name: metrics[name] for name in dates} == dates
        assert len(metrics["runs_over_time"]) == 288
        assert sum(metrics["runs_by_status"].values()) == metrics["tokens_used"] == metrics["avg_execution_time"] == 0

    async def test_a_single_date_is_completed_by_the_period(self, owner: Gateway):
        metrics = await get(owner, "dashboard/metrics", end_date="2024-01-02")
        assert metrics["start_date"] == "2024-01-01T00:00:00Z"
        start = (datetime.now(UTC) - timedelta(hours=3)).isoformat()
        assert len((await get(owner, "dashboard/metrics", start_date=start))["runs_over_time"]) in (3, 4)

    async def test_an_empty_range_has_one_bucket(self, owner: Gateway):
        dates = {"start_date": "2024-01-01T00:30:00Z", "end_date": "2024-01-01T00:30:00Z"}
        assert len((await get(owner, "dashboard/metrics", **dates))["runs_over_time"]) == 1

    @pytest.mark.parametrize(
        "query",
        ["period=year", "start_date=x", "end_date=soon", "start_date=2024-01-02&end_date=2024-01-01",
         "start_date=2001-01-01", "period=hour&start_date=2024-01-01&end_date=2024-12-01",
         "end_date=0001-01-01", "end_date=9999-12-31T23:59:59-14:00", "start_date="],
    )  # fmt: skip
    async def test_an_invalid_range_is_refused(self, gateway: Gateway, query: str):
        answer = await gateway.http.get(f"/gateway/api/dashboard/metrics?{query}")
        assert (answer.status_code, list(answer.json())) == (400, ["error"])


class TestModels:
    async def test_the_list_has_the_documented_members(self, gateway: Gateway):
        models = await get(gateway, "models")
        assert models["total"] == len(models["models"])
        documented = [model for model in models["models"] if model["provider"] == "anthropic"]
        assert documented == [
            {"id": "claude-sonnet-4-20250514", "name": "Claude Sonnet 4", "provider": "anthropic",
             "context_length": 200000, "max_tokens": 8192, "supports_vision": False, "supports_tools": True},
            {"id": "claude-opus-4-20250514", "name": "Claude Opus 4", "provider": "anthropic",
             "context_length": 200000, "max_tokens": 4096, "supports_vision": False, "supports_tools": True},
        ]  # fmt: skip

    @pytest.mark.parametrize(("provider", "count"), [("anthropic", 2), ("custom", 2), ("openai", 0)])
    async def test_models_are_filtered_by_provider(self, gateway: Gateway, provider: str, count: int):
        models = await get(gateway, "models", provider=provider)
        assert (len(models["models"]), models["total"]) == (count, count)
        assert {model["provider"] for model in models["models"]} <= {provider}

    async def test_an_unknown_provider_is_refused(self, gateway: Gateway):
        assert (await gateway.http.get("/gateway/api/models?provider=acme")).status_code == 400

    async def test_a_model_shows_its_prices(self, gateway: Gateway):
        model = await get(gateway, "models/claude-sonnet-4-20250514")
        assert (model["input_cost"], model["output_cost"]) == (3.0, 15.0)
        assert model["description"] == "Balanced model for most tasks"

    @pytest.mark.parametrize(
        ("model", "without_key"), [("claude-opus-4-20250514", False), ("python", True), ("bash", True)]
    )
    async def test_a_model_is_available_when_it_can_run(
        self, gateway: Gateway, strict_host: StrictHost, model: str, without_key: bool
    ):
        assert (await get(gateway, f"models/{model}"))["available"] is True
        answer = await strict_host.http.get(f"/gateway/api/models/{model}", headers=gateway.http.headers)
        assert answer.json()["available"] is without_key
