"""Agents as archives: packing, uploading, building and executing them."""

import asyncio
import io
import tarfile
import textwrap
from typing import Any

import httpx

from tests.support.anymind import BASE, Anymind
from tests.support.waiting import eventually

CONFIG = "name: test\nentrypoint: main:handle\n"

ECHO = "def handle(payload):\n    return payload\n"


def archive(files: dict[str, str | bytes | tarfile.TarInfo]) -> bytes:
    """A .tar.gz of these files, whose text is dedented; a `TarInfo` is a member of its own kind."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                tar.addfile(content)
                continue
            data = content if isinstance(content, bytes) else textwrap.dedent(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def agent_of(main: str, **more: str) -> bytes:
    """The archive of an agent with this `main.py`; `more` are other files, `_` in whose names is a dot."""
    return archive({"anymind.yaml": CONFIG, "main.py": main, **{n.replace("_", "."): text for n, text in more.items()}})


async def send(user: Anymind, agent_id: int, packed: bytes, name: str = "agent.tar.gz") -> httpx.Response:
    """The response to an upload."""
    form = {"file": (name, packed, "application/gzip")}
    return await user.http.post(f"{BASE}/uploads/agent/{agent_id}", files=form)


async def upload(user: Anymind, packed: bytes, agent_id: int | None = None) -> dict[str, Any]:
    """A version that has just been uploaded, of a new agent unless one is given."""
    answer = await send(user, agent_id or (await user.agent())["id"], packed)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def built(user: Anymind, agent_id: int, *, seconds: float = 120) -> dict[str, Any]:
    """The agent once its build has ended."""
    return await eventually(
        lambda: user.ok("GET", f"/agents/{agent_id}"),
        until=lambda agent: agent["status"] in ("ready", "failed"),
        seconds=seconds,
    )


async def ready(user: Anymind, packed: bytes) -> int:
    """The id of a new agent that is built from this archive."""
    version = await upload(user, packed)
    agent = await built(user, version["agent_id"])
    assert agent["status"] == "ready", await user.ok("GET", f"/logs/{agent['id']}")
    return agent["id"]


async def execute(user: Anymind, agent_id: int, **payload: Any) -> dict[str, Any]:
    """An execution that has ended."""
    return await user.ok("POST", f"/runtime/{agent_id}/execute", 201, json={"payload": payload})


async def running(user: Anymind, agent_id: int, **payload: Any) -> tuple[int, "asyncio.Task[dict[str, Any]]"]:
    """The id of an execution that has begun, and the request that waits for its end."""
    known = {each["id"] for each in await user.ok("GET", "/runtime/executions", params={"limit": 1000})}
    waiting = asyncio.create_task(execute(user, agent_id, **payload))

    async def new() -> list[int]:
        listed = await user.ok("GET", "/runtime/executions", params={"limit": 1000})
        return [each["id"] for each in listed if each["id"] not in known]

    return (await eventually(new))[0], waiting


async def logs(user: Anymind, execution_id: int) -> list[tuple[str, str]]:
    """Level and message of an execution's entries."""
    return [
        (entry["level"], entry["message"]) for entry in await user.ok("GET", f"/logs/executions/{execution_id}/logs")
    ]
