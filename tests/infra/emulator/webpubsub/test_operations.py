"""The REST operations through the vendor's SDK, as listed in `infra/emulator/README.md`."""

import inspect
import io
import json
import re
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.rest import HttpRequest
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from infra.emulator.processes import ROOT
from infra.emulator.webpubsub import wire
from tests.support.webpubsub import Bench, eventually, read, read_json

ODD = "a/b c%41?é:'"  # characters that must be encoded in a path segment


async def members(bench: Bench, count: int = 3, **options: Any) -> tuple[list[ClientConnection], list[str]]:
    """Plain clients of the hub `open` with their connection ids; `options` are claims of their tokens."""
    clients: list[ClientConnection] = []
    ids: list[str] = []
    for _ in range(count):
        clients.append(await bench.client(url=await bench.token_url(**options)))
        ids.append(bench.id_of())
    return clients, ids


async def got(bench: Bench, clients: list[ClientConnection]) -> list[list[str]]:
    """The frames that each client has received so far."""
    await bench.sdk().send_to_all("end", content_type="text/plain")
    received: list[list[str]] = []
    for client in clients:
        frames: list[str] = []
        while (frame := await read(client)) != "end":
            frames.append(str(frame))
        received.append(frames)
    return received


class TestSendToAll:
    @pytest.mark.parametrize(
        ("message", "content_type", "plain", "kind", "data"),
        [
            ({"ü": 1}, "application/json", '{"ü": 1}', "json", {"ü": 1}),
            ("text", "application/json", '"text"', "json", "text"),
            # As bytes, because the SDK sends a wrong content length for text: it counts characters.
            ("grüße".encode(), "text/plain", "grüße", "text", "grüße"),
            (io.BytesIO(b"\x00\xff"), "application/octet-stream", b"\x00\xff", "binary", "AP8="),
        ],
    )
    async def test_every_content_type_reaches_both_kinds_of_client(
        self, bench: Bench, message: Any, content_type: str, plain: Any, kind: str, data: Any
    ):
        first, (second, _) = await bench.client(), await bench.json_client()
        await bench.sdk().send_to_all(message, content_type=content_type)
        frame = await read(first)
        if content_type == "application/json":
            assert isinstance(frame, str) and json.loads(frame) == json.loads(plain)
        else:
            assert frame == plain
        assert await read_json(second) == {"type": "message", "from": "server", "dataType": kind, "data": data}

    async def test_excluded_and_filtered_clients_get_nothing(self, bench: Bench):
        clients, ids = await members(bench, user_id="ann")
        sdk = bench.sdk()
        await sdk.send_to_all("most", excluded=[ids[0], "nobody"], content_type="text/plain")
        await sdk.send_to_all("one", filter=f"connectionId eq '{ids[2]}'", content_type="text/plain")
        assert await got(bench, clients) == [[], ["most"], ["most", "one"]]

    async def test_not_to_another_hub(self, bench: Bench):
        elsewhere = await bench.client("quiet")
        clients, _ = await members(bench, 1)
        await bench.sdk().send_to_all("here", content_type="text/plain")
        await bench.sdk("quiet").send_to_all("there", content_type="text/plain")
        assert await read(elsewhere) == "there"
        assert await got(bench, clients) == [["here"]]

    @pytest.mark.parametrize("filter_", ["userId eq", "userId is 'a'", "", "'a' in groups)"])
    async def test_an_invalid_filter_is_a_400(self, bench: Bench, filter_: str):
        with pytest.raises(HttpResponseError) as error:
            await bench.sdk().send_to_all("x", filter=filter_, content_type="text/plain")
        assert error.value.status_code == 400
        assert "Invalid filter" in error.value.message

    async def test_a_body_that_does_not_fit_its_content_type_is_a_400(self, bench: Bench):
        for content_type, body in (("application/json", b"{"), ("text/plain", b"\xff"), ("text/html", b"<p>")):
            request = HttpRequest(
                "POST",
                "/api/hubs/open/:send",
                params={"api-version": "2024-12-01"},
                headers={"Content-Type": content_type},
                content=body,
            )
            assert (await bench.sdk().send_request(request)).status_code == 400

    async def test_1_mb_passes_and_more_is_a_413(self, bench: Bench):
        clients, _ = await members(bench, 1)
        await bench.sdk().send_to_all(io.BytesIO(b"x" * 2**20), content_type="application/octet-stream")
        assert await read(clients[0]) == b"x" * 2**20
        with pytest.raises(HttpResponseError) as error:
            await bench.sdk().send_to_all(io.BytesIO(b"x" * (2**20 + 1)), content_type="application/octet-stream")
        assert error.value.status_code == 413


