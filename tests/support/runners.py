"""The runner of a job without a container: a test pushes in its place."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

import function_app  # noqa: F401 - registers the kinds of jobs
from functions.gateway.records import Run
from functions.gateway.store import runs
from functions.stepflow.records import Execution
from functions.stepflow.store import executions
from shared.jobs import Job, jobs, new_token
from tests.support.gateway import Gateway

SHA = "0" * 64

POISON: dict[str, dict[str, Any]] = {
    "a code that no system has": {"exit_code": 10**30},
    "a message without end": {"message": "x" * 100_000},
    "a reason of its own": {"reason": "won"},
    "too many skipped files": {"skipped": [{"name": "x", "reason": "y"}] * 60_000},
    "half a character": {"message": "\ud800"},
    "an output of a negative size": {"size": -1},
    "an output that never came": {"size": 10**30},
}
"""What an exit must not report, by what is wrong with it."""

FILES: dict[str, dict[str, Any]] = {
    "a size that no store holds": {"size": 10**30},
    "a negative size": {"size": -1},
    "a name without end": {"name": "x" * 2000},
    "a name with a newline": {"name": "a\nb"},
    "a name that is half a character": {"name": "\udcff"},
    "no name": {"name": ""},
    "a hash that is none": {"sha256": "x"},
    "a type that ends a header": {"content_type": "text/plain\r\nX-Evil: 1"},
}
"""What the record of a file in an exit must not hold, by what is wrong with it."""


async def _run(owner: Gateway) -> str:
    now = datetime.now(UTC)
    run = Run(client_id=owner.id, prompt="", model="bash", options={"timeout": 60}, started_at=now)
    return (await runs.insert(run)).id


async def _execution(owner: Gateway) -> str:
    return (await executions.insert(Execution(name="by hand", command="true", timeout=60))).id


RECORDS: dict[str, Callable[[Gateway], Awaitable[str]]] = {"gateway.run": _run, "stepflow.execution": _execution}
"""By kind of job: inserts a record of a client for which no workflow was started, and answers its id."""


@dataclass
class Runner:
    """The runner of a job without a container."""

    http: httpx.AsyncClient
    job: Job
    headers: dict[str, str]

    async def post(self, path: str, body: Any) -> httpx.Response:
        """Push to the app; bytes are sent as they are, all other bodies as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "application/octet-stream" if path.startswith("events") else "application/json"
        headers = {**self.headers, "Content-Type": kind}
        return await self.http.post(f"/jobs/{self.job.id}/{path}", content=content, headers=headers)

    def file(self, **members: Any) -> dict[str, Any]:
        """The record of a file."""
        blob = f"{self.job.kind}/{self.job.id}/file"
        return {"name": "f", "size": 1, "sha256": SHA, "content_type": "text/plain", "blob": blob, **members}

    async def upload(self, name: str, declared: int, data: bytes) -> dict[str, Any]:
        """Upload a file through the link for one of the declared size; return its record."""
        place = (await self.post("files", {"name": name, "size": declared})).json()
        async with httpx.AsyncClient(trust_env=False) as http:
            done = await http.put(place["url"], content=data, headers={"x-ms-blob-type": "BlockBlob"})
        assert done.status_code == 201
        return self.file(name=name, size=declared, blob=place["blob"])


async def runner_of(kind: str, owner: Gateway, http: httpx.AsyncClient) -> Runner:
    """The runner of a new job of this kind; this process must be a part of the app."""
    token, hashed = new_token()
    job = await jobs.insert(Job(id=await RECORDS[kind](owner), kind=kind, token_hash=hashed, timeout=60))
    return Runner(http, job, {"Authorization": f"Bearer {token}"})
