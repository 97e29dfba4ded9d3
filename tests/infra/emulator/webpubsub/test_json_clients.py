"""Clients of the JSON subprotocol: groups, publishing, events and their acks."""

import asyncio
import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus

from infra.emulator.webpubsub import dialogues
from infra.emulator.webpubsub.messages import Malformed
from infra.emulator.webpubsub.settings import HubSettings
from infra.emulator.webpubsub.state import Hub, HubConnection
from infra.emulator.webpubsub.upstream import Upstream
from shared.sockets import Event
from tests.support.webpubsub import Bench, DeliveredRequest, eventually, read, read_json

Request = dict[str, Any]


async def ask(client: Any, request: Request) -> Request:
    """Send a request; returns the next frame."""
    await client.send(json.dumps(request))
    return await read_json(client)


class TestGreeting:
    async def test_names_user_and_connection(self, bench: Bench):
        url = await bench.token_url(user_id="ann")
        _, connection_id = await bench.json_client(url=url)
        assert connection_id == bench.id_of()
        await eventually(lambda: "connected" in bench.handler.events())
        assert bench.handler.last("connected").headers["ce-subprotocol"] == "json.webpubsub.azure.v1"

    async def test_ping_is_answered(self, bench: Bench):
        client, _ = await bench.json_client()
        assert await ask(client, {"type": "ping"}) == {"type": "pong"}

    @pytest.mark.parametrize("protocol", ["json.reliable.webpubsub.azure.v1", "protobuf.webpubsub.azure.v1"])
    async def test_other_protocols_of_the_service_are_not_implemented(self, bench: Bench, protocol: str):
        with pytest.raises(InvalidStatus) as refused:
            await bench.client(subprotocols=[protocol])
        assert refused.value.response.status_code == 501


