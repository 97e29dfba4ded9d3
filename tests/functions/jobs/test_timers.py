"""Repairs after a crash between two steps, started by hand."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from functions.gateway.records import Run
from functions.gateway.store import runs
from functions.jobs.timers import reconcile
from infra.local.environment import Environment
from shared import tables
from shared.jobs import Exit, Job, JobKind, JobSpec
from shared.tables.ids import new_id
from shared.workflows import WorkflowClient
from tests.support.gateway import Gateway
from tests.support.groups import authorization, removed
from tests.support.waiting import eventually

LONG_AGO = timedelta(minutes=5)


async def upkeep(gateway: Gateway) -> None:
    assert (await gateway.http.post("/admin/functions/maintenance_minute", json={})).status_code == 202


def run_of(gateway: Gateway, age: timedelta) -> Run:
    at = datetime.now(UTC) - age
    options = {"timeout": 60, "max_tokens": 4096}
    return Run(id=new_id(at), client_id=gateway.id, prompt="echo found", model="bash", options=options, started_at=at)


async def test_a_record_without_a_workflow_is_started(gateway: Gateway, app: None):
    run = await runs.insert(run_of(gateway, LONG_AGO))
    await upkeep(gateway)
    done = await gateway.reach(run.id)
    assert (done["status"], done["result"]) == ("completed", "found\n")


async def test_a_young_record_without_a_workflow_is_left_alone(gateway: Gateway, app: None):
    young = await runs.insert(run_of(gateway, timedelta()))
    old = await runs.insert(run_of(gateway, LONG_AGO))
    await upkeep(gateway)
    await gateway.reach(old.id)
    assert (await gateway.get(young.id))["status"] == "pending"
    assert (await gateway.http.delete(f"/gateway/api/runs/{young.id}")).status_code == 200


async def test_a_run_whose_workflow_was_terminated_fails(stack: Environment, gateway: Gateway, app: None):
    run = run_of(gateway, LONG_AGO)
    run.prompt = "sleep 600"
    await runs.insert(run)
    await upkeep(gateway)
    await gateway.reach(run.id, "running")
    management = f"{stack.url}/runtime/webhooks/durabletask/instances/{run.id}"
    assert (await gateway.http.post(f"{management}/terminate?reason=test")).status_code == 202
    await upkeep(gateway)
    done = await gateway.reach(run.id)
    assert (done["status"], done["error"]) == ("failed", "The container stopped without reporting an exit code")
    await upkeep(gateway)
    await eventually(lambda: removed(stack, run.id))


async def test_a_container_without_a_job_is_removed_and_raises_an_alert(stack: Environment, gateway: Gateway):
    job_id = new_id()
    url = (
        f"{stack.app_settings['RUNYARD_ARM_ENDPOINT']}/subscriptions/00000000-0000-0000-0000-000000000000"
        f"/resourceGroups/runyard/providers/Microsoft.ContainerInstance/containerGroups/job-{job_id}"
        "?api-version=2023-05-01"
    )
    container = {
        "name": "main",
        "properties": {
            "image": stack.app_settings["RUNYARD_RUNNER_IMAGE"],
            "command": ["sleep", "600"],
            "resources": {"requests": {"cpu": 1, "memoryInGB": 1}},
        },
    }
    body = {
        "location": "westeurope",
        "tags": {"runyard-job": job_id, "runyard-kind": "gateway.run"},
        "properties": {"osType": "Linux", "restartPolicy": "Never", "containers": [container]},
    }
    async with aiohttp.ClientSession(headers=authorization(stack)) as session, session.put(url, json=body) as answer:
        assert answer.status == 201, await answer.text()
    await upkeep(gateway)
    await eventually(lambda: removed(stack, job_id))

    async def alerted() -> bool:
        alerts = (await gateway.http.get("/gateway/api/alerts?type=warning")).json()["alerts"]
        return any(job_id in alert["message"] for alert in alerts)

    await eventually(alerted)


class BrokenKind(JobKind):
    """A kind whose records cannot be read."""

    name = "tests.broken"

    async def prepare(self, job_id: str) -> JobSpec | None: ...

    async def ended(self, job: Job, end: Exit) -> None: ...

    async def unfinished(self) -> AsyncIterator[str]:
        raise tables.StorageUnavailable("the records cannot be read")
        yield


class UnstartedKind(BrokenKind):
    """A kind whose two jobs have no workflow."""

    name = "tests.unstarted"
    ids = ("first", "second")

    async def unfinished(self) -> AsyncIterator[str]:
        for job_id in self.ids:
            yield job_id


class FailingOnce(WorkflowClient):
    """Starts workflows; the first start fails."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def status(self, instance_id: str) -> str | None:
        return None

    async def start(self, name: str, instance_id: str, value: Any = None) -> None:
        self.asked.append((instance_id, value))
        if len(self.asked) == 1:
            raise RuntimeError("the workflow cannot be started")


async def test_a_failure_with_one_job_or_kind_does_not_stop_the_others(
    app: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("shared.jobs.kinds", {})
    monkeypatch.setattr("functions.jobs.timers.kinds", {kind.name: kind() for kind in (BrokenKind, UnstartedKind)})
    reported: list[tuple[str, str]] = []

    async def report(cause: str, message: str) -> None:
        reported.append((cause, message))

    monkeypatch.setattr("shared.faults.reporters", [report])
    workflows = FailingOnce()
    await reconcile(workflows)
    assert workflows.asked == [("first", "tests.unstarted"), ("second", "tests.unstarted")]
    assert "upkeep of jobs: jobs of the kind tests.broken failed" in caplog.text
    assert "upkeep of jobs: tests.unstarted first failed" in caplog.text
    assert reported == [
        (
            "sweep: upkeep of jobs",
            "upkeep of jobs failed for 2 items, first for jobs of the kind tests.broken (StorageUnavailable)",
        )
    ]
