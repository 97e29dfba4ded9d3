"""The WebSocket, as its document and the original's page speak it."""

import json
from typing import Any
from unittest.mock import AsyncMock

import pytest
from websockets.asyncio.client import connect

from functions.stepflow import ws
from shared import realtime
from shared.sockets import Event
from tests.support.stepflow import StepFlow, Watcher
from tests.support.values import UNKNOWN
from tests.support.waiting import eventually


def documented(message: dict[str, Any]) -> None:
    """A message has exactly these three members."""
    assert set(message) == {"type", "data", "timestamp"}
    assert message["timestamp"].endswith("Z")


async def subscribed(watcher: Watcher, execution_id: str, kind: str = "subscribe") -> None:
    await watcher.send(kind, execution_id=execution_id)
    await watcher.receives(lambda m: m["type"] == "subscribed" and m["data"]["execution_id"] == execution_id)


class TestConnection:
    @pytest.mark.parametrize("path", ["", "/", "/ws"])
    async def test_a_new_connection_is_greeted(self, stepflow: StepFlow, path: str):
        async with stepflow.watch(path) as watcher:
            greeting = watcher.received[0]
            documented(greeting)
            assert greeting["type"] == "connection_established"
            assert set(greeting["data"]) == {"client_id", "server_time", "connected_clients"}
            assert isinstance(greeting["data"]["client_id"], int)
            assert greeting["data"]["connected_clients"] >= 1

    async def test_connected_clients_are_counted(self, stepflow: StepFlow):
        async def count() -> int:
            return (await stepflow.data("/api/health/status"))["websocket"]["connected_clients"]

        await eventually(count, until=lambda clients: clients == 0)
        async with stepflow.watch() as first, stepflow.watch() as second:
            assert second.received[0]["data"]["connected_clients"] == 2
            assert first.received[0]["data"]["client_id"] != second.received[0]["data"]["client_id"]
            assert await count() == 2
        await eventually(count, until=lambda clients: clients == 0)

    async def test_the_address_of_the_socket_is_published(self, stepflow: StepFlow):
        url = (await stepflow.data("/realtime"))["url"]
        async with connect(url, proxy=None) as socket:
            assert json.loads(await socket.recv())["type"] == "connection_established"
        answer = await stepflow.http.get("/ws")
        assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
        assert url in answer.json()["error"]