class TestGroups:
    async def test_join_publish_and_leave(self, bench: Bench):
        roles = ["webpubsub.joinLeaveGroup", "webpubsub.sendToGroup.g"]
        first, _ = await bench.json_client(url=await bench.token_url(user_id="ann", roles=roles))
        second, _ = await bench.json_client(url=await bench.token_url(roles=roles))
        assert await ask(first, {"type": "joinGroup", "group": "g", "ackId": 1}) == ack(1)
        assert await ask(second, {"type": "joinGroup", "group": "g", "ackId": 1}) == ack(1)
        publish = {"type": "sendToGroup", "group": "g", "data": {"n": 1}, "noEcho": True, "ackId": 2}
        assert await ask(first, publish) == ack(2)
        seen = {"type": "message", "from": "group", "group": "g", "fromUserId": "ann", "dataType": "json"}
        assert await read_json(second) == seen | {"data": {"n": 1}}
        assert await ask(second, {"type": "leaveGroup", "group": "g", "ackId": 2}) == ack(2)
        assert await ask(first, {"type": "sendToGroup", "group": "g", "data": 2}) == seen | {"data": 2}
        assert await ask(second, {"type": "ping"}) == {"type": "pong"}

    @pytest.mark.parametrize(
        ("kind", "data", "plain"),
        [("json", {"ü": [1, None]}, '{"ü":[1,null]}'), ("text", "grüße", "grüße"), ("binary", "AP8=", b"\x00\xff")],
    )
    async def test_every_type_reaches_both_kinds_of_client(self, bench: Bench, kind: str, data: Any, plain: Any):
        url = await bench.token_url(roles=["webpubsub.sendToGroup"], groups=["g"])
        sender, _ = await bench.json_client(url=url)
        reader = await bench.client(url=url)
        echo = await ask(sender, {"type": "sendToGroup", "group": "g", "dataType": kind, "data": data})
        assert (echo["dataType"], echo["data"]) == (kind, data)
        assert await read(reader) == plain

    async def test_a_disconnected_client_joins_no_group(self, bench: Bench):
        release = asyncio.Event()

        async def wait(_: DeliveredRequest) -> web.Response:
            await release.wait()
            return web.Response(status=204)

        bench.handler.answers["wait"] = wait
        client, connection_id = await bench.json_client(url=await bench.token_url(roles=["webpubsub.joinLeaveGroup"]))
        await client.send('{"type":"event","event":"wait"}')
        await client.send('{"type":"joinGroup","group":"g"}')
        await client.close()
        await eventually(lambda: connection_id not in bench.service.hubs["open"].connections)
        release.set()
        await eventually(lambda: "disconnected" in bench.handler.events())
        assert not await bench.sdk().group_exists("g")

    @pytest.mark.parametrize(
        "request_",
        [
            {"type": "joinGroup", "group": "other"},
            {"type": "leaveGroup", "group": "other"},
            {"type": "sendToGroup", "group": "mine", "data": 1},
        ],
    )
    async def test_without_the_role_a_request_is_forbidden(self, bench: Bench, request_: Request):
        url = await bench.token_url(roles=["webpubsub.joinLeaveGroup.mine", "webpubsub.sendToGroup.other"])
        client, _ = await bench.json_client(url=url)
        answer = await ask(client, request_ | {"ackId": 7})
        assert (answer["ackId"], answer["success"], answer["error"]["name"]) == (7, False, "Forbidden")
        assert (await ask(client, request_))["event"] == "disconnected"

    async def test_granted_and_revoked_permissions_apply_immediately(self, bench: Bench):
        client, connection_id = await bench.json_client()
        sdk, publish = bench.sdk(), {"type": "sendToGroup", "group": "g", "data": 1}
        await sdk.grant_permission("sendToGroup", connection_id, target_name="g")
        assert await ask(client, publish | {"ackId": 1}) == ack(1)
        await sdk.revoke_permission("sendToGroup", connection_id, target_name="g")
        assert (await ask(client, publish | {"ackId": 2}))["error"]["name"] == "Forbidden"

    async def test_a_request_is_carried_out_once(self, bench: Bench):
        client, _ = await bench.json_client(url=await bench.token_url(roles=["webpubsub.sendToGroup"], groups=["g"]))
        publish = {"type": "sendToGroup", "group": "g", "data": 1, "ackId": 5}
        await client.send(json.dumps(publish))
        assert [(await read_json(client))["type"] for _ in range(2)] == ["message", "ack"]
        again = await ask(client, publish)
        assert (again["type"], again["success"], again["error"]["name"]) == ("ack", False, "Duplicate")

    async def test_pattern_roles_are_not_implemented(self, bench: Bench):
        with pytest.raises(InvalidStatus) as refused:
            await bench.client(url=await bench.token_url(roles=["webpubsub.sendToGroups.a.*"]))
        assert refused.value.response.status_code == 501


