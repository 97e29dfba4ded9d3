"""Floods: many creations at once, thousands of requests, slow connections, very long output."""

import asyncio
from collections import Counter

import httpx

from infra.local.environment import Environment
from tests.support.campaign import Campaign
from tests.support.gateway import Gateway
from tests.support.stepflow import StepFlow
from tests.support.values import UNKNOWN

STEPS = "echo STEP_START: {0}; for i in $(seq 20); do echo {0} $i; done; echo STEP_START: last {0}; echo end {0}"


async def test_runs_created_at_once_are_all_accepted_and_complete(
    gateway: Gateway, campaign: Campaign, stack: Environment
):
    count = campaign.rounds(30, 200)
    before = (await gateway.http.get("/gateway/api/runs?status=completed")).json()["total"]

    async def one(number: int) -> str:
        return (await gateway.run(f"echo {number}"))["id"]

    ids = await asyncio.gather(*(one(number) for number in range(count)))
    assert len(set(ids)) == count
    runs = await asyncio.gather(*(gateway.reach(run_id, seconds=600) for run_id in ids))
    assert [(run["status"], run["result"]) for run in runs] == [("completed", f"{n}\n") for n in range(count)]
    after = (await gateway.http.get("/gateway/api/runs?status=completed")).json()["total"]
    assert after == before + count


async def test_executions_created_at_once_are_all_accepted_and_complete(stepflow: StepFlow, campaign: Campaign):
    count = campaign.rounds(20, 100)
    async with stepflow.watch() as watcher:
        ids = await asyncio.gather(*(stepflow.create(STEPS.replace("{0}", f"n{number}")) for number in range(count)))
        assert len(set(ids)) == count
        for number, execution_id in enumerate(ids):
            found = await stepflow.reach(execution_id, seconds=600)
            assert found["execution"]["status"] == "completed", found["execution"]
            assert [step["name"] for step in found["steps"]] == [f"n{number}", f"last n{number}"]
            lines = [f"n{number} {n}" for n in range(1, 21)] + [f"end n{number}"]
            assert [line["content"] for step in found["steps"] for line in step["logs"]] == lines
        for execution_id in ids:
            await watcher.completed(execution_id)


async def test_thousands_of_requests_get_no_server_error(gateway: Gateway, stepflow: StepFlow, campaign: Campaign):
    """Good and bad requests to both APIs, fifty at a time."""
    run = await gateway.reach((await gateway.run("echo x"))["id"])
    execution = (await stepflow.run("echo x"))["execution"]["id"]
    key = {"Authorization": f"Bearer {gateway.key}"}
    requests = [
        ("GET", f"/gateway/api/runs/{run['id']}", {"headers": key}),
        ("GET", "/gateway/api/runs?limit=5", {"headers": key}),
        ("GET", f"/gateway/api/runs/{UNKNOWN}", {"headers": key}),
        ("GET", "/gateway/api/runs?limit=x", {"headers": key}),
        ("GET", "/gateway/api/dashboard/stats", {"headers": key}),
        ("PATCH", f"/gateway/api/runs/{run['id']}", {"headers": key, "json": {"status": "running"}}),
        ("POST", "/gateway/api/runs", {"headers": key, "content": b"{"}),
        ("GET", "/gateway/api/clients", {}),
        ("GET", f"/stepflow/api/executions/{execution}", {}),
        ("GET", f"/stepflow/api/executions/{execution}/logs", {}),
        ("GET", "/stepflow/api/executions?limit=5", {}),
        ("POST", "/stepflow/api/executions", {"json": {"command": 7}}),
        ("GET", "/stepflow/api/no/such/route", {}),
    ]
    gate, statuses = asyncio.Semaphore(50), Counter[int]()
    limits = httpx.Limits(max_connections=50)
    base = str(gateway.http.base_url)
    async with httpx.AsyncClient(base_url=base, timeout=120, limits=limits, trust_env=False) as http:

        async def one() -> None:
            method, path, options = campaign.chance.choice(requests)
            async with gate:
                answer = await http.request(method, path, **options)
            statuses[answer.status_code] += 1
            assert answer.status_code < 500, (method, path, answer.status_code, answer.text)

        await asyncio.gather(*(one() for _ in range(campaign.rounds(500, 5000))))
    assert set(statuses) == {200, 400, 401, 404}


async def test_slow_connections_do_not_keep_others_out(stack: Environment, gateway: Gateway, campaign: Campaign):
    """Connections that send only a part of a request, and then nothing."""
    parts = (
        b"",
        b"GET /gateway/he",
        b"POST /gateway/api/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{",
    )
    opened = [
        await asyncio.open_connection("127.0.0.1", stack.ports["host"]) for _ in range(campaign.rounds(100, 1000))
    ]
    try:
        for _, writer in opened:
            writer.write(campaign.chance.choice(parts))
        run = await gateway.reach((await gateway.run("echo served"))["id"])
        assert (run["status"], run["result"]) == ("completed", "served\n")
    finally:
        for _, writer in opened:
            writer.close()


async def test_long_output_is_kept_in_order(gateway: Gateway, stepflow: StepFlow, campaign: Campaign):
    count = campaign.rounds(30_000, 300_000)
    run_id = (await gateway.run(f"for i in range({count}): print(f'line {{i}}')", "python"))["id"]
    code = f"for n in range({count}): print(f'{{n:06}} ' + 'x' * 100)"
    found = await stepflow.reach(await stepflow.create(["python3", "-c", code]), seconds=600)
    assert found["execution"]["status"] == "completed"
    assert [line[:6] for line in await stepflow.logs(found["execution"]["id"])] == [f"{n:06}" for n in range(count)]
    run = await gateway.reach(run_id, seconds=600)
    assert run["status"] == "completed", run["error"]
    log = await gateway.download((await gateway.artifacts(run_id))["claude.log"]["id"])
    assert log == b"".join(b"line %d\n" % i for i in range(count))