class TestSendToGroup:
    async def test_members_only(self, bench: Bench):
        clients, ids = await members(bench, user_id="ann")
        sdk = bench.sdk()
        for connection_id in ids[:2]:
            await sdk.add_connection_to_group(ODD, connection_id)
        await sdk.send_to_group(ODD, "both", content_type="text/plain")
        await sdk.send_to_group(ODD, "second", excluded=[ids[0]], content_type="text/plain")
        await sdk.send_to_group(ODD, "first", filter=f"connectionId ne '{ids[1]}'", content_type="text/plain")
        assert await got(bench, clients) == [["both", "first"], ["both", "second"], []]

    async def test_an_empty_group_is_not_an_error(self, bench: Bench):
        await bench.sdk().send_to_group("empty", {"n": 1})
        assert not await bench.sdk().group_exists("empty")


class TestSendToUser:
    async def test_all_connections_of_the_user(self, bench: Bench):
        clients, ids = await members(bench, 2, user_id=ODD)
        others, _ = await members(bench, 1, user_id="other")
        sdk = bench.sdk()
        await sdk.send_to_user(ODD, "both", content_type="text/plain")
        await sdk.send_to_user(ODD, "first", filter=f"connectionId eq '{ids[0]}'", content_type="text/plain")
        await sdk.send_to_user("nobody", "none", content_type="text/plain")
        assert await got(bench, clients + others) == [["both", "first"], ["both"], []]


class TestSendToConnection:
    async def test_one_and_no_other(self, bench: Bench):
        clients, ids = await members(bench, 2)
        await bench.sdk().send_to_connection(ids[1], "you", content_type="text/plain")
        await bench.sdk().send_to_connection("nobody", "you", content_type="text/plain")
        assert await got(bench, clients) == [[], ["you"]]


class TestExists:
    async def test_connections_groups_and_users(self, bench: Bench):
        clients, ids = await members(bench, 1, user_id="ann", groups=["g"])
        sdk = bench.sdk()
        assert await sdk.connection_exists(ids[0]) and not await sdk.connection_exists("x")
        assert await sdk.group_exists("g") and not await sdk.group_exists("x")
        assert await sdk.user_exists("ann") and not await sdk.user_exists("x")
        await clients[0].close()
        await eventually(lambda: not bench.service.hubs["open"].connections)
        assert not await sdk.connection_exists(ids[0])
        assert not await sdk.group_exists("g")
        assert not await sdk.user_exists("ann")


class TestConnectionsInGroups:
    async def test_add_and_remove(self, bench: Bench):
        clients, ids = await members(bench, 1)
        sdk = bench.sdk()
        for _ in range(2):  # a repetition changes nothing
            await sdk.add_connection_to_group("g", ids[0])
        await sdk.send_to_group("g", "once", content_type="text/plain")
        for _ in range(2):
            await sdk.remove_connection_from_group("g", ids[0])
        await sdk.send_to_group("g", "never", content_type="text/plain")
        assert await got(bench, clients) == [["once"]]

    async def test_an_unknown_connection_cannot_be_added(self, bench: Bench):
        with pytest.raises(ResourceNotFoundError):
            await bench.sdk().add_connection_to_group("g", "nobody")
        assert not await bench.sdk().group_exists("g")

    async def test_remove_from_all(self, bench: Bench):
        _, ids = await members(bench, 2, groups=["a", "b"])
        sdk = bench.sdk()
        await sdk.remove_connection_from_all_groups(ids[0])
        await sdk.remove_connection_from_all_groups("nobody")
        assert [m.connection_id async for m in sdk.list_connections(group="a")] == [ids[1]]
        assert [m.connection_id async for m in sdk.list_connections(group="b")] == [ids[1]]


