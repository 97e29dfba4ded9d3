"""The Model Context Protocol: spoken with its own client, and as bare messages."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent

from functions.ownpilot import mcp as room
from functions.ownpilot.core.owner import Person
from functions.ownpilot.tools.registry import built_in
from infra.local.environment import Environment
from shared.http.errors import Forbidden
from shared.settings import Settings
from shared.tables import StorageUnavailable
from tests.support.environments import StrictHost
from tests.support.gateway import Gateway
from tests.support.ownpilot import OwnPilot, refused

AT = "/ownpilot/mcp"


@asynccontextmanager
async def connected_client(url: str, **options: Any) -> AsyncIterator[Client]:
    """The protocol's own client."""
    async with (
        httpx2.AsyncClient(trust_env=False, timeout=60, **options) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


async def send(me: OwnPilot, message: Any, **headers: str) -> httpx.Response:
    return await me.http.post(AT, json=message, headers=headers, params={"userId": me.user})


async def answer(me: OwnPilot, method: str, **params: Any) -> Any:
    """The answer to one request."""
    found = (await send(me, {"jsonrpc": "2.0", "id": 7, "method": method, "params": params})).json()
    assert (found["jsonrpc"], found["id"]) == ("2.0", 7)
    return found


async def test_a_failure_of_storage_concerns_one_message_of_a_batch(monkeypatch: pytest.MonkeyPatch):
    async def fail(owner: str) -> None:
        raise StorageUnavailable

    monkeypatch.setattr(room, "tools_for", fail)
    messages = [{"jsonrpc": "2.0", "id": at, "method": method} for at, method in enumerate(("ping", "tools/list"))]
    done, failed = await room.answer_batch(messages, Person("me"))
    assert done["result"] == {} and (failed["id"], failed["error"]["code"]) == (1, room.INTERNAL_ERROR)
    assert "storage" in failed["error"]["message"]


async def test_its_own_client_lists_and_calls_every_kind_of_tool(me: OwnPilot, stack: Environment):
    body = {
        "name": "greet", "description": "Greets", "code": "return `Hello ${args.name}`",
        "parameters": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    }  # fmt: skip
    await me.post("/custom-tools", **body)
    await me.post("/custom-tools", name="nothing", description="Takes nothing", code="return 1", parameters={})
    async with connected_client(f"{stack.url}{AT}", params={"userId": me.user}) as client:
        assert client.server_info and client.server_info.name == "OwnPilot"
        names, cursor = list[str](), None
        while True:
            page = await client.list_tools(cursor=cursor)
            names += [tool.name for tool in page.tools]
            assert all(tool.input_schema["type"] == "object" and tool.description for tool in page.tools)
            cursor = page.next_cursor
            if cursor is None:
                break
        assert names == sorted({*built_in(), "greet", "nothing"}) and len(names) > room.PAGE
        calls = [("calculate", {"expression": "6*7"}, "42"), ("greet", {"name": "Ann"}, "Hello Ann"),
                 ("text_count", {"text": "two words"}, "2")]  # fmt: skip
        for name, arguments, expected in calls:
            called = await client.call_tool(name, arguments)
            text = called.content[0]
            assert isinstance(text, TextContent) and expected in text.text and not called.is_error, called
        missing = await client.call_tool("calculate", {})
        assert missing.is_error


async def test_a_tool_runs_under_the_same_rules_as_elsewhere(me: OwnPilot):
    await me.post("/autonomy/tools/block", tool="add_note")
    found = (await answer(me, "tools/call", name="add_note", arguments={"title": "t", "content": "c"}))["result"]
    assert found["isError"] and "rejected" in found["content"][0]["text"]
    assert await me.get("/notes") == []
    await answer(me, "tools/call", name="write_file", arguments={"path": "a", "content": "1"})
    assert (await me.get("/file-workspaces/default/files/a"))["content"] == "1"


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        ({"jsonrpc": "2.0", "id": 1, "method": "resources/list"}, 200, -32601),
        ({"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": {"name": "nothing"}}, 200, -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "use_tool"}}, 200, -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "calculate", "arguments": []}}, 200,
         -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "calculate", "arguments": "x"}}, 200,
         -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"cursor": 5}}, 200, -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": [1]}, 200, -32602),
        ({"jsonrpc": "2.0", "id": None, "method": "ping"}, 400, -32600),
        ({"jsonrpc": "2.0", "id": True, "method": "ping"}, 400, -32600),
        ({"jsonrpc": "1.0", "id": 1, "method": "ping"}, 400, -32600),
        ({"id": 1}, 400, -32600),
        ("text", 400, -32600), (0, 400, -32600), ([], 400, -32600), ([{}] * 51, 400, -32600),
    ],
)  # fmt: skip
async def test_what_cannot_be_answered_is_an_error(me: OwnPilot, message: Any, status: int, code: int):
    found = await send(me, message)
    assert (found.status_code, found.json()["error"]["code"]) == (status, code), found.text


