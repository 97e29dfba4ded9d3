"""The WebSocket, as its document and the original's page speak it."""

import json
import time
from datetime import datetime
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.support.stepflow import StepFlow, Watcher
from tests.support.values import UNKNOWN
from tests.support.waiting import eventually


def documented(message: dict[str, Any]) -> None:
    """A message has exactly these three members."""
    assert set(message) == {"type", "data", "timestamp"}
    assert message["timestamp"].endswith("Z")


async def subscribed(watcher: Watcher, execution_id: str, kind: str = "subscribe") -> None:
    await watcher.say(kind, execution_id=execution_id)
    await watcher.hears(lambda m: m["type"] == "subscribed" and m["data"]["execution_id"] == execution_id)


class TestConnection:
    @pytest.mark.parametrize("path", ["", "/", "/ws"])
    async def test_it_is_greeted_at_once(self, stepflow: StepFlow, path: str):
        async with stepflow.watch(path) as watcher:
            greeting = watcher.heard[0]
            documented(greeting)
            assert greeting["type"] == "connection_established"
            assert set(greeting["data"]) == {"client_id", "server_time", "connected_clients"}
            assert isinstance(greeting["data"]["client_id"], int)
            assert greeting["data"]["connected_clients"] >= 1

    async def test_clients_are_counted_as_they_come_and_go(self, stepflow: StepFlow):
        async def count() -> int:
            return (await stepflow.data("/api/health/status"))["websocket"]["connected_clients"]

        await eventually(count, until=lambda clients: clients == 0)
        async with stepflow.watch() as first, stepflow.watch() as second:
            assert second.heard[0]["data"]["connected_clients"] == 2
            assert first.heard[0]["data"]["client_id"] != second.heard[0]["data"]["client_id"]
            assert await count() == 2
        await eventually(count, until=lambda clients: clients == 0)

    async def test_its_address_is_told(self, stepflow: StepFlow):
        url = (await stepflow.data("/realtime"))["url"]
        async with connect(url, proxy=None) as socket:
            assert json.loads(await socket.recv())["type"] == "connection_established"
        answer = await stepflow.http.get("/ws")
        assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
        assert url in answer.json()["error"]


