"""Agents as archives: packing, uploading, building and executing them."""

import asyncio
import io
import tarfile
import textwrap
import uuid
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.support.anymind import BASE, Anymind
from tests.support.waiting import eventually

CONFIG = "name: test\nentrypoint: main:handle\n"

ECHO = "def handle(payload):\n    return payload\n"

CODE = """
def handle(payload):
    scope = {}
    exec(payload["code"], scope)
    return scope.get("result")
"""
"""An agent that runs the code which it is called with, and returns what the code calls `result`."""

TWO_MODULES = {
    "anymind.yaml": "name: my-agent\nentrypoint: agent.main:handle\n",
    "requirements.txt": "six>=1.16\n",
    "agent/__init__.py": "",
    "agent/words.py": "import six\n\ndef repeat(word, count):\n    return six.text_type(word) * count\n",
    "agent/main.py": """
        import sys

        from agent.words import repeat

        def handle(payload):
            print("asked for", payload["count"])
            print("nothing is wrong", file=sys.stderr)
            return {"text": repeat("x", payload["count"])}
        """,
}
"""An agent of two modules and a package, which prints to both streams."""


def archive(files: Mapping[str, str | bytes | tarfile.TarInfo]) -> bytes:
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


async def installed(user: Anymind) -> int:
    """The id of a new agent `TWO_MODULES` that is built; skips the test where containers reach no package index."""
    version = await upload(user, archive(TWO_MODULES))
    agent = await built(user, version["agent_id"], seconds=200)
    if agent["status"] == "failed":
        message: str = (await user.ok("GET", f"/logs/{agent['id']}"))[-1]["message"]
        assert message.startswith("Installing requirements.txt "), message
        pytest.skip(f"containers reach no package index here: {message[-300:]}")
    return agent["id"]


async def executed_at_once(user: Anymind, agent_id: int, count: int) -> list[dict[str, Any]]:
    """Execute `TWO_MODULES` so many times at once, check every answer, and return the executions.

    A request that is refused because storage does not answer is sent again under its key, as a client would.
    """

    async def insist(number: int) -> dict[str, Any]:
        key = {"Idempotency-Key": uuid.uuid4().hex}
        body = {"payload": {"count": number}}

        async def send() -> httpx.Response:
            return await user.http.post(f"{BASE}/runtime/{agent_id}/execute", json=body, headers=key)

        answer = await eventually(send, until=lambda answer: answer.status_code not in (409, 503), seconds=300)
        assert answer.status_code == 201, answer.text
        return await ended(user, answer.json())

    done = await asyncio.gather(*(insist(number) for number in range(count)))
    assert [each["output_data"] for each in done] == [{"text": "x" * number} for number in range(count)]
    assert len({each["id"] for each in done}) == count
    return done


async def ready(user: Anymind, packed: bytes) -> int:
    """The id of a new agent that is built from this archive."""
    version = await upload(user, packed)
    agent = await built(user, version["agent_id"])
    assert agent["status"] == "ready", await user.ok("GET", f"/logs/{agent['id']}")
    return agent["id"]


async def execute(user: Anymind, agent_id: int, **payload: Any) -> dict[str, Any]:
    """An execution that has ended."""
    return await ended(user, await user.ok("POST", f"/runtime/{agent_id}/execute", 201, json={"payload": payload}))


async def ended(user: Anymind, execution: dict[str, Any]) -> dict[str, Any]:
    """An execution at its end, which its answer may not have waited for."""
    if execution["status"] not in ("pending", "running"):
        return execution
    return await eventually(
        lambda: user.ok("GET", f"/runtime/executions/{execution['id']}"),
        until=lambda found: found["status"] not in ("pending", "running"),
        seconds=200,
    )


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
