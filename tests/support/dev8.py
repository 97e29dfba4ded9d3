"""A client of Dev8."""

import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx

from infra.local.environment import Environment
from tests.support.groups import groups
from tests.support.waiting import eventually

PATH = "/api/v1/environments"

NEW: dict[str, Any] = {
    "name": "my environment",
    "cloudProvider": "AZURE",
    "cloudRegion": "eastus",
    "cpuCores": 1,
    "memoryGB": 1,
    "storageGB": 10,
    "baseImage": "node",
}
"""The body of a new environment, without a user."""

_users = itertools.count()


def new_user() -> str:
    """A user that no other test has."""
    return f"user-{next(_users)}"


@dataclass
class Dev8:
    """A client of Dev8."""

    http: httpx.AsyncClient

    async def create(self, **members: Any) -> dict[str, Any]:
        """Create an environment, by default of a new user; answers it."""
        answer = await self.http.post(PATH, json={**NEW, "userId": new_user(), **members})
        assert answer.status_code == 201, answer.text
        return answer.json()["environment"]

    async def get(self, environment_id: str) -> dict[str, Any]:
        """An environment; `{"status": "gone"}` when it does not exist."""
        answer = await self.http.get(f"{PATH}/{environment_id}")
        if answer.status_code == 404:
            return {"status": "gone"}
        assert answer.status_code == 200, answer.text
        return answer.json()["environment"]

    async def reach(self, environment_id: str, *statuses: str, seconds: float = 60) -> dict[str, Any]:
        """An environment once it has one of these statuses, or none of which it can get there."""
        final = (*statuses, "ERROR", "gone")
        found = await eventually(
            lambda: self.get(environment_id), until=lambda found: found["status"] in final, seconds=seconds
        )
        assert found["status"] in statuses, found
        return found

    async def running(self, **members: Any) -> dict[str, Any]:
        """A new environment that runs."""
        return await self.reach((await self.create(**members))["id"], "RUNNING")

    async def order(self, environment_id: str, what: str, *, status: int = 200) -> dict[str, Any]:
        """Start or stop an environment."""
        answer = await self.http.post(f"{PATH}/{environment_id}/{what}")
        assert answer.status_code == status, answer.text
        return answer.json()

    async def stopped(self, **members: Any) -> dict[str, Any]:
        """A new environment that is stopped."""
        environment = await self.running(**members)
        await self.order(environment["id"], "stop")
        return await self.reach(environment["id"], "STOPPED")

    async def report(self, environment_id: str, ide: int = 0, ssh: int = 0, **members: Any) -> httpx.Response:
        """Report connections of an environment."""
        body = {
            "snapshot": {"activeIDEConnections": ide, "activeSSHConnections": ssh},
            "timestamp": "2030-01-01T00:00:00Z",
        }
        return await self.http.post(f"{PATH}/{environment_id}/activity", json={**body, **members})

    async def drop(self, environment_id: str) -> None:
        """Delete an environment without waiting for the end of that."""
        assert (await self.http.delete(f"{PATH}/{environment_id}")).status_code == 200

    async def delete(self, environment_id: str) -> None:
        """Delete an environment and wait until it is gone."""
        await self.drop(environment_id)
        await self.reach(environment_id, "gone")


@contextlib.asynccontextmanager
async def client_of(environment: Environment, **headers: str) -> AsyncIterator[Dev8]:
    """A client of an environment's app."""
    async with client_at(environment.url, **headers) as dev8:
        yield dev8


@contextlib.asynccontextmanager
async def client_at(url: str, **headers: str) -> AsyncIterator[Dev8]:
    """A client of the app at this base URL."""
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(
        base_url=f"{url}/dev8", timeout=60, limits=limits, trust_env=False, headers=headers
    ) as http:
        yield Dev8(http)


def refused(answer: httpx.Response, status: int, code: str = "") -> str:
    """The message of a refusal."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error", "message", "code"}
    assert all(isinstance(text, str) and text for text in body.values()), body
    assert code in ("", body["code"])
    return body["message"]


def share_folder(environment: Environment, environment_id: str) -> Any:
    """The folder that is the file share of a development environment."""
    return environment.state / f"containers/shares/dev8shares/workspace-{environment_id}"


async def nothing_left(environment: Environment, *environment_ids: str) -> None:
    """Wait until neither groups nor shares of these development environments exist."""

    async def left() -> list[str]:
        existing = await groups(environment)
        return [each for each in environment_ids if each in existing or share_folder(environment, each).exists()]

    await eventually(left, until=lambda found: not found)
