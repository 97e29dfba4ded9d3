"""The gateway as its clients see it."""

import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.emulator.processes import free_ports
from infra.local.environment import Environment
from shared.tables.client import client
from tests.conftest import eventually
from tests.shared.tables.conftest import Counting

FINAL = ("completed", "failed", "cancelled")


@dataclass
class Gateway:
    """A registered client of the gateway; `http` sends its key."""

    http: httpx.AsyncClient
    id: str
    key: str

    async def run(self, prompt: str, model: str = "bash", **options: Any) -> dict[str, Any]:
        """Create a run; answers it as it was accepted."""
        body = {"prompt": prompt, "model": model, "options": options}
        answer = await self.http.post("/gateway/api/runs", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def get(self, run_id: str) -> dict[str, Any]:
        """A run as it stands."""
        answer = await self.http.get(f"/gateway/api/runs/{run_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def reach(self, run_id: str, *statuses: str, seconds: float = 60) -> dict[str, Any]:
        """A run once it has one of these statuses, or any final one."""
        wanted = (*statuses, *FINAL)
        return await eventually(lambda: self.get(run_id), until=lambda run: run["status"] in wanted, seconds=seconds)

    async def artifacts(self, run_id: str) -> dict[str, dict[str, Any]]:
        """A run's artifacts by name."""
        answer = await self.http.get(f"/gateway/api/runs/{run_id}/artifacts")
        assert answer.status_code == 200, answer.text
        return {artifact["filename"]: artifact for artifact in answer.json()["artifacts"]}

    async def download(self, artifact_id: str) -> bytes:
        """An artifact's bytes."""
        answer = await self.http.get(f"/gateway/api/artifacts/{artifact_id}")
        assert answer.status_code == 200, answer.text
        return answer.content


async def register(environment: Environment) -> Gateway:
    """A new client of the gateway of an environment; close its `http` when done."""
    limits = httpx.Limits(max_connections=200)
    http = httpx.AsyncClient(base_url=environment.url, timeout=60, limits=limits, trust_env=False)
    answer = await http.post("/gateway/api/auth/login", json={"name": f"client {uuid.uuid4()}"})
    assert answer.status_code == 200, answer.text
    http.headers["Authorization"] = f"Bearer {answer.json()['api_key']}"
    return Gateway(http, answer.json()["id"], answer.json()["api_key"])


@contextlib.asynccontextmanager
async def another_host(stack: Environment, state: Path, **settings: str) -> AsyncIterator[httpx.AsyncClient]:
    """A second instance of the app, on the same storage and services, and a client of it."""
    ports = {**stack.ports, "host": free_ports(1)[0]}
    second = dataclasses.replace(
        stack, state=state, ports=ports, host=None, settings={**stack.settings, **settings}
    )  # fmt: skip
    await second.start_host()
    assert second.host
    try:
        async with httpx.AsyncClient(base_url=second.url, timeout=60, trust_env=False) as http:
            yield http
    finally:
        await second.host.stop()


@pytest.fixture(scope="session")
async def gateway(stack: Environment) -> AsyncIterator[Gateway]:
    """One registered client."""
    gateway = await register(stack)
    yield gateway
    await gateway.http.aclose()


@pytest.fixture
async def counting(account: None) -> AsyncIterator[Counting]:
    """The counter in front of this test's requests."""
    wire = client().wire
    counting = Counting(wire.transport)
    wire.transport = counting
    yield counting
    wire.transport = counting._inner
