"""Limits: concurrent functions, functions that misbehave, and large numbers of instances."""

import asyncio
import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.emulator.durable import Engine, FunctionFailed
from infra.emulator.durable.operations import ManagementStore
from tests.infra.emulator.durable.harness import eventually
from tests.infra.emulator.durable.load import BASE, all_finished, complete_chains, start_all, statuses


class Gauge:
    """Counts concurrent functions, and blocks each kind until it is released."""

    def __init__(self) -> None:
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.go = {kind: asyncio.Event() for kind in ("orchestrationTrigger", "activityTrigger", "entityTrigger")}

    async def __call__(self, kind: str, name: str, data: str) -> str | None:
        self.running[kind] += 1
        self.most[kind] = max(self.most[kind], self.running[kind])
        await self.go[kind].wait()
        self.running[kind] -= 1
        if kind == "orchestrationTrigger":
            call = {"actionType": 0, "functionName": "a", "input": "1"}
            done = any(e["EventType"] == 5 for e in json.loads(data)["history"])
            return json.dumps({"isDone": done, "schemaVersion": 3, "actions": [[call]]})
        if kind == "entityTrigger":
            results = [{"isError": False, "result": "null"} for _ in json.loads(data)["batch"]]
            return json.dumps({"entityExists": True, "entityState": "1", "results": results})
        return "1"


async def is_completed(http: httpx.AsyncClient, id: str) -> bool:
    return (await http.get(f"{BASE}/instances/{id}")).json()["runtimeStatus"] == "Completed"


Opened = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def opened(tmp_path: Path) -> Any:
    """Start an engine with `invoke`; returns a client that calls its API without a server."""
    engines: list[Engine] = []
    clients: list[httpx.AsyncClient] = []

    async def start(invoke: Any, **options: Any) -> httpx.AsyncClient:
        engine = Engine(tmp_path / f"{len(engines)}.db", invoke, **options)
        await engine.start()
        engines.append(engine)
        clients.append(httpx.AsyncClient(transport=httpx.ASGITransport(engine)))
        return clients[-1]

    yield start
    for client in clients:
        await client.aclose()
    for engine in engines:
        await engine.stop()


async def test_no_more_runs_at_a_time_than_the_host_file_allows(opened: Opened):
    gauge = Gauge()
    http = await opened(gauge, max_orchestrators=2, max_activities=3, max_entities=4)
    await start_all(http, 20)
    for number in range(20):
        await http.post(f"{BASE}/entities/thing/{number}?op=x")
    await eventually(lambda: gauge.running == {"orchestrationTrigger": 2, "entityTrigger": 4})
    gauge.go["orchestrationTrigger"].set()
    await eventually(lambda: gauge.running["activityTrigger"] == 3)
    for kind in gauge.go:
        gauge.go[kind].set()
    await eventually(lambda: all_finished(http))
    assert gauge.most == {"orchestrationTrigger": 2, "activityTrigger": 3, "entityTrigger": 4}


async def test_failing_orchestrators_do_not_affect_others(opened: Opened, caplog: pytest.LogCaptureFixture):
    released = threading.Event()

    async def invoke(kind: str, name: str, data: str) -> str | None:
        match name:
            case "endless":
                await asyncio.to_thread(released.wait, 60)
            case "raising":
                raise FunctionFailed("RuntimeError: at once")
            case "talking_nonsense":
                return '{"isDone": true, "actions": [[{"actionType": 0}]]}'
            case "silent":
                return None
            case "from_the_future":
                return '{"isDone": false, "actions": [[{"actionType": 99}]]}'
        return '{"isDone": true, "actions": [[]], "output": "fine"}'

    http = await opened(invoke, max_orchestrators=2, turn_seconds=0.3)
    poisons = ("endless", "raising", "talking_nonsense", "silent", "from_the_future")
    for name in poisons:
        await start_all(http, 2, name)
    await start_all(http, 10, "good")
    try:
        await eventually(lambda: all_finished(http))
        found = await statuses(http)
        assert {found[f"good-{n}"]["output"] for n in range(10)} == {"fine"}
        assert {found[f"{name}-0"]["runtimeStatus"] for name in poisons} == {"Failed"}
        assert "did not yield within 0.3 seconds" in found["endless-0"]["output"]
        assert "RuntimeError: at once" in found["raising-0"]["output"]
        assert "does not follow the protocol" in found["talking_nonsense-0"]["output"]
        assert "does not follow the protocol" in found["silent-0"]["output"]
        assert "action 99 is not supported" in found["from_the_future-0"]["output"]
        assert "orchestrator function endless exceeded its time limit and keeps its thread" in caplog.text
    finally:
        released.set()


async def test_an_entity_with_an_invalid_answer_keeps_its_state(opened: Opened):
    answers = ['{"entityExists": true, "entityState": "7", "results": [{"isError": false, "result": "1"}]}', "{}", ""]

    async def invoke(kind: str, name: str, data: str) -> str | None:
        return answers.pop(0)

    http = await opened(invoke)
    for _ in range(3):
        await http.post(f"{BASE}/entities/thing/x?op=y")
        left = len(answers)
        await eventually(lambda left=left: len(answers) < left or not answers)
    await eventually(lambda: not answers)
    state = await http.get(f"{BASE}/entities/thing/x")
    assert (state.status_code, state.json()) == (200, 7)


async def test_a_failed_invocation_is_repeated(opened: Opened, monkeypatch: pytest.MonkeyPatch):
    """The invocation fails, not the function, as when a worker is replaced."""
    monkeypatch.setattr("infra.emulator.durable.lanes.PAUSE", 0.01)
    calls: list[str] = []

    async def invoke(kind: str, name: str, data: str) -> str | None:
        calls.append(kind)
        if len(calls) < 4:
            raise ConnectionError("the worker cannot be reached")
        return '{"isDone": true, "actions": [[]]}'

    http = await opened(invoke)
    await start_all(http, 1)
    await eventually(lambda: all_finished(http))
    assert len(calls) == 4


