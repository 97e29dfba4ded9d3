"""The WebSocket: its dialogue, its events in order, and its end when the key is revoked."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import function_app  # noqa: F401 - registers the deferred work
from functions.gateway import clients, updates, ws
from infra.local.environment import Environment
from shared.sockets import Event
from tests.support.gateway import FINAL, Gateway, register
from tests.support.values import SECRET

REFUSAL = {"type": "error", "error": "Invalid or missing API key"}


@asynccontextmanager
async def opened(stack: Environment) -> AsyncIterator[ClientConnection]:
    """A plain socket at the documented path, that has sent nothing yet."""
    async with connect(f"ws://127.0.0.1:{stack.ports['host']}/gateway/ws", proxy=None) as socket:
        yield socket


async def receive(socket: ClientConnection, seconds: float = 30) -> dict[str, Any]:
    return json.loads(await asyncio.wait_for(socket.recv(), seconds))


async def authenticate(socket: ClientConnection, gateway: Gateway) -> None:
    await socket.send(json.dumps({"type": "auth", "api_key": gateway.key}))
    assert await receive(socket) == {"type": "auth_success", "client_id": gateway.id}


async def closed(socket: ClientConnection, seconds: float = 30) -> None:
    """Wait until the server closes the socket; messages before that are ignored."""
    with pytest.raises(ConnectionClosed):
        async with asyncio.timeout(seconds):
            while True:
                await socket.recv()


async def story(socket: ClientConnection, run_id: str, last: str = "run_complete") -> list[dict[str, Any]]:
    """The events of one run, up to one of the type `last`."""
    events: list[dict[str, Any]] = []
    while not events or events[-1]["type"] != last:
        event = await receive(socket)
        if event.get("run_id", event.get("alert", {}).get("run_id")) == run_id:
            events.append(event)
    return events


class TestAddress:
    async def test_a_plain_http_request_gets_426_with_the_address_of_the_socket(self, http: httpx.AsyncClient):
        answer = await http.get("/gateway/ws")
        assert answer.status_code == 426
        assert answer.json()["error"] == "Upgrade Required"
        assert answer.json()["url"].startswith("ws://127.0.0.1:")
        assert (await http.get("/gateway/realtime")).json() == {"url": answer.json()["url"]}

    async def test_the_address_of_the_socket_accepts_the_same_messages(self, http: httpx.AsyncClient, gateway: Gateway):
        url = (await http.get("/gateway/realtime")).json()["url"]
        async with connect(url, proxy=None) as socket:
            await authenticate(socket, gateway)


class TestDialogue:
    @pytest.mark.parametrize(
        "first",
        ['{"type":"auth","api_key":"sk-wrong"}', '{"type":"auth"}', '{"type":"auth","api_key":7}', '{"type":"ping"}',
         "hello", "[]", "[" * 5000, '{"type":"auth","api_key":null}', '{"type":"auth","api_key":"\\ud800"}'],
    )  # fmt: skip
    async def test_a_first_frame_without_a_valid_key_closes_the_socket(self, stack: Environment, first: str):
        async with opened(stack) as socket:
            await socket.send(first)
            assert await receive(socket) == REFUSAL
            await closed(socket)

    async def test_a_socket_that_shows_no_key_receives_nothing_and_is_closed_after_a_while(
        self, stack: Environment, gateway: Gateway
    ):
        async with opened(stack) as socket:
            start = asyncio.get_running_loop().time()
            await gateway.run("true")
            assert await receive(socket) == REFUSAL
            assert asyncio.get_running_loop().time() - start > float(stack.settings["RUNYARD_SOCKET_SILENCE"]) - 1
            await closed(socket)

    async def test_a_ping_is_answered_and_other_frames_are_ignored(self, stack: Environment, gateway: Gateway):
        async with opened(stack) as socket:
            await authenticate(socket, gateway)
            for frame in ("{", "[]", '{"type":"dance"}', '{"type":"auth","api_key":"sk-wrong"}', "[" * 5000, ""):
                await socket.send(frame)
            await socket.send('{"type":"ping"}')
            while (event := await receive(socket))["type"] != "pong":
                assert event["type"] not in ("error", "auth_success")

    async def test_the_watch_over_a_silent_client_is_set_before_its_first_message_can_arrive(self):
        """Web PubSub waits for the reply to `connect`; `connected` may be handled after the first message."""
        workflows = AsyncMock()
        for kind, starts in (("connected", 0), ("connect", 1)):
            await ws.handle_event(Event("gateway", kind, "c1", None, {}, b"{}", "application/json"), workflows)
            assert workflows.start.await_count == starts


class TestEvents:
    async def test_no_event_precedes_the_confirmation_of_the_key(self, stack: Environment, gateway: Gateway):
        run = await gateway.run("while true; do echo line; sleep 0.01; done")
        await gateway.reach(run["id"], "running")
        try:
            for _ in range(10):
                async with opened(stack) as socket:
                    await authenticate(socket, gateway)  # whose first message must be the confirmation
                    assert (await receive(socket))["type"] == "run_output"
        finally:
            await gateway.http.delete(f"/gateway/api/runs/{run['id']}")

    async def test_events_of_a_run_arrive_in_order_and_once(self, stack: Environment, gateway: Gateway):
        async with opened(stack) as socket:
            await authenticate(socket, gateway)
            program = "import time\nfor i in range(5):\n    print(i, flush=True)\n    time.sleep(.15)"
            run = await gateway.run(program, "python")
            events = await story(socket, run["id"])
        assert events[0] == {"type": "run_update", "run_id": run["id"], "status": "running"}
        assert events[-2] == {"type": "run_update", "run_id": run["id"], "status": "completed"}
        result = "0\n1\n2\n3\n4\n"
        assert events[-1] == {"type": "run_complete", "run_id": run["id"], "status": "completed", "result": result}
        output = events[1:-2]
        assert {event["type"] for event in output} == {"run_output"}
        assert len(output) > 1
        assert "".join(event["text"] for event in output) == result
        assert [event["offset"] for event in output] == sorted({event["offset"] for event in output})

    async def test_events_of_a_failed_run_end_with_its_alert(self, stack: Environment, gateway: Gateway):
        async with opened(stack) as socket:
            await authenticate(socket, gateway)
            run = await gateway.run("exit 4")
            events = await story(socket, run["id"], "alert")
        assert [event["type"] for event in events] == ["run_update", "run_update", "run_complete", "alert"]
        (alert,) = (await gateway.http.get("/gateway/api/alerts", params={"run_id": run["id"]})).json()["alerts"]
        assert events[-1]["alert"] == {name: alert[name] for name in ("id", "type", "message", "run_id")}

    @pytest.mark.parametrize("way", ["delete", "patch"])
    async def test_events_of_a_cancelled_run_end_with_its_cancellation(
        self, stack: Environment, gateway: Gateway, way: str
    ):
        async with opened(stack) as socket:
            await authenticate(socket, gateway)
            run = await gateway.run("sleep 300")
            await story(socket, run["id"], "run_update")
            if way == "delete":
                await gateway.http.delete(f"/gateway/api/runs/{run['id']}")
            else:
                await gateway.http.patch(f"/gateway/api/runs/{run['id']}", json={"status": "cancelled"})
            events = await story(socket, run["id"])
        assert [(event["type"], event["status"]) for event in events] == [
            ("run_update", "cancelled"), ("run_complete", "cancelled"),
        ]  # fmt: skip
        assert events[-1]["result"] is None

    async def test_events_are_sent_to_every_client(self, stack: Environment, gateway: Gateway):
        other = await register(stack)
        async with opened(stack) as socket:
            await authenticate(socket, other)
            run = await gateway.run("true")
            assert (await story(socket, run["id"]))[-1]["status"] == "completed"
        await other.http.aclose()

    async def test_secrets_are_masked_in_events(self, stack: Environment, gateway: Gateway):
        async with opened(stack) as socket:
            await authenticate(socket, gateway)
            run = await gateway.run(f"echo the key is {SECRET}; exit 1")
            events = await story(socket, run["id"], "alert")
        assert SECRET not in json.dumps(events)
        assert "[REDACTED]" in events[-2]["result"]

    async def test_the_last_event_holds_the_whole_result(self, stack: Environment, gateway: Gateway):
        async with opened(stack) as socket:
            await authenticate(socket, gateway)
            run = await gateway.run("print('é' * 130_000)", "python")
            end = (await story(socket, run["id"]))[-1]
        assert end["result"] == (await gateway.get(run["id"]))["result"]
        assert len(end["result"]) == 130_001

    async def test_a_result_of_control_characters_is_cut_to_fit_into_a_frame(
        self, stack: Environment, gateway: Gateway
    ):
        async with opened(stack) as socket:
            await authenticate(socket, gateway)
            run = await gateway.run("print('\\x01' * 300_000)", "python")
            end = (await story(socket, run["id"]))[-1]
        whole = (await gateway.get(run["id"]))["result"]
        assert whole.endswith(end["result"])
        assert len(end["result"]) == 128 * 1024


class TestReconnect:
    async def test_a_client_that_reconnects_reads_what_it_missed_from_the_log(
        self, stack: Environment, gateway: Gateway
    ):
        async with opened(stack) as socket:
            await authenticate(socket, gateway)
            program = "import time\nfor i in range(20):\n    print(i, flush=True)\n    time.sleep(.1)"
            run = await gateway.run(program, "python")
            events = await story(socket, run["id"], "run_output")
        seen = "".join(event["text"] for event in events if event["type"] == "run_output")
        async with opened(stack) as socket:
            await authenticate(socket, gateway)
            url = f"/gateway/api/runs/{run['id']}/log"
            seen += (await gateway.http.get(url, params={"offset": len(seen)})).text
            if (await gateway.get(run["id"]))["status"] not in FINAL:
                for event in await story(socket, run["id"]):
                    if event["type"] == "run_output":  # what the log has shown already is skipped by its offset
                        seen += event["text"][max(0, len(seen) - event["offset"]) :]
        assert seen == "".join(f"{i}\n" for i in range(20))


class TestRevocation:
    @pytest.mark.parametrize("way", ["delete", "rotate"])
    async def test_the_sockets_of_a_revoked_key_are_closed(self, stack: Environment, gateway: Gateway, way: str):
        other = await register(stack)
        async with opened(stack) as mine, opened(stack) as theirs:
            await authenticate(theirs, other)
            await authenticate(mine, gateway)
            if way == "delete":
                await gateway.http.delete(f"/gateway/api/clients/{other.id}")
            else:
                await gateway.http.post(f"/gateway/api/clients/{other.id}/rotate-key")
            await closed(theirs)
            await mine.send('{"type":"ping"}')
            while (await receive(mine))["type"] != "pong":
                pass
        await other.http.aclose()

    @pytest.mark.usefixtures("app")
    @pytest.mark.parametrize("change", [clients.rotate_key, clients.delete_client])
    async def test_the_sockets_of_a_revoked_key_are_closed_though_web_pubsub_has_failed_meanwhile(
        self, stack: Environment, change: Any, monkeypatch: pytest.MonkeyPatch
    ):
        other = await register(stack)
        async with opened(stack) as socket:
            await authenticate(socket, other)
            monkeypatch.setattr(updates, "CLOSED_AGAIN", 0)
            monkeypatch.setattr(updates.realtime, "close_group", AsyncMock(return_value=False))
            await change(other.id, await clients.clients.get(other.id))
            await closed(socket)
        with pytest.raises(ConnectionError):  # so that deferred work is repeated
            await updates.close_connections("any")
        await other.http.aclose()

    async def test_a_revoked_key_opens_no_socket(self, stack: Environment, gateway: Gateway):
        other = await register(stack)
        assert (await other.http.get("/gateway/api/models")).status_code == 200  # the instance knows the key now
        await gateway.http.post(f"/gateway/api/clients/{other.id}/rotate-key")
        async with opened(stack) as socket:
            await socket.send(json.dumps({"type": "auth", "api_key": other.key}))
            assert await receive(socket) == REFUSAL
        await other.http.aclose()
