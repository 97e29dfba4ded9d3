"""After any end of its workflow a job's container is removed, and a run whose workflow did not start runs later."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.durable_functions as df
import pytest

import function_app  # noqa: F401 - registers the kinds of jobs
from functions.gateway.job import KIND
from functions.gateway.records import Run
from functions.gateway.runs import _queue
from functions.gateway.store import runs
from functions.jobs import activities
from functions.jobs.timers import reconcile
from functions.stepflow.access import Identity
from functions.stepflow.executions import create_execution
from functions.stepflow.executions.bodies import NewExecution
from functions.stepflow.store import executions
from infra.local.environment import Environment
from shared import containers
from shared.container_groups import ContainerPhase, ContainerSpec, ContainerStatus, GroupSpec, GroupStatus
from shared.jobs import CANCEL, Job, JobState, group_name, jobs
from shared.tables.ids import new_id
from shared.workflows import WorkflowClient
from tests.support.environments import StrictHost
from tests.support.gateway import Gateway
from tests.support.groups import groups, removed
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("app")


class Workflows(WorkflowClient):
    """Workflows that are all in one state; those of other jobs run."""

    def __init__(self, job_id: str = "", status: str | None = None):
        self.job_id, self.state = job_id, status
        self.signals: list[tuple[str, str]] = []

    async def status(self, instance_id: str) -> str | None:
        return self.state if instance_id == self.job_id else "Running"

    async def signal(self, instance_id: str, event: str, value: Any = None) -> bool:
        self.signals.append((instance_id, event))
        return True

    async def start(self, name: str, instance_id: str, value: Any = None) -> None:
        raise ConnectionError("Durable Functions do not answer")


async def run_with_container(stack: Environment, gateway: Gateway, *, cancelled: bool) -> Run:
    """A run whose container exists, without a workflow that knows of it."""
    at = datetime.now(UTC) - timedelta(seconds=30)
    run = Run(id=new_id(at), client_id=gateway.id, prompt="", model="bash", options={"timeout": 60}, started_at=at)
    await runs.insert(run)
    await jobs.insert(Job(id=run.id, kind=KIND, token_hash="", timeout=60))
    tags = {"runyard-job": run.id, "runyard-kind": KIND}
    sleeper = ContainerSpec("main", stack.app_settings["RUNYARD_RUNNER_IMAGE"], ["sleep", "600"])
    await containers.create(GroupSpec(group_name(run.id), [sleeper], tags=tags))
    if cancelled:
        await runs.update(run.id, Run.cancel)
    return run


async def test_a_repeat_of_the_creation_after_a_cancel_closes_the_job_that_an_earlier_attempt_has_begun(
    stack: Environment, gateway: Gateway
):
    run = await run_with_container(stack, gateway, cancelled=True)
    assert await activities.job_create._function.get_user_function()({"id": run.id, "kind": KIND}) is None
    assert (await jobs.get(run.id)).state is JobState.ENDED, "pushes would still be taken"
    await activities.job_remove._function.get_user_function()({"id": run.id, "kind": KIND})
    await eventually(lambda: removed(stack, run.id))


@pytest.mark.parametrize("status", ["Completed", "Failed", "Terminated", None])
async def test_the_upkeep_removes_the_container_of_a_cancelled_run_after_any_end_of_its_workflow(
    stack: Environment, gateway: Gateway, status: str | None
):
    run = await run_with_container(stack, gateway, cancelled=True)
    await reconcile(Workflows(run.id, status))
    await eventually(lambda: removed(stack, run.id))
    assert (await jobs.get(run.id)).state is JobState.ENDED
    assert (await gateway.get(run.id))["status"] == "cancelled"


@pytest.mark.parametrize("status", ["Completed", "Failed", "Terminated"])
async def test_the_upkeep_ends_a_run_that_its_workflow_has_left_and_removes_its_container(
    stack: Environment, gateway: Gateway, status: str
):
    run = await run_with_container(stack, gateway, cancelled=False)
    await reconcile(Workflows(run.id, status))
    await eventually(lambda: removed(stack, run.id))
    assert (await gateway.get(run.id))["status"] == "failed"


async def test_the_upkeep_repeats_the_cancel_event_that_a_running_workflow_has_missed(
    stack: Environment, gateway: Gateway
):
    run = await run_with_container(stack, gateway, cancelled=True)
    workflows = Workflows(run.id, "Running")
    await reconcile(workflows)
    assert workflows.signals == [(run.id, CANCEL)]
    assert group_name(run.id) in await groups(stack)
    await containers.remove(group_name(run.id))


async def test_the_upkeep_leaves_a_container_whose_workflow_will_be_started_anew(stack: Environment, gateway: Gateway):
    run = await run_with_container(stack, gateway, cancelled=False)
    await reconcile(Workflows(run.id, None))
    assert group_name(run.id) in await groups(stack)
    await runs.update(run.id, Run.cancel)
    await reconcile(Workflows(run.id, None))
    await eventually(lambda: removed(stack, run.id))


async def test_a_run_whose_workflow_cannot_be_started_is_accepted_and_runs_later(stack: Environment, gateway: Gateway):
    at = datetime.now(UTC) - timedelta(minutes=5)
    run = Run(id=new_id(at), client_id=gateway.id, prompt="echo later", model="bash", options={}, started_at=at)
    assert (await _queue(run, Workflows())).id == run.id
    assert (await gateway.get(run.id))["status"] == "pending"
    assert (await gateway.http.post("/admin/functions/maintenance_minute", json={})).status_code == 202
    assert (await gateway.reach(run.id))["result"] == "later\n"


async def test_an_execution_whose_workflow_cannot_be_started_is_accepted():
    created = await create_execution(NewExecution(command="true"), Identity("me"), Workflows())
    assert (await executions.get(created.execution_id)).status == "pending"
    await executions.delete(created.execution_id)


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        (ContainerStatus(ContainerPhase.TERMINATED, 137, 0, "OOMKilled", 2.0), "Ran out of memory (2 GB)"),
        (ContainerStatus(ContainerPhase.TERMINATED, 137, 0, "Error", 2.0), ""),
        (
            ContainerStatus(ContainerPhase.TERMINATED, 143, 0, "Error", 2.0),
            "The container was stopped from outside: its machine was restarted, or somebody stopped it",
        ),
    ],
)
def test_the_cause_of_a_container_that_has_ended_without_a_report(container: ContainerStatus, expected: str):
    found = activities._cause(GroupStatus("Succeeded", "Failed", {"main": container}))
    assert found == expected


async def test_a_run_that_needs_too_much_memory_says_so(newcomer: Gateway, strict_host: StrictHost):
    program = "held = bytearray(1 << 29)\nheld[::4096] = b'x' * len(held[::4096])\nimport time; time.sleep(60)\n"
    done = await newcomer.reach((await strict_host.run(newcomer, program, "python"))["id"])
    assert (done["status"], done["error"]) == ("failed", "Ran out of memory (0.2 GB)")


async def test_a_run_whose_container_is_stopped_from_outside_says_so(gateway: Gateway):
    run = await gateway.run("sleep 600")
    await gateway.reach(run["id"], "running")
    await containers.stop(group_name(run["id"]))
    done = await gateway.reach(run["id"])
    assert done["error"].startswith("The container was stopped from outside")


async def test_files_with_names_that_are_no_text_and_very_many_of_them_do_not_lose_the_run(gateway: Gateway):
    program = (
        "import os\nos.mkdir('artifacts')\nopen(b'artifacts/a\\xff\\n.txt', 'w').close()\n"
        "for n in range(1200):\n    os.mkfifo(f'artifacts/p{n}')\n"
        "open('artifacts/big', 'wb').truncate(200_000_000)\nprint('done', end='')\n"
    )
    done = await gateway.reach((await gateway.run(program, "python"))["id"])
    assert (done["status"], done["error"]) == ("completed", None)
    assert done["result"] == "done\n[big was not kept: File is over 100000000 bytes]\n"
    assert set(await gateway.artifacts(done["id"])) == {"a_FF_0A.txt", "claude.log"}


async def test_the_history_of_an_ended_workflow_is_purged_by_age_and_its_record_stays(
    stack: Environment, gateway: Gateway
):
    done = await gateway.reach((await gateway.run("true"))["id"])
    going = await gateway.run("sleep 600")
    await gateway.reach(going["id"], "running")
    instances = f"{stack.url}/runtime/webhooks/durabletask/instances"

    async def statuses() -> list[str]:
        ids = (done["id"], going["id"])
        answers = [await gateway.http.get(f"{instances}/{instance}") for instance in ids]
        return [answer.json().get("runtimeStatus", "none") if answer.content else "none" for answer in answers]

    await eventually(statuses, until=lambda found: found == ["Completed", "Running"])
    client = WorkflowClient(purging(instances))
    assert await client.purge(datetime.now(UTC) - timedelta(days=30)) == 0
    assert await client.purge(datetime.now(UTC) + timedelta(minutes=1)) >= 1
    assert (await statuses())[1] == "Running"
    assert (await statuses())[0] != "Completed"
    assert (await gateway.get(done["id"]))["status"] == "completed"
    await gateway.http.delete(f"/gateway/api/runs/{going['id']}")


def purging(instances: str) -> Any:
    """The Durable client, as the host would bind it."""
    root = instances.rpartition("/")[0]
    binding = {"taskHubName": "x", "creationUrls": {}, "managementUrls": {}, "rpcBaseUrl": f"{root}/"}
    return df.DurableOrchestrationClient(json.dumps(binding))