async def test_notifications_are_accepted_and_batches_answered(me: OwnPilot):
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    for message in (note, [note], {"jsonrpc": "2.0", "id": 1, "result": {}}):
        accepted = await send(me, message)
        assert (accepted.status_code, accepted.content) == (202, b"")
    found = (await send(me, [ping, note, {**ping, "id": "two", "method": "no"}])).json()
    assert [each["id"] for each in found] == [1, "two"] and found[0]["result"] == {}


async def test_the_version_is_agreed_on(me: OwnPilot):
    for wanted, agreed in [(each, each) for each in room.VERSIONS] + [("1999-01-01", room.VERSIONS[0])]:
        assert (await answer(me, "initialize", protocolVersion=wanted))["result"]["protocolVersion"] == agreed
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    refused(await send(me, ping, **{"MCP-Protocol-Version": "1999-01-01"}), 400, "BAD_REQUEST")


async def test_bodies_that_are_no_json(me: OwnPilot):
    for content in (b"", b"{", b"\xff", b'{"jsonrpc": NaN}', b"[" * 100_000, b'"\\ud800"'):
        found = await me.http.post(AT, content=content, headers={"Content-Type": "application/json"})
        assert found.status_code == 400, content
        body = found.json()
        assert "success" in body or body["error"]["code"] == room.PARSE_ERROR
    refused(await me.http.post(AT, content=b"{}"), 400, "BAD_REQUEST")
    large = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": list(range(20_001))}})
    assert (await me.http.post(AT, content=large, headers={"Content-Type": "application/json"})).status_code == 413


async def test_a_content_type_may_be_in_capitals(me: OwnPilot):
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert (await send(me, ping, **{"Content-Type": "Application/JSON; charset=UTF-8"})).json()["result"] == {}


async def test_there_are_no_sessions_and_no_streams(me: OwnPilot):
    for method in ("GET", "DELETE"):
        found = await me.http.request(method, AT)
        refused(found, 405, "METHOD_NOT_ALLOWED")
        assert found.headers["allow"] == "POST"


async def test_pages_of_other_sites_may_not_call(me: OwnPilot):
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    for origin in ("https://evil.example", "null", "http://localhost.evil.example"):
        answer = await send(me, ping, Origin=origin)
        assert answer.status_code == 403, answer.text
    assert (await send(me, ping, Origin="http://localhost:5173")).status_code == 200


async def test_in_azure_pages_of_allowed_origins_and_of_the_app_may_call(monkeypatch: pytest.MonkeyPatch):
    deployed = Settings.model_validate({
        "WEBSITE_HOSTNAME": "func.example", "RUNYARD_PLATFORM_CORS": "true",
        "RUNYARD_CORS_ORIGINS": "https://app.example",
    })  # fmt: skip
    monkeypatch.setattr("shared.http.api.settings", lambda: deployed)
    monkeypatch.setattr(room, "settings", lambda: deployed)
    for origin in (None, "https://app.example", "https://func.example", "http://localhost:3000"):
        await room._check_origin(origin)
    with pytest.raises(Forbidden):
        await room._check_origin("https://evil.example")


async def test_a_key_is_needed_where_the_api_needs_one(strict_host: StrictHost, gateway: Gateway):
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    refused(await strict_host.http.post(AT, json=ping), 401, "UNAUTHORIZED")
    key = {"X-API-Key": gateway.key}
    assert (await strict_host.http.post(AT, json=ping, headers=key)).json()["result"] == {}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "add_note", "arguments": {"title": "of the client", "content": "c"},
    }}  # fmt: skip
    await strict_host.http.post(AT, json=call, headers=key)
    notes = (await strict_host.http.get("/ownpilot/api/v1/notes", headers=key)).json()["data"]
    assert {note["userId"] for note in notes if note["title"] == "of the client"} == {gateway.id}
