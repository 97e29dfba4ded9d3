"""The storage service stops and starts again: every response says so, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from infra.local.environment import Environment
from tests.support.gateway import Gateway, register
from tests.support.values import SHORT_CLOCKS, UNLIMITED

pytestmark = pytest.mark.long


@dataclass
class Own:
    """An environment whose storage keeps its data when it stops, and a client of its gateway."""

    environment: Environment
    gateway: Gateway

    async def stop_storage(self) -> None:
        assert self.environment.storage
        await self.environment.storage.stop()


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Own]:
    temporary = Environment.temporary(tmp_path_factory.mktemp("outage"), **UNLIMITED, **SHORT_CLOCKS)
    environment = replace(temporary, keep=True)
    await environment.start()
    try:
        gateway = await register(environment)
        yield Own(environment, gateway)
        await gateway.http.aclose()
    finally:
        await environment.stop()


async def test_responses_are_503_without_storage_and_normal_when_it_is_back(own: Own):
    gateway = own.gateway
    done = await gateway.reach((await gateway.run("echo before"))["id"])
    await own.stop_storage()
    refused = await asyncio.gather(
        gateway.http.get(f"/gateway/api/runs/{done['id']}"),
        gateway.http.post("/gateway/api/runs", json={"prompt": "true", "model": "bash"}),
        gateway.http.get("/gateway/api/dashboard/stats"),
    )
    for answer in refused:
        assert answer.status_code == 503, (answer.url, answer.text)
        assert answer.json() == {"error": "The storage service does not answer"}
    health = await gateway.http.get("/gateway/health")
    assert (health.status_code, health.json()["database"]) == (503, "disconnected")
    assert (await gateway.http.get("/gateway/health/live")).status_code == 200
    await own.environment.start_storage()
    assert (await gateway.get(done["id"]))["result"] == "before\n"
    again = await gateway.reach((await gateway.run("echo after"))["id"])
    assert (again["status"], again["result"]) == ("completed", "after\n")


async def test_a_run_that_prints_while_storage_is_down_keeps_every_line(own: Own):
    gateway = own.gateway
    run = await gateway.run("import time\nfor i in range(30):\n    print(i)\n    time.sleep(0.1)\n", "python")
    await gateway.reach(run["id"], "running")
    await own.stop_storage()
    await own.environment.start_storage()
    done = await gateway.reach(run["id"], seconds=60)
    assert (done["status"], done["result"]) == ("completed", "".join(f"{i}\n" for i in range(30)))