class TestEvents:
    async def test_a_client_without_a_subscription_receives_all_events_in_the_documented_form(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            command = "echo STEP_START: a; echo line; echo x > f; echo ARTIFACT: f; echo STEP_COMPLETE: a; exit 2"
            execution_id = await stepflow.create(command, name="all events")
            await watcher.completed(execution_id)
        messages = watcher.of(execution_id)
        for message in messages:
            documented(message)
        assert [message["type"] for message in messages] == [
            "execution_started", "step_update", "log_entry", "artifact_created", "step_update", "error",
            "execution_completed",
        ]  # fmt: skip
        started, begun, line, artifact, done, error, completed = (message["data"] for message in messages)
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

    async def test_a_step_is_sent_while_the_command_runs(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            execution_id = await stepflow.create("echo STEP_START: a; sleep 60")
            await watcher.receives(lambda m: m["type"] == "step_update" and m["data"]["execution_id"] == execution_id)
            await stepflow.http.delete(f"/api/executions/{execution_id}")

    async def test_a_burst_of_lines_is_sent_whole_in_few_frames(self, stepflow: StepFlow):
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

    async def test_a_burst_of_steps_is_sent_whole_and_in_order_in_few_frames(self, stepflow: StepFlow):
        script = "".join(f"STEP_START: s{n}\nline {n}\nSTEP_COMPLETE: s{n}\n" for n in range(1500))
        async with stepflow.watch() as watcher:
            execution_id = await stepflow.create(f"cat <<'END'\n{script}END")
            await watcher.completed(execution_id)
        frames = watcher.of(execution_id)
        assert len(frames) < 1000
        messages = [each for frame in frames for each in [*frame["data"].pop("earlier", []), frame]]
        for message in messages:
            documented(message)
        updates = [message["data"]["step"] for message in messages if message["type"] == "step_update"]
        assert [(step["index"], step["status"]) for step in updates] == [
            (n, status) for n in range(1500) for status in ("running", "completed")
        ]
        lines = [message["data"]["content"] for message in messages if message["type"] == "log_entry"]
        assert lines == [f"line {n}" for n in range(1500)]


class TestCommands:
    async def test_a_subscriber_receives_only_its_executions_until_its_last_subscription_ends(self, stepflow: StepFlow):
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
            await watcher.send("unsubscribe", execution_id=mine)
            await watcher.receives(lambda m: m["type"] == "unsubscribed" and m["data"]["execution_id"] == mine)
            third = await stepflow.create("echo third")
            await everything.completed(third)
            assert watcher.of(third) == []

            await watcher.send("unsubscribe", execution_id=other)
            await watcher.receives(lambda m: m["type"] == "unsubscribed" and m["data"]["execution_id"] == other)
            fourth = await stepflow.create("echo fourth")
            await watcher.completed(fourth)

    async def test_a_client_may_subscribe_to_two_executions(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            ids = [await stepflow.create(f"sleep 1; echo {n}") for n in range(2)]
            for execution_id in ids:
                await subscribed(watcher, execution_id)
            for execution_id in ids:
                await watcher.completed(execution_id)

    async def test_the_status_of_an_execution_is_sent_on_request(self, stepflow: StepFlow):
        found = await stepflow.run("echo STEP_START: a; echo STEP_START: b")
        async with stepflow.watch() as watcher:
            await watcher.send("get_status", execution_id=found["execution"]["id"])
            status = await watcher.receives(lambda m: m["type"] == "execution_status")
            documented(status)
            data = status["data"]
            assert (data["execution_id"], data["status"]) == (found["execution"]["id"], "completed")
            assert [step["name"] for step in data["steps"]] == ["a", "b"]
            assert data["progress"] == 100.0

    async def test_the_status_of_the_server_is_sent_on_request(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            await watcher.send("get_status")
            status = await watcher.receives(lambda m: m["type"] == "server_status")
            documented(status)
            assert status["data"]["running"] is True
            assert status["data"]["connected_clients"] >= 1

    async def test_the_status_of_an_unknown_execution_is_an_error(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            await watcher.send("get_status", execution_id=UNKNOWN)
            error = await watcher.receives(lambda m: m["type"] == "error")
            assert error["data"]["error_code"] == "EXECUTION_NOT_FOUND"

    async def test_the_messages_of_the_original_page_are_understood(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            await watcher.socket.send(json.dumps({"type": "ping"}))
            documented(await watcher.receives(lambda m: m["type"] == "pong"))
            await watcher.socket.send(json.dumps({"type": "subscribe_execution", "execution_id": UNKNOWN}))
            await watcher.receives(lambda m: m["type"] == "subscribed" and m["data"]["execution_id"] == UNKNOWN)

    @pytest.mark.parametrize(
        "frame",
        ["", "no json", "[1]", "5", '{"type": "dance"}', '{"type": 5}', "{}", '{"type": "subscribe"}',
         '{"type": "subscribe", "data": {"execution_id": 5}}', '{"type": "get_status", "data": {"execution_id": []}}',
         "[" * 20_000, b"\xff\x00", json.dumps({"type": "subscribe", "data": {"execution_id": "x" * 65}})],
    )  # fmt: skip
    async def test_an_invalid_frame_gets_an_error_and_the_connection_stays_open(
        self, stepflow: StepFlow, frame: str | bytes
    ):
        async with stepflow.watch() as watcher:
            await watcher.socket.send(frame)
            await watcher.send("ping")
            await watcher.receives(lambda m: m["type"] == "pong")
            errors = [m for m in watcher.received if m["type"] == "error"]
            assert [error["data"]["error_code"] for error in errors] == ["INVALID_MESSAGE"]

    async def test_a_subscription_that_fails_is_not_confirmed_and_the_client_still_gets_everything(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        removed = AsyncMock()
        monkeypatch.setattr(realtime, "add_to_group", AsyncMock(return_value=False))
        monkeypatch.setattr(realtime, "remove_from_group", removed)
        for kind in ("subscribe", "unsubscribe"):
            data = json.dumps({"type": kind, "data": {"execution_id": UNKNOWN}}).encode()
            event = Event(
                "stepflow", "message", "c1", None, {"subscriptions": [UNKNOWN][: kind != "subscribe"]}, data, ""
            )
            reply = await ws.handle_event(event, AsyncMock())
            assert reply.message and reply.message["data"]["error_code"] == "SUBSCRIPTION_FAILED"
            assert reply.state is None
        removed.assert_not_awaited()

    async def test_the_101st_subscription_of_a_connection_is_refused(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            for n in range(101):
                await watcher.send("subscribe", execution_id=f"{n}")
            error = await watcher.receives(lambda m: m["type"] == "error")
            assert (error["data"]["error_code"], error["data"]["execution_id"]) == ("TOO_MANY_SUBSCRIPTIONS", "100")
            assert len([m for m in watcher.received if m["type"] == "subscribed"]) == 100