async def test_an_endless_continue_as_new_lets_others_run(opened: Opened):
    async def invoke(kind: str, name: str, data: str) -> str | None:
        if name == "spinning":
            return '{"isDone": false, "actions": [[{"actionType": 4, "input": "1"}]]}'
        return '{"isDone": true, "actions": [[]]}'

    http = await opened(invoke, max_orchestrators=1)
    await start_all(http, 1, "spinning")
    await start_all(http, 20, "good")
    done = {"runtimeStatus": "Completed", "top": "100"}

    async def all_good() -> bool:
        return len((await http.get(f"{BASE}/instances", params=done)).json()) == 20

    await eventually(all_good)
    assert (await http.post(f"{BASE}/instances/spinning-0/terminate?reason=dizzy")).status_code == 202
    await eventually(lambda: all_finished(http))


async def test_a_step_that_cannot_be_stored_is_repeated(opened: Opened, monkeypatch: pytest.MonkeyPatch):
    """As when the disk is full for some time."""
    monkeypatch.setattr("infra.emulator.durable.lanes.PAUSE", 0.01)
    failures = {"commit": 2, "activity_done": 2, "load": 2}
    for method in failures:
        original = getattr(ManagementStore, method)

        def failing(self: Any, *arguments: Any, method: str = method, original: Any = original) -> Any:
            result = original(self, *arguments)
            if failures[method]:
                failures[method] -= 1
                raise sqlite3.OperationalError("database or disk is full")
            return result

        monkeypatch.setattr(ManagementStore, method, failing)
    gauge = Gauge()
    for kind in gauge.go:
        gauge.go[kind].set()
    http = await opened(gauge)
    await start_all(http, 1)
    await eventually(lambda: all_finished(http))
    found = await statuses(http)
    assert (found["some-0"]["runtimeStatus"], failures) == ("Completed", {"commit": 0, "activity_done": 0, "load": 0})


async def test_an_instance_suspended_during_its_step_stays_suspended(opened: Opened):
    gauge = Gauge()
    for kind in ("activityTrigger", "entityTrigger"):
        gauge.go[kind].set()
    http = await opened(gauge)
    await start_all(http, 1)
    await eventually(lambda: gauge.running["orchestrationTrigger"])
    assert (await http.post(f"{BASE}/instances/some-0/suspend")).status_code == 202
    gauge.go["orchestrationTrigger"].set()
    await eventually(lambda: gauge.most["activityTrigger"] and not gauge.running["activityTrigger"])
    await start_all(http, 1, "other")
    await eventually(lambda: all_finished(http))
    assert (await statuses(http))["some-0"]["runtimeStatus"] == "Suspended"
    assert (await http.post(f"{BASE}/instances/some-0/resume")).status_code == 202
    await eventually(lambda: all_finished(http))
    assert (await statuses(http))["some-0"]["runtimeStatus"] == "Completed"


async def test_a_result_that_arrives_during_continue_as_new_does_not_reach_the_next_execution(opened: Opened):
    during_step, answered, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    shown: list[int] = []

    async def invoke(kind: str, name: str, data: str) -> str | None:
        if name == "late":
            await during_step.wait()
            answered.set()
        if kind == "activityTrigger":
            return "1"
        payload = json.loads(data)
        if name == "other" or payload["input"] == '"again"':
            shown.extend(e["EventType"] for e in payload["history"] if name != "other")
            return '{"isDone": true, "actions": [[]]}'
        calls = [{"actionType": 0, "functionName": activity, "input": "1"} for activity in ("early", "late")]
        if any(e["EventType"] == 5 for e in payload["history"]):
            during_step.set()
            await go_on.wait()
            calls.append({"actionType": 4, "input": '"again"'})
        return json.dumps({"isDone": False, "actions": [calls]})

    http = await opened(invoke)
    await start_all(http, 1)
    await answered.wait()
    await start_all(http, 1, "other")
    await eventually(lambda: is_completed(http, "other-0"))  # the late result was stored before this
    go_on.set()
    await eventually(lambda: is_completed(http, "some-0"))
    assert shown == [12, 0]


async def test_a_request_is_completed_after_its_client_has_disconnected(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
):
    begun, gone = threading.Event(), threading.Event()
    start = ManagementStore.start

    def slow(self: ManagementStore, instance: Any) -> bool:
        begun.set()
        gone.wait(20)
        return start(self, instance)

    monkeypatch.setattr(ManagementStore, "start", slow)
    gauge = Gauge()
    for kind in gauge.go:
        gauge.go[kind].set()
    http = await opened(gauge)
    request = asyncio.create_task(http.post(f"{BASE}/orchestrators/some/some-0"))
    await eventually(begun.is_set)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    gone.set()
    await eventually(lambda: is_completed(http, "some-0"))


async def test_requests_before_the_start_and_after_the_stop_are_answered(tmp_path: Path):
    engine = Engine(tmp_path / "durable.db", Gauge())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(engine)) as http:
        assert (await http.get(f"{BASE}/instances/x")).status_code == 503
        await engine.start()
        assert (await http.get(f"{BASE}/instances/x")).status_code == 404
        await engine.stop()
        assert (await http.get(f"{BASE}/instances/x")).status_code == 503


async def test_a_hundred_instances_of_five_activities_complete(tmp_path: Path):
    """`tests/campaigns/test_engine.py` takes thousands."""
    await complete_chains(tmp_path / "durable.db", 100)
