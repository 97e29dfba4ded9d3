"""Plain WebSocket clients: handshake, frames, replies and the end of a connection."""

import asyncio
import hashlib
import hmac
import json

import aiohttp
import pytest
from aiohttp import web
from websockets.exceptions import ConnectionClosed, InvalidStatus

from infra.emulator.webpubsub import KEY
from tests.support.webpubsub import Bench, DeliveredRequest, eventually, read


class TestHandshake:
    async def test_the_handler_is_asked_before_a_client_is_admitted(self, bench: Bench):
        await bench.client(url=bench.url() + "?room=1&room=2", additional_headers={"X-Trace": "t"})
        heard = bench.handler.last("connect")
        body = json.loads(heard.body)
        connection_id = bench.id_of()
        assert heard.path == "/realtime/open/connect"
        assert heard.query == "code=secret"
        assert heard.headers["ce-type"] == "azure.webpubsub.sys.connect"
        assert heard.headers["ce-hub"] == "open"
        assert heard.headers["ce-eventname"] == "connect"
        assert heard.headers["ce-connectionid"] == connection_id
        assert heard.headers["ce-source"] == f"/hubs/open/client/{connection_id}"
        assert heard.headers["ce-specversion"] == "1.0"
        assert heard.headers["webhook-request-origin"] == f"127.0.0.1:{bench.port}"
        digest = hmac.new(KEY.encode(), connection_id.encode(), hashlib.sha256).hexdigest()
        assert heard.headers["ce-signature"] == f"sha256={digest}"
        assert "ce-userid" not in heard.headers
        assert body["query"] == {"room": ["1", "2"]}
        assert body["headers"]["X-Trace"] == ["t"]
        assert (body["claims"], body["subprotocols"]) == ({}, [])

    async def test_the_handler_sets_user_groups_and_state(self, bench: Bench):
        bench.handler.says("connect", {"userId": "ann", "groups": ["g1", "g2"]}, state="c3RhdGU=")
        client = await bench.client()
        assert await bench.sdk().user_exists("ann")
        await bench.sdk().send_to_group("g2", "hello", content_type="text/plain")
        assert await read(client) == "hello"
        await eventually(lambda: "connected" in bench.handler.events())
        connected = bench.handler.last("connected")
        assert connected.headers["ce-userid"] == "ann"
        assert connected.headers["ce-connectionstate"] == "c3RhdGU="

    @pytest.mark.parametrize("status", [401, 403, 429])
    async def test_a_refusal_of_the_handler_is_the_answer_to_the_client(self, bench: Bench, status: int):
        bench.handler.says("connect", "not you", status=status)
        with pytest.raises(InvalidStatus) as refused:
            await bench.client()
        assert (refused.value.response.status_code, refused.value.response.body) == (status, b"not you")
        assert bench.handler.events() == ["connect"]

    async def test_a_failing_handler_is_a_500(self, bench: Bench, caplog: pytest.LogCaptureFixture):
        bench.handler.says("connect", "oops", status=503)
        with pytest.raises(InvalidStatus) as refused:
            await bench.client()
        assert refused.value.response.status_code == 500
        assert "answered 503 oops" in caplog.text
        assert "code=secret" not in caplog.text

    @pytest.mark.parametrize("answer", ["no json", [], {"groups": "g"}, {"userId": 1}])
    async def test_an_invalid_answer_of_the_handler_is_a_500(self, bench: Bench, answer: object):
        bench.handler.says("connect", answer)
        with pytest.raises(InvalidStatus) as refused:
            await bench.client()
        assert refused.value.response.status_code == 500

    async def test_a_handshake_that_fails_later_is_reported_as_a_disconnect(self, bench: Bench):
        url = bench.url().replace("ws:", "http:")
        async with aiohttp.ClientSession() as http:
            async with http.get(url, headers={"Connection": "Upgrade", "Upgrade": "websocket"}) as answer:
                assert answer.status == 400
        await eventually(lambda: bench.handler.events() == ["connect", "disconnected"])

    async def test_a_plain_http_request_is_told_to_upgrade(self, bench: Bench):
        async with aiohttp.ClientSession() as http, http.get(bench.url().replace("ws:", "http:")) as answer:
            assert (answer.status, answer.headers["Upgrade"]) == (426, "websocket")

    async def test_the_handler_chooses_among_offered_subprotocols(self, bench: Bench):
        bench.handler.says("connect", {"subprotocol": "b"})
        client = await bench.client(subprotocols=["a", "b"])
        assert client.subprotocol == "b"
        with pytest.raises(InvalidStatus) as refused:
            await bench.client(subprotocols=["a"])
        assert refused.value.response.status_code == 500


