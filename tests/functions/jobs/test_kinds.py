"""Kinds of jobs: what a new one must write, and what happens to jobs of a kind that an app does not serve."""

import asyncio

import httpx
import pytest

from functions.stepflow.job import KIND
from functions.stepflow.records import Execution
from functions.stepflow.store import executions
from infra.local.environment import Environment
from shared import containers
from shared.container_groups import ContainerSpec, GroupSpec
from shared.jobs import (
    WORKFLOW,
    Exit,
    Job,
    JobKind,
    JobSpec,
    JobState,
    Printed,
    UnknownKind,
    group_name,
    jobs,
    kind_of,
    kinds,
    new_token,
)
from shared.tables.ids import new_id
from tests.support.environments import StrictHost
from tests.support.waiting import eventually

REFUSAL = f"this app serves no jobs of the kind {KIND}: its API is not in RUNYARD_APIS"


class SmallestKind(JobKind):
    """What a new kind must write."""

    name = "tests.smallest"

    async def prepare(self, job_id: str) -> JobSpec | None:
        return JobSpec(["true"], 60)

    async def ended(self, job: Job, end: Exit) -> None: ...


class TestJobKind:
    async def test_the_defaults_let_a_job_run_to_its_end(self):
        kind, job = SmallestKind(), Job(kind=SmallestKind.name, token_hash="", timeout=60)
        await kind.started(job)
        await kind.output(job, 0, b"ignored", Printed([]))
        await kind.orphaned(job.id)
        assert await kind.wanted(job.id)
        assert [job_id async for job_id in kind.unfinished()] == []

    def test_prepare_and_ended_have_no_default(self):
        with pytest.raises(TypeError, match=r"ended.*prepare"):
            JobKind()  # type: ignore[abstract]

    def test_a_kind_that_is_not_served_is_refused_with_its_name(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(kinds, SmallestKind.name, kind := SmallestKind())
        assert kind_of(SmallestKind.name) is kind
        with pytest.raises(UnknownKind, match=r"^this app serves no jobs of the kind tests\.absent: its API is not in"):
            kind_of("tests.absent")


class TestUnservedKind:
    async def test_a_push_of_its_runner_is_503_and_can_be_repeated_on_another_app(
        self, stack: Environment, http: httpx.AsyncClient, strict_host: StrictHost, app: None
    ):
        token, hashed = new_token()
        execution = await executions.insert(Execution(name="by hand", command="true"))
        await jobs.insert(Job(id=execution.id, kind=KIND, token_hash=hashed, timeout=600))
        headers = {"Authorization": f"Bearer {token}"}
        for path, body in (("events?offset=0", b"line\n"), ("exit", b'{"size": 0}')):
            answer = await strict_host.http.post(
                f"/jobs/{execution.id}/{path}", content=body, headers={**headers, "Content-Type": "application/json"}
            )
            assert (answer.status_code, answer.json()) == (503, {"error": REFUSAL})
            assert answer.headers["retry-after"] == "30"
        job = await jobs.get(execution.id)
        assert (job.state, job.size, job.exit) == (JobState.CREATED, 0, None)
        answer = await http.post(f"/jobs/{execution.id}/events?offset=0", content=b"line\n", headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"offset": 5, "stop": False})

    async def test_its_workflow_fails_with_the_reason_in_the_log_and_changes_nothing(
        self, strict_host: StrictHost, app: None
    ):
        job = await jobs.insert(Job(id=new_id(), kind=KIND, token_hash="", timeout=600))
        management = "/runtime/webhooks/durabletask"
        start = f"{management}/orchestrators/{WORKFLOW}/{job.id}"
        assert (await strict_host.http.post(start, json=KIND)).status_code == 202

        async def logged() -> bool:
            return REFUSAL in await asyncio.to_thread(strict_host.log.read_text)

        await eventually(logged)
        terminate = f"{management}/instances/{job.id}/terminate?reason=test"
        assert (await strict_host.http.post(terminate)).status_code == 202
        assert (await jobs.get(job.id)).state is JobState.CREATED
        assert await containers.state(job.group) is None

    async def test_its_containers_are_kept_and_logged_once(
        self, stack: Environment, http: httpx.AsyncClient, app: None
    ):
        groups = [group_name(new_id()) for _ in range(2)]
        for group in groups:  # a kind that no app serves, so that the timer of the shared app leaves them too
            tags = {"runyard-job": group.removeprefix("job-"), "runyard-kind": "tests.absent"}
            image = stack.app_settings["RUNYARD_RUNNER_IMAGE"]
            sleeper = ContainerSpec("main", image, ["sleep", "600"])
            await containers.create(GroupSpec(group, [sleeper], tags=tags))
        log = stack.state / "logs/host.log"
        for _ in range(2):
            assert (await http.post("/admin/functions/maintenance_minute", json={})).status_code == 202

        async def lines() -> list[str]:
            text = await asyncio.to_thread(log.read_text)
            return [line for line in text.splitlines() if "tests.absent" in line]

        (line,) = await eventually(lines)
        assert "leaving container group" in line
        await asyncio.sleep(1)  # the second sweep
        assert len(await lines()) == 1
        for group in groups:
            assert await containers.state(group) is not None
            await containers.remove(group)
