"""Health, system information, metrics and the cleanup."""

import asyncio
import socket
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from infra.local.environment import Environment
from tests.support.environments import StrictHost, another_host
from tests.support.gateway import Gateway
from tests.support.waiting import eventually


class TestHealth:
    async def test_the_gateway_is_healthy(self, http: httpx.AsyncClient):
        answer = await http.get("/gateway/health")
        body = answer.json()
        assert abs(datetime.fromisoformat(body.pop("timestamp")) - datetime.now(UTC)).total_seconds() < 60
        assert (answer.status_code, body) == (
            200, {"status": "healthy", "database": "connected", "version": "1.1.0"},
        )  # fmt: skip

    async def test_the_gateway_is_ready(self, http: httpx.AsyncClient):
        answer = await http.get("/gateway/health/ready")
        checks = {"database": "ok", "storage": "ok", "external_services": "ok"}
        assert (answer.status_code, answer.json()) == (200, {"ready": True, "checks": checks})

    async def test_the_gateway_is_alive(self, http: httpx.AsyncClient):
        answer = await http.get("/gateway/health/live")
        assert answer.status_code == 200
        assert set(answer.json()) == {"alive", "uptime"}
        assert answer.json()["alive"] is True
        assert isinstance(answer.json()["uptime"], int)

    async def test_services_that_accept_connections_and_never_answer_are_reported(
        self, stack: Environment, tmp_path_factory: pytest.TempPathFactory
    ):
        # A port that takes connections and never answers: worse than one that refuses them.
        with socket.create_server(("127.0.0.1", 0), backlog=1000) as silent:
            port = silent.getsockname()[1]
            account = stack.app_settings["AzureWebJobsStorage"]
            for name in ("blob", "table"):
                account = account.replace(f":{stack.ports[name]}/", f":{port}/")
            state = tmp_path_factory.mktemp("unreachable")
            silent_services = {"AzureWebJobsStorage": account, "RUNYARD_ARM_ENDPOINT": f"http://127.0.0.1:{port}"}
            async with another_host(stack, state, **silent_services) as http:
                health, ready, live = await asyncio.gather(
                    *(http.get(f"/gateway/health{path}") for path in ("", "/ready", "/live"))
                )
        assert (health.status_code, health.json()["status"], health.json()["database"]) == (
            503, "unhealthy", "disconnected",
        )  # fmt: skip
        unavailable = dict.fromkeys(("database", "storage", "external_services"), "unavailable")
        assert (ready.status_code, ready.json()) == (503, {"ready": False, "checks": unavailable})
        assert live.status_code == 200


class TestInfo:
    async def test_system_info_has_plausible_figures(self, gateway: Gateway):
        info = (await gateway.http.get("/gateway/api/system/info")).json()
        assert set(info) == {"version", "environment", "node_version", "uptime", "memory", "cpu"}
        assert info["version"] == "1.1.0"
        assert info["node_version"].startswith("v3.")
        assert 10 < info["memory"]["used"] < info["memory"]["total"]
        assert info["memory"]["unit"] == "MB"
        assert 0 <= info["cpu"]["usage"] <= 100
        assert info["cpu"]["cores"] >= 1


class TestMetrics:
    async def test_metrics_are_in_the_format_of_prometheus(self, gateway: Gateway):
        await gateway.reach((await gateway.run("true"))["id"])
        answer = await gateway.http.get("/gateway/metrics", headers={"Authorization": ""})
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        samples = parse(answer.text)
        total = (await gateway.http.get("/gateway/api/dashboard/stats")).json()
        assert samples['runyard_runs{status="completed"}'] <= total["completed_runs"]
        assert samples['runyard_runs{status="completed"}'] >= 1
        assert samples["runyard_run_seconds_total"] > 0
        assert samples["runyard_queue_age_seconds"] >= 0
        assert samples['runyard_http_requests_total{method="POST",route="/api/runs",status="201"}'] >= 1
        assert {"runyard_tokens_total", "runyard_cost_usd_total", "runyard_uptime_seconds"} <= samples.keys()

    async def test_a_setting_makes_metrics_require_a_key(self, strict_host: StrictHost, gateway: Gateway):
        assert (await strict_host.http.get("/gateway/metrics")).status_code == 401
        answer = await strict_host.http.get("/gateway/metrics", headers=gateway.http.headers)
        assert answer.status_code == 200


def parse(text: str) -> dict[str, float]:
    """Samples by name and labels; fails on a line that is neither sample nor comment, and on samples without a type."""
    samples: dict[str, float] = {}
    types: set[str] = set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            types.add(line.split()[2])
        elif not line.startswith("# HELP "):
            name, _, value = line.rpartition(" ")
            assert name.partition("{")[0] in types
            assert name not in samples
            samples[name] = float(value)
    assert text.endswith("\n")
    return samples


class TestCleanup:
    async def clean(self, gateway: Gateway, **body: Any) -> dict[str, Any]:
        answer = await gateway.http.post("/gateway/api/system/cleanup", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def test_young_records_are_kept(self, gateway: Gateway):
        nothing = {"deleted_runs": 0, "deleted_artifacts": 0, "deleted_alerts": 0, "space_freed": "0MB"}
        assert await self.clean(gateway) == nothing
        assert (await gateway.http.post("/gateway/api/system/cleanup")).json() == nothing

    @pytest.mark.parametrize(
        "body",
        [{"older_than_days": -1}, {"older_than_days": 1.5}, {"older_than_days": "7"},
         {"older_than_days": True}, {"dry_run": "yes"}, {"dry_run": 1}, []],
    )  # fmt: skip
    async def test_an_invalid_body_is_refused(self, gateway: Gateway, body: object):
        answer = await gateway.http.post("/gateway/api/system/cleanup", json=body)
        assert (answer.status_code, list(answer.json())) == (400, ["error"])

    @pytest.mark.parametrize("days", [20_800, 36_500, 10**9, 10**30])
    async def test_an_age_before_all_records_deletes_nothing(self, gateway: Gateway, days: int):
        failed = await gateway.run("exit 1")
        await gateway.reach(failed["id"], "failed")
        alerts = f"/gateway/api/alerts?run_id={failed['id']}"

        async def raised() -> int:
            return (await gateway.http.get(alerts)).json()["total"]

        await eventually(raised)
        nothing = {"deleted_runs": 0, "deleted_artifacts": 0, "deleted_alerts": 0, "space_freed": "0MB"}
        for dry_run in (True, False):
            assert await self.clean(gateway, older_than_days=days, dry_run=dry_run) == nothing
        assert await raised() == 1
