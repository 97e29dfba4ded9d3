"""A client of the gateway."""

import uuid
from dataclasses import dataclass
from typing import Any

import httpx

from infra.local.environment import Environment
from tests.support.waiting import eventually

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
