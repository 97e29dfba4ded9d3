"""The socket: greets first, then brings what is published for its person."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
from websockets.asyncio.client import connect

from functions.ownpilot.core.live import publish
from infra.local.environment import Environment
from tests.support.ownpilot import OwnPilot


async def receive(socket: Any) -> dict[str, Any]:
    async with asyncio.timeout(60):
        return json.loads(await socket.recv())


@pytest.mark.usefixtures("app")
async def test_the_greeting_comes_first_then_the_messages_of_this_person_only(stack: Environment, me: OwnPilot):
    address = f"ws://127.0.0.1:{stack.ports['host']}/ownpilot/ws"
    async with connect(f"{address}?userId={quote(me.user)}", proxy=None) as mine, connect(address, proxy=None) as other:
        for socket, user in ((mine, me.user), (other, "default")):
            ready = await receive(socket)
            assert (ready["type"], ready["payload"]["userId"]) == ("connection:ready", user)
            assert ready["timestamp"].endswith("Z")

        async def published() -> dict[str, Any]:  # the greeting is sent before the socket joins the group of its person
            while True:
                await publish(me.user, "task:created", {"id": "1"})
                try:
                    async with asyncio.timeout(1):
                        return json.loads(await mine.recv())
                except TimeoutError:
                    continue

        found = await published()
        assert (found["type"], found["payload"]) == ("task:created", {"id": "1"})
        await other.send('{"type": "ping"}')
        assert (await receive(other))["type"] == "pong"
        await other.send('{"type": "dance"}')
        assert (await receive(other))["payload"]["code"] == "INVALID_MESSAGE"


async def test_without_an_upgrade_the_address_is_told(me: OwnPilot):
    answer = await me.http.get("/ownpilot/ws")
    assert (answer.status_code, answer.json()["error"]["code"]) == (426, "UPGRADE_REQUIRED")
    assert answer.json()["error"]["details"]["url"].endswith("/client/hubs/ownpilot")