class TestUsersInGroups:
    async def test_add_remove_and_remove_from_all(self, bench: Bench):
        clients, _ = await members(bench, 2, user_id="ann")
        others, _ = await members(bench, 1, user_id="bob", groups=["g"])
        sdk = bench.sdk()
        await sdk.add_user_to_group("g", "ann")
        await sdk.add_user_to_group("h", "ann")
        await sdk.send_to_group("g", "1", content_type="text/plain")
        await sdk.remove_user_from_group("g", "ann")
        await sdk.send_to_group("g", "2", content_type="text/plain")
        await sdk.send_to_group("h", "3", content_type="text/plain")
        await sdk.remove_user_from_all_groups("ann")
        assert not await sdk.group_exists("h")
        await sdk.add_user_to_group("g", "nobody")
        assert await got(bench, clients + others) == [["1", "3"], ["1", "3"], ["1", "2"]]


class TestListConnections:
    async def test_all_pages_and_the_first_few(self, bench: Bench):
        _, ids = await members(bench, 5, user_id="ann", groups=["g h"])
        _, nameless = await members(bench, 1, groups=["g h"])
        sdk = bench.sdk()
        listed = [(m.connection_id, m.user_id) async for m in sdk.list_connections(group="g h", maxpagesize=2)]
        assert sorted(listed) == sorted([(i, "ann") for i in ids] + [(nameless[0], None)])
        first = [m.connection_id async for m in sdk.list_connections(group="g h", maxpagesize=2, top=3)]
        assert first == [connection_id for connection_id, _ in listed][:3]
        assert [m async for m in sdk.list_connections(group="empty")] == []

    async def test_a_size_below_one_is_a_400(self, bench: Bench):
        with pytest.raises(HttpResponseError) as error:
            _ = [m async for m in bench.sdk().list_connections(group="g", top=0)]
        assert error.value.status_code == 400


class TestClose:
    async def test_one_connection(self, bench: Bench):
        clients, ids = await members(bench, 2)
        await bench.sdk().close_connection(ids[0], reason="bye")
        assert await ended(clients[0]) == (1000, "bye")
        await bench.sdk().close_connection(ids[0])
        assert await got(bench, clients[1:]) == [[]]

    async def test_what_was_sent_before_still_arrives(self, bench: Bench):
        client, connection_id = await bench.json_client()
        sdk = bench.sdk()
        for number in range(20):
            await sdk.send_to_connection(connection_id, {"n": number})
        await sdk.close_connection(connection_id, reason="done")
        assert [(await read_json(client))["data"]["n"] for _ in range(20)] == list(range(20))
        assert await read_json(client) == {"type": "system", "event": "disconnected", "message": "done"}
        assert (await ended(client))[1] == "done"

    async def test_a_client_that_is_sending_learns_the_reason(self, bench: Bench):
        clients, ids = await members(bench, 1)
        for _ in range(200):
            await clients[0].send("x" * 1000)
        await bench.sdk().close_connection(ids[0], reason="enough")
        for _ in range(200):
            with suppress(ConnectionClosed):
                await clients[0].send("x" * 1000)
        assert await ended(clients[0]) == (1000, "enough")

    async def test_a_group_but_not_the_excluded(self, bench: Bench):
        clients, ids = await members(bench, 2, groups=["g"])
        others, _ = await members(bench, 1)
        await bench.sdk().close_group_connections("g", excluded=[ids[0]], reason="group")
        assert (await ended(clients[1]))[1] == "group"
        assert await got(bench, [clients[0], *others]) == [[], []]

    async def test_a_user_but_not_the_excluded(self, bench: Bench):
        clients, ids = await members(bench, 2, user_id="ann")
        others, _ = await members(bench, 1, user_id="bob")
        await bench.sdk().close_user_connections("ann", excluded=[ids[0]], reason="user")
        assert (await ended(clients[1]))[1] == "user"
        assert await got(bench, [clients[0], *others]) == [[], []]

    async def test_all_but_the_excluded(self, bench: Bench):
        clients, ids = await members(bench, 3)
        await bench.sdk().close_all_connections(excluded=[ids[1]], reason="ü" * 100)  # longer than a close frame allows
        assert [(await ended(client))[0] for client in (clients[0], clients[2])] == [1000, 1000]
        assert await got(bench, [clients[1]]) == [[]]