class TestFrames:
    async def test_a_text_frame_becomes_a_message_event_and_its_answer_a_frame(self, bench: Bench):
        async def shout(heard: DeliveredRequest) -> web.Response:
            return web.Response(text=heard.body.decode().upper())

        bench.handler.answers["message"] = shout
        client = await bench.client()
        await client.send("grüße")
        assert await read(client) == "GRÜSSE"
        heard = bench.handler.last("message")
        assert heard.headers["ce-type"] == "azure.webpubsub.user.message"
        assert heard.headers["content-type"].startswith("text/plain")

    async def test_a_binary_frame_is_answered_with_a_binary_frame(self, bench: Bench):
        bench.handler.says("message", b"\x00\xff")
        client = await bench.client()
        await client.send(b"\x01\xfe")
        assert await read(client) == b"\x00\xff"
        heard = bench.handler.last("message")
        assert (heard.body, heard.headers["content-type"]) == (b"\x01\xfe", "application/octet-stream")

    async def test_a_json_answer_is_a_text_frame(self, bench: Bench):
        bench.handler.says("message", {"type": "pong"})
        client = await bench.client()
        await client.send("{}")
        frame = await read(client)
        assert isinstance(frame, str) and json.loads(frame) == {"type": "pong"}

    async def test_204_sends_nothing(self, bench: Bench):
        client = await bench.client()
        await client.send("quiet")
        await eventually(lambda: "message" in bench.handler.events())
        bench.handler.says("message", "spoken")
        await client.send("loud")
        assert await read(client) == "spoken"

    async def test_the_state_that_the_handler_sets_comes_back(self, bench: Bench):
        async def count(heard: DeliveredRequest) -> web.Response:
            number = int(heard.headers.get("ce-connectionstate", "0")) + 1
            return web.Response(text=str(number), headers={"ce-connectionState": str(number)})

        bench.handler.answers["message"] = count
        client = await bench.client()
        for _ in range(3):
            await client.send("next")
        assert [await read(client) for _ in range(3)] == ["1", "2", "3"]

    async def test_only_the_answer_to_a_blocking_event_sets_the_state(self, bench: Bench):
        bench.handler.says("connected", "", state="ignored")
        client = await bench.client()
        await client.send("hello")
        await eventually(lambda: "message" in bench.handler.events())
        assert "ce-connectionstate" not in bench.handler.last("message").headers

    async def test_events_of_one_connection_arrive_one_after_the_other(self, bench: Bench):
        at_once = 0

        async def slow_at_first(heard: DeliveredRequest) -> web.Response:
            nonlocal at_once
            at_once += 1
            assert at_once == 1
            await asyncio.sleep(0.05 if heard.body == b"0" else 0)
            at_once -= 1
            return web.Response(text=heard.body.decode())

        bench.handler.answers["message"] = slow_at_first
        client = await bench.client()
        for number in range(20):
            await client.send(str(number))
        assert [await read(client) for _ in range(20)] == [str(n) for n in range(20)]
        await client.close()
        await eventually(lambda: "disconnected" in bench.handler.events())
        assert bench.handler.events() == ["connect", "connected", *["message"] * 20, "disconnected"]

    async def test_a_slow_answer_for_one_client_does_not_delay_another(self, bench: Bench):
        release = asyncio.Event()

        async def wait_for_a(heard: DeliveredRequest) -> web.Response:
            if heard.body == b"a":
                await release.wait()
            return web.Response(text=heard.body.decode())

        bench.handler.answers["message"] = wait_for_a
        first, second = await bench.client(), await bench.client()
        await first.send("a")
        await eventually(lambda: "message" in bench.handler.events())
        await second.send("b")
        assert await read(second) == "b"
        release.set()
        assert await read(first) == "a"

    async def test_a_frame_of_1_mb_passes_and_a_larger_one_ends_the_connection(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ):
        client = await bench.client()
        await client.send("x" * 2**20)
        await eventually(lambda: "message" in bench.handler.events())
        assert len(bench.handler.last("message").body) == 2**20
        await client.send("x" * (2**20 + 1))
        with pytest.raises(ConnectionClosed) as ended:
            await read(client)
        assert ended.value.rcvd is not None and ended.value.rcvd.code == 1009
        await eventually(lambda: "disconnected" in bench.handler.events())
        assert not [record for record in caplog.records if record.levelname == "ERROR"]


