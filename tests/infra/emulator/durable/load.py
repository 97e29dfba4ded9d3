"""Many instances on an engine whose API is called without a server."""

import json
from pathlib import Path
from typing import Any

import httpx

from infra.emulator.durable import Engine
from tests.infra.emulator.durable.harness import eventually

BASE = "http://engine/runtime/webhooks/durabletask"


async def start_all(http: httpx.AsyncClient, count: int, name: str = "some") -> None:
    for number in range(count):
        answer = await http.post(f"{BASE}/orchestrators/{name}/{name}-{number}")
        assert answer.status_code == 202


async def statuses(http: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    found = (await http.get(f"{BASE}/instances", params={"top": "10000"})).json()
    return {status["instanceId"]: status for status in found}


async def all_finished(http: httpx.AsyncClient) -> bool:
    unfinished = {"runtimeStatus": "Pending,Running", "top": "1"}
    return not (await http.get(f"{BASE}/instances", params=unfinished)).json()


async def complete_chains(database: Path, count: int) -> None:
    """Complete this number of instances, each of five activities in a row.

    Without the SDK, whose replay would take most of the time; `bench/durable.py` measures both.
    """

    async def invoke(kind: str, name: str, data: str) -> str | None:
        if kind == "activityTrigger":
            return str(int(data) + 1)
        results = [json.loads(e["Result"]) for e in json.loads(data)["history"] if e["EventType"] == 5]
        actions = [{"actionType": 0, "functionName": "add", "input": str(n)} for n in [0, *results][:5]]
        return json.dumps({"isDone": len(results) == 5, "actions": [actions], "output": [0, *results][-1]})

    engine = Engine(database, invoke)
    await engine.start()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(engine)) as http:
        await start_all(http, count)
        await eventually(lambda: all_finished(http), seconds=count / 4 + 30)
        found = await statuses(http)
    await engine.stop()
    assert len(found) == count
    assert {(status["runtimeStatus"], status["output"]) for status in found.values()} == {("Completed", 5)}