class TestPermissions:
    async def test_grant_check_and_revoke(self, bench: Bench):
        _, ids = await members(bench, 1)
        sdk = bench.sdk()
        for permission in ("sendToGroup", "joinLeaveGroup"):
            assert not await sdk.has_permission(permission, ids[0])
            await sdk.grant_permission(permission, ids[0], target_name="a/b")
            assert await sdk.has_permission(permission, ids[0], target_name="a/b")
            assert not await sdk.has_permission(permission, ids[0], target_name="c")
            assert not await sdk.has_permission(permission, ids[0])
            await sdk.grant_permission(permission, ids[0])
            assert await sdk.has_permission(permission, ids[0], target_name="c")
            await sdk.revoke_permission(permission, ids[0])
            assert not await sdk.has_permission(permission, ids[0], target_name="c")
            assert await sdk.has_permission(permission, ids[0], target_name="a/b")

    async def test_unknown_connections_and_permissions(self, bench: Bench):
        _, ids = await members(bench, 1)
        sdk = bench.sdk()
        with pytest.raises(ResourceNotFoundError):
            await sdk.grant_permission("sendToGroup", "nobody")
        assert not await sdk.has_permission("sendToGroup", "nobody")
        await sdk.revoke_permission("sendToGroup", "nobody")
        with pytest.raises(HttpResponseError) as error:
            await sdk.grant_permission("dance", ids[0])
        assert error.value.status_code == 400


class TestEverythingElse:
    @pytest.mark.parametrize(
        ("method", "path", "version"),
        [
            ("POST", "/api/hubs/open/:addToGroups", "2024-12-01"),
            ("POST", "/api/hubs/open/:removeFromGroups", "2024-12-01"),
            ("POST", "/api/hubs/open/:send?messageTtlSeconds=60", "2024-12-01"),
            ("GET", "/api/hubs/open/groups/g", "2024-12-01"),
            ("POST", "/api/hubs/open/:send", "2021-10-01"),
            ("GET", "/clients/mqtt/hubs/open", "2024-12-01"),
            ("GET", "/api/hubs/1nvalid/groups/g/connections", "2024-12-01"),
        ],
    )
    async def test_is_a_501_and_a_line_in_the_log(
        self, bench: Bench, caplog: pytest.LogCaptureFixture, method: str, path: str, version: str
    ):
        path, _, query = path.partition("?")
        params = {"api-version": version} | dict(pair.split("=") for pair in query.split("&") if pair)
        answer = await bench.sdk().send_request(HttpRequest(method, path, params=params))
        assert (answer.status_code, answer.json()["code"]) == (501, "NotImplemented")
        assert "501: " in caplog.text

    async def test_health_needs_no_token(self, bench: Bench):
        answer = await bench.sdk().send_request(HttpRequest("HEAD", "/api/health"))
        assert answer.status_code == 200


class TestTheTable:
    ROWS = [
        [cell.strip().strip("`") for cell in line.strip("| ").split(" |")]
        for line in (ROOT / "infra/emulator/README.md")
        .read_text()
        .partition("## Web PubSub")[2]
        .partition("\n## ")[0]
        .splitlines()
        if re.match(r"\| `[A-Z]+ /api", line)
    ]

    def test_has_a_line_for_every_call_of_the_sdk(self):
        calls = {
            name
            for name, _ in inspect.getmembers(WebPubSubServiceClient, inspect.isfunction)
            if not name.startswith("_") and name not in ("close", "send_request", "from_connection_string")
        }
        assert calls == {row[2] for row in self.ROWS if row[2]}

    def test_has_a_line_for_every_route(self):
        routes = {
            f"{route.method} {route.path.replace(wire.HUB, '{hub}')}"
            for route in wire.routes()
            if isinstance(route, web.RouteDef) and route.method != "*"
        }
        assert routes == {row[0] for row in self.ROWS if row[1] != "501"}

    def test_names_tests_that_exist(self):
        assert {row[3] for row in self.ROWS} - {"test_tokens.py"} <= set(globals())


async def ended(client: ClientConnection) -> tuple[int, str]:
    """The code and reason with which the service closed the connection, without any frame before."""
    with pytest.raises(ConnectionClosed) as error:
        await read(client)
    assert error.value.rcvd is not None
    return error.value.rcvd.code, error.value.rcvd.reason
