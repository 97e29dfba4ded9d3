"""Health: figures that are those of the records, and an honest maintenance run."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.stepflow.records import Artifact, ArtifactType, Connection
from functions.stepflow.store import artifacts, connections
from infra.emulator.processes import free_ports
from infra.local.environment import Environment
from shared import blobs
from shared.jobs import ARTIFACTS
from tests.support.environments import another_host
from tests.support.stepflow import StepFlow


async def test_the_basic_health_check_names_every_service(stepflow: StepFlow):
    answer = await stepflow.http.get("/api/health")
    body = answer.json()
    assert (answer.status_code, body["success"], body["error"]) == (200, True, None)
    assert set(body["data"]) == {
        "status", "timestamp", "version", "uptime_seconds", "database", "websocket", "storage",
    }  # fmt: skip
    assert [body["data"][name] for name in ("status", "database", "websocket", "storage")] == [
        "healthy", "connected", "running", "accessible",
    ]  # fmt: skip


async def test_each_unreachable_service_is_named_and_the_status_is_503(stack: Environment, tmp_path: Path):
    (closed,) = free_ports(1)
    unreachable = {
        setting: re.sub(r"(?<=[:=])\d{4,5}(?=[/;])", str(closed), stack.app_settings[setting])
        for setting in ("RUNYARD_WEBPUBSUB", "AzureWebJobsStorage")
    }
    async with another_host(stack, tmp_path, **unreachable) as http:
        answer = await http.get("/stepflow/api/health")
    body = answer.json()
    assert (answer.status_code, body["success"], body["data"]["status"]) == (503, False, "unhealthy")
    found = {name: body["data"][name] for name in ("database", "websocket", "storage")}
    assert found == {"database": "disconnected", "websocket": "stopped", "storage": "inaccessible"}


async def test_the_status_has_plausible_figures(stepflow: StepFlow):
    data = await stepflow.data("/api/health/status")
    assert set(data) == {"system", "database", "websocket"}
    assert set(data["system"]) == {"cpu_percent", "memory_percent", "disk_usage_percent", "load_average"}
    assert 0 <= data["system"]["cpu_percent"] <= 100
    assert 0 < data["system"]["memory_percent"] < 100
    assert 0 < data["system"]["disk_usage_percent"] < 100
    assert len(data["system"]["load_average"]) == 3
    assert set(data["database"]) == {"status", "size_mb", "wal_mode", "cache_hit_ratio"}
    assert set(data["websocket"]) == {"status", "connected_clients", "total_messages"}
    assert data["websocket"]["status"] == "running"


async def figures(stepflow: StepFlow) -> dict[str, Any]:
    metrics = (await stepflow.data("/api/health/metrics"))["database"]
    status = await stepflow.data("/api/health/status")
    return {
        **metrics["table_counts"],
        "bytes": metrics["database_size_bytes"],
        "messages": status["websocket"]["total_messages"],
    }


async def test_figures_follow_the_records(stepflow: StepFlow):
    before = await figures(stepflow)
    found = await stepflow.run("echo STEP_START: a; echo STEP_START: b; printf 12345 > f; echo ARTIFACT: f")
    after = await figures(stepflow)
    assert {name: after[name] - before[name] for name in after} == {
        "executions": 1, "steps": 2, "artifacts": 1, "bytes": len("STEP_START: a\nSTEP_START: b\nARTIFACT: f\n") + 5,
        "messages": 5,
    }  # fmt: skip
    await stepflow.http.delete(f"/api/executions/{found['execution']['id']}")
    assert await figures(stepflow) == before


async def test_metrics_have_the_documented_keys(stepflow: StepFlow):
    data = await stepflow.data("/api/health/metrics")
    assert set(data) == {"timestamp", "database", "system", "uptime_seconds"}
    assert set(data["database"]) == {
        "database_size_bytes", "database_size_mb", "table_counts", "wal_mode", "cache_size", "storage_path",
    }  # fmt: skip
    assert set(data["system"]) == {"cpu_percent", "memory_percent", "disk_usage_percent", "open_connections"}


async def test_database_statistics_agree_with_the_lists(stepflow: StepFlow):
    found = (await stepflow.run("exit 1"))["execution"]
    data = await stepflow.data("/api/health/database")
    assert set(data) == {
        "total_executions", "running_executions", "completed_executions", "failed_executions", "total_steps",
        "total_artifacts", "database_size_mb", "oldest_execution", "newest_execution",
    }  # fmt: skip
    for status in ("running", "completed", "failed"):
        listed = await stepflow.data("/api/executions", status=status, limit=1)
        assert data[f"{status}_executions"] == listed["total_count"]
    assert data["total_executions"] == (await stepflow.data("/api/executions", limit=1))["total_count"]
    assert data["newest_execution"] == found["created_at"]
    assert data["oldest_execution"] <= data["newest_execution"]


async def test_optimize_lists_the_operations_it_performed(stepflow: StepFlow):
    answer = await stepflow.http.post("/api/health/optimize")
    data = answer.json()["data"]
    assert answer.status_code == 200
    assert set(data) == {"status", "timestamp", "operations_performed", "metrics"}
    assert data["status"] == "optimization_completed"
    assert data["operations_performed"]
    assert set(data["metrics"]) == {"timestamp", "database", "system", "uptime_seconds"}


@pytest.mark.usefixtures("app")
async def test_optimize_deletes_expired_artifacts_and_lost_connections(stepflow: StepFlow):
    execution_id = (await stepflow.run("echo x > f; echo ARTIFACT: f"))["execution"]["id"]
    made = [
        await artifacts.insert(
            Artifact(
                created_at=datetime.now(UTC) - timedelta(days=days),
                execution_id=execution_id,
                name=f"{days}",
                file_name="f",
                file_size=1,
                artifact_type=ArtifactType.OTHER,
                blob=f"stepflow.upload/old-{days}",
            )
        )
        for days in (29, 31, 400)
    ]
    for artifact in made:
        await blobs.put(ARTIFACTS, artifact.blob or "", b"x")
    await connections.insert(Connection(connection_id="lost", client_id=1))
    done = (await stepflow.http.post("/api/health/optimize")).json()["data"]["operations_performed"]
    assert done[0] == "Deleted 2 artifacts past their retention"
    assert done[1].endswith("deleted 1 of closed connections")
    left = await stepflow.data(f"/api/artifacts/execution/{execution_id}")
    assert [artifact["name"] for artifact in left["artifacts"]] == ["29", "f"]
    assert (await blobs.get(ARTIFACTS, made[0].blob or "")) == b"x"
    for artifact in made[1:]:
        with pytest.raises(blobs.BlobNotFound):
            await blobs.get(ARTIFACTS, artifact.blob or "")
    again = (await stepflow.http.post("/api/health/optimize")).json()["data"]["operations_performed"]
    assert again[0] == "Deleted 0 artifacts past their retention"
