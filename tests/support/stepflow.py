"""A client of StepFlow, over HTTP and WebSocket."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from infra.local.environment import Environment
from tests.support.waiting import eventually

FINAL = ("completed", "failed", "cancelled")


@dataclass
class Watcher:
    """A socket and the messages it has received."""

    socket: ClientConnection
    received: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    async def listen(self) -> None:
        """Take messages until the socket closes."""
        async for frame in self.socket:
            self.received.append(json.loads(frame))

    async def send(self, kind: str, **data: Any) -> None:
        """Send one message in the documented form."""
        await self.socket.send(json.dumps({"type": kind, "data": data}))

    def of(self, execution_id: str) -> list[dict[str, Any]]:
        """The messages about an execution, in order."""
        return [message for message in self.received if message["data"].get("execution_id") == execution_id]

    async def receives(self, wanted: Callable[[dict[str, Any]], Any], *, seconds: float = 60) -> dict[str, Any]:
        """The first wanted message, as soon as it has arrived."""

        async def probe() -> dict[str, Any] | None:
            return next(filter(wanted, self.received), None)

        found = await eventually(probe, seconds=seconds)
        assert found
        return found

    async def completed(self, execution_id: str, *, seconds: float = 60) -> dict[str, Any]:
        """An execution's last message."""
        return await self.receives(
            lambda m: m["type"] == "execution_completed" and m["data"]["execution_id"] == execution_id, seconds=seconds
        )


@dataclass
class StepFlow:
    """A client of StepFlow."""

    http: httpx.AsyncClient
    sockets: str

    async def data(self, path: str, **query: Any) -> Any:
        """The data of a successful GET."""
        answer = await self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def create(self, command: str | list[str], **members: Any) -> str:
        """Create an execution; answers its id."""
        answer = await self.http.post("/api/executions", json={"command": command, **members})
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]["execution_id"]

    async def reach(self, execution_id: str, *statuses: str, seconds: float = 60) -> dict[str, Any]:
        """Execution, steps and artifacts once it has one of these statuses, or any final one."""
        path, wanted = f"/api/executions/{execution_id}", (*statuses, *FINAL)
        return await eventually(
            lambda: self.data(path), until=lambda found: found["execution"]["status"] in wanted, seconds=seconds
        )

    async def run(self, command: str | list[str], **members: Any) -> dict[str, Any]:
        """Create an execution and wait for its end."""
        return await self.reach(await self.create(command, **members))

    async def logs(self, execution_id: str) -> list[str]:
        """All log lines, page by page."""
        found: list[str] = []
        while True:
            page = await self.data(f"/api/executions/{execution_id}/logs", offset=len(found))
            found += [entry["content"] for entry in page["logs"]]
            if not page["has_more"]:
                assert page["total_count"] == len(found)
                return found

    @contextlib.asynccontextmanager
    async def watch(self, path: str = "/ws") -> AsyncIterator[Watcher]:
        """An open socket that has been greeted."""
        async with connect(f"{self.sockets}{path}", max_size=None, proxy=None) as socket:
            watcher = Watcher(socket)
            listening = asyncio.create_task(watcher.listen())
            await watcher.receives(lambda message: message["type"] == "connection_established")
            yield watcher
        await listening


@contextlib.asynccontextmanager
async def client_of(environment: Environment, **headers: str) -> AsyncIterator[StepFlow]:
    """A client of an environment."""
    limits = httpx.Limits(max_connections=200)
    base = f"{environment.url}/stepflow"
    async with httpx.AsyncClient(base_url=base, timeout=60, limits=limits, trust_env=False, headers=headers) as http:
        yield StepFlow(http, base.replace("http", "ws", 1))


def refused(answer: httpx.Response, status: int) -> str:
    """The error of an enveloped refusal."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"success", "data", "error", "timestamp"}
    assert (body["success"], body["data"], bool(body["error"])) == (False, None, True)
    assert body["timestamp"].endswith("Z")
    return body["error"]