class TestEvents:
    @pytest.mark.parametrize(
        ("kind", "data", "content_type", "body"),
        [
            ("json", {"n": [1]}, "application/json", b'{"n":[1]}'),
            ("text", "hello", "text/plain; charset=utf-8", b"hello"),
            ("binary", base64.b64encode(b"\x00\xff").decode(), "application/octet-stream", b"\x00\xff"),
        ],
    )
    async def test_a_custom_event_is_delivered_answered_and_acked(
        self, bench: Bench, kind: str, data: Any, content_type: str, body: bytes
    ):
        async def echo(heard: DeliveredRequest) -> web.Response:
            return web.Response(body=heard.body, headers={"Content-Type": heard.headers["content-type"]})

        bench.handler.answers["order"] = echo
        client, connection_id = await bench.json_client()
        answer = await ask(client, {"type": "event", "event": "order", "dataType": kind, "data": data, "ackId": 1})
        assert answer == {"type": "message", "from": "server", "dataType": kind, "data": data}
        assert await read_json(client) == ack(1)
        heard = bench.handler.last("order")
        assert heard.headers["ce-type"] == "azure.webpubsub.user.order"
        assert heard.headers["ce-connectionid"] == connection_id
        assert (heard.headers["content-type"], heard.body) == (content_type, body)

    async def test_the_name_of_an_event_stays_one_segment_of_the_address(self, bench: Bench):
        client, _ = await bench.json_client()
        name = "../a?b=c&d#%41 ü"
        assert await ask(client, {"type": "event", "event": name, "data": 1, "ackId": 1}) == ack(1)
        heard = next(heard for heard in bench.handler.received if heard.headers.get("ce-type", "").endswith("%C3%BC"))
        assert (heard.path, heard.query) == (f"/realtime/open/{name}", "code=secret")
        assert Event.parse(heard.headers, heard.body).type == name

    async def test_only_the_named_events_reach_a_handler(self, bench: Bench):
        handler = bench.service.hubs["open"].settings.handlers[0]
        bench.service.hubs["open"].settings.handlers[0] = handler.model_copy(update={"user_events": "a, b"})
        client, _ = await bench.json_client()
        assert await ask(client, {"type": "event", "event": "b", "data": 1, "ackId": 1}) == ack(1)
        answer = await ask(client, {"type": "event", "event": "c", "data": 1, "ackId": 2})
        assert (answer["success"], answer["error"]["name"]) == (False, "InvocationFailed")
        assert "c" not in bench.handler.events()

    async def test_a_failed_event_is_acked_or_closes_the_connection(self, bench: Bench):
        bench.handler.answer_with("order", "no", status=500)
        client, _ = await bench.json_client()
        order = {"type": "event", "event": "order", "data": 1}
        answer = await ask(client, order | {"ackId": 1})
        assert (answer["success"], answer["error"]["name"]) == (False, "InvocationFailed")
        assert (await ask(client, order))["event"] == "disconnected"
        with pytest.raises(ConnectionClosed):
            await read(client)

    async def test_a_failed_request_may_be_repeated_with_its_ack_id(self, bench: Bench):
        bench.handler.answer_with("order", "no", status=500)
        client, _ = await bench.json_client()
        order = {"type": "event", "event": "order", "data": 1, "ackId": 1}
        assert not (await ask(client, order))["success"]
        del bench.handler.answers["order"]
        assert await ask(client, order) == ack(1)


class TestMalformedFrames:
    @pytest.mark.parametrize(
        "frame",
        [
            "no json",
            "[]",
            '{"type":"dance"}',
            '{"type":"joinGroup"}',
            '{"type":"joinGroup","group":" "}',
            '{"type":"joinGroup","group":"g","ackId":"1"}',
            '{"type":"event","data":1}',
            '{"type":"event","event":"e","dataType":"xml","data":"x"}',
            '{"type":"event","event":"e","dataType":"text","data":1}',
            '{"type":"event","event":"e","dataType":"binary","data":"?"}',
            '{"type":"sequenceAck","sequenceId":1}',
        ],
    )
    async def test_end_the_connection_with_a_reason(self, bench: Bench, frame: str):
        client, connection_id = await bench.json_client()
        await client.send(frame)
        assert (await read_json(client))["event"] == "disconnected"
        async with asyncio.timeout(10):
            await client.wait_closed()
        assert client.close_code == 1008
        assert not await bench.sdk().connection_exists(connection_id)


VALUES = st.one_of(
    st.sampled_from(["joinGroup", "leaveGroup", "sendToGroup", "event", "ping", "json", "text", "binary", "g"]),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=3,
    ),
)
MEMBERS = st.sampled_from(["type", "group", "event", "ackId", "dataType", "data", "noEcho"])


class TestAnyFrame:
    @settings(deadline=None, max_examples=150)
    @given(st.dictionaries(MEMBERS, VALUES).map(json.dumps).map(str.encode) | st.binary(max_size=20))
    def test_is_carried_out_declined_or_malformed(self, data: bytes):
        async def carry_out() -> None:
            upstream = Upstream("127.0.0.1:1", "key")
            hub = Hub("h", HubSettings())
            connection = HubConnection(hub, user_id=None, roles=["webpubsub.joinLeaveGroup", "webpubsub.sendToGroup"])
            hub.add(connection)
            with suppress(dialogues.Declined, Malformed):
                await dialogues.subprotocol(upstream, connection, data, False)
            await upstream.close()

        asyncio.run(carry_out())


def ack(number: int) -> Request:
    return {"type": "ack", "ackId": number, "success": True}
