"""A region without room is a queue: runs wait with the reason in sight, oldest first, and fail when time is up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx

from infra.local.environment import Environment
from shared.jobs import waiting_jobs
from tests.support.environments import another_host
from tests.support.gateway import Gateway
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


async def test_twelve_runs_on_two_places_all_complete_in_rough_order_of_age(
    stack: Environment, gateway: Gateway, app: None
):
    async with limited(stack, groups=2):
        ids = [(await gateway.run(f"echo {number}"))["id"] for number in range(12)]
        done = await asyncio.gather(*(gateway.reach(run_id, seconds=120) for run_id in ids))
    assert [(run["status"], run["result"]) for run in done] == [("completed", f"{n}\n") for n in range(12)]
    assert not any("waiting_reason" in run for run in done)
    started = sorted(range(12), key=lambda n: done[n]["started_at"])
    assert max(abs(place - number) for place, number in enumerate(started)) <= 8, started
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


async def test_what_can_never_work_fails_at_once_in_the_words_of_the_service(
    stack: Environment, gateway: Gateway, tmp_path: Path
):
    async with another_host(stack, tmp_path, RUNYARD_RUNNER_IMAGE="no/image:1") as http:
        run = await gateway_on(http, gateway).run("true")
        done = await gateway.reach(run["id"])
    assert done["status"] == "failed"
    assert done["error"].startswith("The image 'no/image:1' in container group")


async def test_a_run_without_room_fails_at_its_deadline_with_the_reason(
    stack: Environment, gateway: Gateway, tmp_path: Path
):
    async with (
        limited(stack, groups=0),
        another_host(stack, tmp_path, RUNYARD_START_DEADLINE="1") as http,
    ):
        run = await gateway_on(http, gateway).run("true")
        done = await gateway.reach(run["id"])
    assert done["status"] == "failed"
    assert done["error"].startswith(f"Not started within 1 seconds: {QUOTA}")


async def test_a_client_with_too_many_runs_waits_for_its_own_and_others_do_not(
    stack: Environment, gateway: Gateway, tmp_path: Path
):
    async with another_host(stack, tmp_path, RUNYARD_CLIENT_JOBS="1") as http:
        answer = await http.post("/gateway/api/auth/login", json={"name": f"busy {tmp_path.name}"})
        busy = Gateway(http, answer.json()["id"], answer.json()["api_key"])
        http.headers["Authorization"] = f"Bearer {busy.key}"
        first = await busy.run("sleep 600")
        await busy.reach(first["id"], "running")
        second = await busy.run("echo second")
        reason = await eventually(lambda: reason_of(busy, second["id"]))
        assert reason == "1 of your runs are running"
        other = await gateway_on(http, gateway).run("echo other")
        assert (await gateway.reach(other["id"]))["status"] == "completed"
        assert (await busy.get(second["id"]))["status"] == "pending"
        await http.delete(f"/gateway/api/runs/{first['id']}", headers={"Authorization": f"Bearer {busy.key}"})
        assert (await gateway.reach(second["id"]))["result"] == "second\n"


def gateway_on(http: httpx.AsyncClient, gateway: Gateway) -> Gateway:
    """The same client of the gateway on another host."""
    http.headers["Authorization"] = f"Bearer {gateway.key}"
    return Gateway(http, gateway.id, gateway.key)