class TestEnd:
    @pytest.mark.parametrize("status", [400, 500])
    async def test_a_message_that_the_handler_refuses_closes_the_connection(self, bench: Bench, status: int):
        bench.handler.says("message", "no", status=status)
        client = await bench.client()
        await client.send("hello")
        with pytest.raises(ConnectionClosed):
            await read(client)
        await eventually(lambda: "disconnected" in bench.handler.events())

    async def test_a_reply_that_does_not_fit_its_content_type_closes_the_connection(self, bench: Bench):
        async def broken(_: DeliveredRequest) -> web.Response:
            return web.Response(body=b"{", content_type="application/json")

        bench.handler.answers["message"] = broken
        client = await bench.client()
        await client.send("hello")
        with pytest.raises(ConnectionClosed):
            await read(client)

    async def test_nothing_is_delivered_after_the_connection_is_closed(self, bench: Bench):
        release = asyncio.Event()

        async def fail(_: DeliveredRequest) -> web.Response:
            await release.wait()
            return web.Response(status=500)

        bench.handler.answers["message"] = fail
        client = await bench.client()
        for _ in range(5):
            await client.send("hello")
        release.set()
        await eventually(lambda: "disconnected" in bench.handler.events())
        assert bench.handler.events() == ["connect", "connected", "message", "disconnected"]

    async def test_without_a_handler_a_message_closes_the_connection(self, bench: Bench):
        client = await bench.client("quiet")
        await client.send("hello")
        with pytest.raises(ConnectionClosed):
            await read(client)

    async def test_a_client_that_disconnects_is_reported_and_removed(self, bench: Bench):
        bench.handler.says("connect", {"userId": "ann", "groups": ["g"]})
        client = await bench.client()
        connection_id = bench.id_of()
        await client.close()
        await eventually(lambda: "disconnected" in bench.handler.events())
        assert bench.handler.last("disconnected").headers["ce-connectionid"] == connection_id
        sdk = bench.sdk()
        assert not await sdk.connection_exists(connection_id)
        assert not await sdk.group_exists("g")
        assert not await sdk.user_exists("ann")
        hub = bench.service.hubs["open"]
        assert not (hub.connections or hub.groups or hub.users)

    async def test_the_reason_of_a_close_reaches_client_and_handler(self, bench: Bench):
        client = await bench.client()
        await bench.sdk().close_connection(bench.id_of(), reason="maintenance")
        with pytest.raises(ConnectionClosed) as ended:
            await read(client)
        assert ended.value.rcvd is not None and ended.value.rcvd.reason == "maintenance"
        await eventually(lambda: "disconnected" in bench.handler.events())
        assert json.loads(bench.handler.last("disconnected").body) == {"reason": "maintenance"}


class TestAbuseProtection:
    async def test_a_handler_is_asked_once_before_the_first_event(self, bench: Bench):
        await asyncio.gather(bench.client(), bench.client())
        await eventually(lambda: bench.handler.events().count("connected") == 2)
        asked = [heard for heard in bench.handler.heard if heard.method == "OPTIONS"]
        assert len(asked) == 1 and bench.handler.heard[0] is asked[0]
        assert asked[0].path == "/realtime/open/validate"
        assert asked[0].headers["webhook-request-origin"] == f"127.0.0.1:{bench.port}"

    async def test_a_handler_that_does_not_allow_the_origin_gets_no_event(self, bench: Bench):
        bench.handler.allowed = "elsewhere.example"
        with pytest.raises(InvalidStatus):
            await bench.client()
        assert bench.handler.events() == []
        bench.handler.allowed = f"elsewhere.example, 127.0.0.1:{bench.port}"
        await bench.client()
        await eventually(lambda: bench.handler.events() == ["connect", "connected"])
