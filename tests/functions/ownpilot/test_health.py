"""Health: honest about storage and containers, at both of its addresses."""

import asyncio

import httpx
import pytest

from functions.ownpilot import health
from shared.health import CONTAINERS, RECORDS, Checks, Probe
from tests.support.environments import connected
from tests.support.ownpilot import data_of

BOTH = pytest.mark.parametrize("base", ["/ownpilot/health", "/ownpilot/api/v1/health"])


@BOTH
async def test_all_is_well_while_everything_answers(http: httpx.AsyncClient, base: str):
    found = data_of(await http.get(base))
    assert found["status"] == "healthy"
    assert {check["name"]: check["status"] for check in found["checks"]} == dict.fromkeys(
        ("core", "database", "docker"), "pass"
    )
    assert found["database"] == {"type": "azure-tables", "connected": True, "host": "devstoreaccount1"}
    for probe in ("live", "ready"):
        answer = await http.get(f"{base}/{probe}")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@BOTH
async def test_what_can_be_told_of_images(http: httpx.AsyncClient, base: str):
    pulled = data_of(await http.post(f"{base}/sandbox/pull-images"))["images"]
    assert pulled == {name: {"success": True} for name in ("python", "javascript", "shell")}
    first = data_of(await http.get(f"{base}/sandbox"))
    assert (first["dockerAvailable"], first["imagesAvailable"]["alpine:latest"]) == (True, True)
    again = data_of(await http.get(f"{base}/sandbox", params={"refresh": "true"}))
    assert again["lastChecked"] >= first["lastChecked"] and "error" not in again
    assert data_of(await http.post(f"{base}/sandbox/reset"))["message"]


async def test_whoever_asks_again_and_again_causes_one_check(monkeypatch: pytest.MonkeyPatch):
    asked = 0

    async def call() -> None:
        nonlocal asked
        asked += 1

    probe = Probe(call)
    monkeypatch.setattr(health, "CONTAINERS", probe)
    monkeypatch.setattr(health, "checks", Checks({"docker": probe}))
    for _ in range(3):
        await health.reset_sandbox()
        await health.get_sandbox(refresh=True)
    assert asked == 1


async def test_without_storage_and_containers_it_is_degraded_and_not_ready():
    nowhere = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;" + ";".join(
        f"{kind}Endpoint=http://127.0.0.1:9/a" for kind in ("Table", "Blob", "Queue")
    )
    async with connected(AzureWebJobsStorage=nowhere, RUNYARD_ARM_ENDPOINT="http://127.0.0.1:9"):
        RECORDS.forget()
        CONTAINERS.forget()
        response = httpx.Response(200)
        found, state, pulled, sandbox = await asyncio.gather(
            health.get_health(), health.get_readiness(response), health.pull_images(), health.get_sandbox()  # type: ignore[arg-type]
        )  # fmt: skip
        RECORDS.forget()
        CONTAINERS.forget()
    assert {check.name: check.status for check in found.checks} == {
        "core": "pass",
        "database": "fail",
        "docker": "warn",
    }
    assert (found.status, found.database.connected, found.sandbox.code_execution_enabled) == ("degraded", False, False)
    assert (response.status_code, state.status) == (503, "unavailable")
    assert [pull.success for pull in pulled.images.values()] == [False] * 3 and sandbox.error