class TestEvents:
    async def test_without_a_subscription_everything_is_heard_in_the_documented_form(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            command = "echo STEP_START: a; echo line; echo x > f; echo ARTIFACT: f; echo STEP_COMPLETE: a; exit 2"
            execution_id = await stepflow.create(command, name="all events")
            await watcher.completed(execution_id)
        heard = watcher.of(execution_id)
        for message in heard:
            documented(message)
        assert [message["type"] for message in heard] == [
            "execution_started", "step_update", "log_entry", "artifact_created", "step_update", "error",
            "execution_completed",
        ]  # fmt: skip
        started, begun, line, artifact, done, error, completed = (message["data"] for message in heard)
        assert set(started) == {"execution_id", "name", "command", "started_at"}
        assert (started["name"], started["command"]) == ("all events", command)
        assert {"id", "name", "status", "index", "started_at"} <= set(begun["step"])
        assert (begun["step"]["name"], begun["step"]["status"], begun["step"]["index"]) == ("a", "running", 0)
        assert (done["step"]["id"], done["step"]["status"]) == (begun["step"]["id"], "completed")
        assert {"execution_id", "step_id", "content", "timestamp", "level"} <= set(line)
        assert (line["step_id"], line["content"], line["level"]) == (begun["step"]["id"], "line", "info")
        assert {"id", "name", "file_name", "download_url"} <= set(artifact["artifact"])
        assert (await stepflow.http.get(artifact["artifact"]["download_url"])).content == b"x\n"
        assert set(error) == {"execution_id", "error_message", "error_code", "timestamp"}
        assert error["error_code"] == "EXECUTION_ERROR"
        assert set(completed) == {
            "execution_id", "status", "exit_code", "completed_at", "duration_seconds", "total_steps", "artifacts_count",
        }  # fmt: skip
        assert (completed["status"], completed["exit_code"]) == ("failed", 2)
        assert (completed["total_steps"], completed["artifacts_count"]) == (1, 1)

    async def test_a_step_is_heard_while_the_command_goes_on(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            begun = time.monotonic()
            execution_id = await stepflow.create("echo STEP_START: a; sleep 60")
            await watcher.hears(lambda m: m["type"] == "step_update" and m["data"]["execution_id"] == execution_id)
            assert time.monotonic() - begun < 20
            await stepflow.http.delete(f"/api/executions/{execution_id}")

    async def test_a_step_is_heard_within_a_second_of_its_line(self, stepflow: StepFlow):
        code = "import time\nfor _ in range(5): time.sleep(0.5); print('STEP_START:', time.time())"
        async with stepflow.watch() as watcher:
            execution_id = await stepflow.create(["python3", "-c", code])
            await watcher.completed(execution_id)
        steps = [m for m in watcher.of(execution_id) if m["type"] == "step_update"]
        late = [
            _seconds(m["timestamp"]) - float(m["data"]["step"]["name"])
            for m in steps
            if m["data"]["step"]["status"] == "running"
        ]
        assert len(late) == 5
        assert sorted(late)[2] < 1

    async def test_a_burst_of_lines_needs_few_frames_and_loses_none(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            execution_id = await stepflow.create(["python3", "-c", "for n in range(20_000): print('line', n)"])
            await watcher.completed(execution_id)
        frames = [m["data"] for m in watcher.of(execution_id) if m["type"] == "log_entry"]
        lines = [line for frame in frames for line in frame["content"].split("\n")]
        assert lines == [f"line {n}" for n in range(20_000)]
        assert len(frames) < 200
        number = 0
        for frame in frames:
            assert (frame["line"], frame["lines"]) == (number, len(frame["content"].split("\n")))
            number += frame["lines"]


class TestCommands:
    async def test_after_a_subscription_only_that_execution_is_heard_and_after_the_last_end_everything(
        self, stepflow: StepFlow
    ):
        async with stepflow.watch() as watcher, stepflow.watch() as everything:
            mine = await stepflow.create("sleep 1; echo mine")
            await subscribed(watcher, mine)
            other = await stepflow.create("echo other")
            await everything.completed(mine)
            await everything.completed(other)
            await watcher.completed(mine)
            assert watcher.of(other) == []
            assert [m["type"] for m in everything.of(mine)].count("log_entry") == 1
            assert [m["type"] for m in watcher.of(mine)].count("log_entry") == 1

            await subscribed(watcher, other, "subscribe_execution")
            await watcher.say("unsubscribe", execution_id=mine)
            await watcher.hears(lambda m: m["type"] == "unsubscribed" and m["data"]["execution_id"] == mine)
            third = await stepflow.create("echo third")
            await everything.completed(third)
            assert watcher.of(third) == []

            await watcher.say("unsubscribe", execution_id=other)
            await watcher.hears(lambda m: m["type"] == "unsubscribed" and m["data"]["execution_id"] == other)
            fourth = await stepflow.create("echo fourth")
            await watcher.completed(fourth)

    async def test_two_subscriptions_hear_both(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            ids = [await stepflow.create(f"sleep 1; echo {n}") for n in range(2)]
            for execution_id in ids:
                await subscribed(watcher, execution_id)
            for execution_id in ids:
                await watcher.completed(execution_id)

    async def test_the_status_of_an_execution(self, stepflow: StepFlow):
        found = await stepflow.run("echo STEP_START: a; echo STEP_START: b")
        async with stepflow.watch() as watcher:
            await watcher.say("get_status", execution_id=found["execution"]["id"])
            status = await watcher.hears(lambda m: m["type"] == "execution_status")
            documented(status)
            data = status["data"]
            assert (data["execution_id"], data["status"]) == (found["execution"]["id"], "completed")
            assert [step["name"] for step in data["steps"]] == ["a", "b"]
            assert data["progress"] == 100.0

    async def test_the_status_of_the_server(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            await watcher.say("get_status")
            status = await watcher.hears(lambda m: m["type"] == "server_status")
            documented(status)
            assert status["data"]["running"] is True
            assert status["data"]["connected_clients"] >= 1

    async def test_the_status_of_an_execution_that_nobody_has(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            await watcher.say("get_status", execution_id=UNKNOWN)
            error = await watcher.hears(lambda m: m["type"] == "error")
            assert error["data"]["error_code"] == "EXECUTION_NOT_FOUND"

    async def test_what_the_originals_page_sends(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            await watcher.socket.send(json.dumps({"type": "ping"}))
            documented(await watcher.hears(lambda m: m["type"] == "pong"))
            await watcher.socket.send(json.dumps({"type": "subscribe_execution", "execution_id": UNKNOWN}))
            await watcher.hears(lambda m: m["type"] == "subscribed" and m["data"]["execution_id"] == UNKNOWN)

    @pytest.mark.parametrize(
        "frame",
        ["", "no json", "[1]", "5", '{"type": "dance"}', '{"type": 5}', "{}", '{"type": "subscribe"}',
         '{"type": "subscribe", "data": {"execution_id": 5}}', '{"type": "get_status", "data": {"execution_id": []}}',
         "[" * 20_000, b"\xff\x00"],
    )  # fmt: skip
    async def test_a_frame_that_is_no_message_gets_an_error_and_the_connection_stays(
        self, stepflow: StepFlow, frame: str | bytes
    ):
        async with stepflow.watch() as watcher:
            await watcher.socket.send(frame)
            await watcher.say("ping")
            await watcher.hears(lambda m: m["type"] == "pong")
            errors = [m for m in watcher.heard if m["type"] == "error"]
            assert [error["data"]["error_code"] for error in errors] == ["INVALID_MESSAGE"]

    async def test_more_subscriptions_than_a_connection_may_have(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            for n in range(101):
                await watcher.say("subscribe", execution_id=f"{n}")
            error = await watcher.hears(lambda m: m["type"] == "error")
            assert (error["data"]["error_code"], error["data"]["execution_id"]) == ("TOO_MANY_SUBSCRIPTIONS", "100")
            assert len([m for m in watcher.heard if m["type"] == "subscribed"]) == 100


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
