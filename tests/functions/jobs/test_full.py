"""A region without room is a queue: runs wait with the reason in sight, oldest first, and fail when time is up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp

import function_app  # noqa: F401 - registers the kinds of jobs
from functions.gateway.job import KIND
from functions.gateway.records import Run
from functions.gateway.store import runs
from functions.jobs import activities
from infra.local.environment import Environment
from shared.jobs import waiting_jobs
from tests.support.environments import StrictHost, connected
from tests.support.gateway import Gateway, register
from tests.support.groups import limited, removed
from tests.support.stepflow import StepFlow
from tests.support.waiting import eventually

QUOTA = "Resource type 'Microsoft.ContainerInstance/containerGroups' container group quota 'ContainerGroups' exceeded"


@contextlib.asynccontextmanager
async def socket_of(stack: Environment, gateway: Gateway) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """An authenticated WebSocket of the gateway."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{stack.url}/gateway/ws") as socket:
        await socket.send_json({"type": "auth", "api_key": gateway.key})
        while (await socket.receive_json(timeout=10))["type"] != "auth_success":
            continue
        yield socket


async def reason_of(gateway: Gateway, run_id: str) -> str:
    """Why a run waits; "" while it does not."""
    return (await gateway.get(run_id)).get("waiting_reason", "")


async def test_eight_runs_on_two_places_all_complete_in_rough_order_of_age(
    stack: Environment, gateway: Gateway, app: None
):
    async with limited(stack, groups=2):
        ids = [(await gateway.run(f"echo {number}"))["id"] for number in range(8)]
        done = await asyncio.gather(*(gateway.reach(run_id, seconds=120) for run_id in ids))
    assert [(run["status"], run["result"]) for run in done] == [("completed", f"{n}\n") for n in range(8)]
    assert not any("waiting_reason" in run for run in done)
    started = sorted(range(8), key=lambda n: done[n]["started_at"])
    assert max(abs(place - number) for place, number in enumerate(started)) <= 6, started
    assert not [job async for job in waiting_jobs.all() if job.id in ids], "a run is still in line"


async def test_a_waiting_run_says_why_in_record_socket_and_metrics_and_starts_when_there_is_room(
    stack: Environment, gateway: Gateway
):
    async with socket_of(stack, gateway) as socket:
        async with limited(stack, groups=0):
            run = await gateway.run("echo at last")
            reason = await eventually(lambda: reason_of(gateway, run["id"]))
            assert reason.startswith(QUOTA)
            shown = await gateway.get(run["id"])
            assert (shown["status"], shown["error"], shown["result"]) == ("pending", None, None)
            while (event := await socket.receive_json(timeout=10)).get("run_id") != run["id"]:
                continue
            expected: dict[str, Any] = {"type": "run_update", "run_id": run["id"], "status": "pending"}
            assert event == {**expected, "waiting_reason": reason}
            metrics = (await gateway.http.get("/gateway/metrics")).text
            assert "\nrunyard_runs_waiting 1\n" in metrics
        done = await gateway.reach(run["id"])
    assert (done["status"], done["result"]) == ("completed", "at last\n")


async def test_a_waiting_execution_says_why_and_starts_when_there_is_room(stack: Environment, stepflow: StepFlow):
    async with stepflow.watch() as watcher, limited(stack, groups=0):
        execution_id = await stepflow.create("echo at last")
        event = await watcher.receives(lambda message: message["data"].get("execution_id") == execution_id)
        assert (event["type"], event["data"]["status"]) == ("execution_status", "pending")
        shown = (await stepflow.data(f"/api/executions/{execution_id}"))["execution"]
        assert shown["waiting_reason"] == event["data"]["waiting_reason"]
        assert shown["waiting_reason"].startswith(QUOTA)
    done = await stepflow.reach(execution_id)
    assert done["execution"]["status"] == "completed"
    assert "waiting_reason" not in done["execution"]


async def test_a_waiting_run_is_cancelled_at_once(stack: Environment, gateway: Gateway, app: None):
    async with limited(stack, groups=0):
        run = await gateway.run("echo never")
        await eventually(lambda: reason_of(gateway, run["id"]))
        assert (await gateway.http.delete(f"/gateway/api/runs/{run['id']}")).status_code == 200

        async def left() -> bool:
            return run["id"] not in [job.id async for job in waiting_jobs.all()]

        await eventually(left)
    assert await removed(stack, run["id"])
    shown = await gateway.get(run["id"])
    assert shown["status"] == "cancelled"
    assert "waiting_reason" not in shown


async def test_what_can_never_work_fails_at_once_in_the_words_of_the_service(stack: Environment, gateway: Gateway):
    run = Run(client_id=gateway.id, prompt="true", model="bash", options={}, started_at=datetime.now(UTC))
    async with connected(**stack.app_settings | {"RUNYARD_RUNNER_IMAGE": "no/image:1"}):
        await runs.insert(run)
        assert await activities.job_create._function.get_user_function()({"id": run.id, "kind": KIND}) is None
    done = await gateway.get(run.id)
    assert done["status"] == "failed"
    assert done["error"].startswith("The image 'no/image:1' in container group")


async def test_a_run_without_room_fails_at_its_deadline_with_the_reason(
    stack: Environment, newcomer: Gateway, strict_host: StrictHost
):
    async with limited(stack, groups=0):
        run = await strict_host.run(newcomer, "true")
        done = await newcomer.reach(run["id"])
    assert done["status"] == "failed"
    assert done["error"].startswith(f"Not started within 1 second: {QUOTA}")


async def test_a_client_with_too_many_runs_waits_for_its_own_and_others_do_not(
    stack: Environment, newcomer: Gateway, strict_host: StrictHost
):
    busy = await register(stack)
    first = await strict_host.run(busy, "sleep 600")
    await busy.reach(first["id"], "running")
    second = await strict_host.run(busy, "echo second")
    reason = await eventually(lambda: reason_of(busy, second["id"]))
    assert reason == "1 of your runs are running"
    other = await strict_host.run(newcomer, "echo other")
    assert (await newcomer.reach(other["id"]))["status"] == "completed"
    assert (await busy.get(second["id"]))["status"] == "pending"
    await strict_host.http.delete(f"/gateway/api/runs/{first['id']}", headers=busy.http.headers)
    assert (await busy.reach(second["id"]))["result"] == "second\n"
    await busy.http.aclose()
