"""The publisher and the events of the socket hub, against the stand-in."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from azure.core.credentials import AccessToken
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient
from yarl import URL

from infra.emulator.processes import free_ports
from infra.emulator.webpubsub import KEY, connection_string
from shared import realtime, sockets
from shared.settings import Settings
from tests.support.webpubsub import Bench, eventually, read_json, running

SIGNATURE = "sha256=" + hmac.new(KEY.encode(), b"id-1", hashlib.sha256).hexdigest()


def use(monkeypatch: pytest.MonkeyPatch, webpubsub: str) -> None:
    given = Settings.model_validate({"RUNYARD_WEBPUBSUB": webpubsub})
    monkeypatch.setattr(realtime, "settings", lambda: given)
    monkeypatch.setattr(sockets, "settings", lambda: given)


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with running() as bench:
        use(monkeypatch, connection_string(bench.port))
        yield bench
        await realtime.close()


class TestPublish:
    async def test_a_message_goes_to_all_connections_to_a_group_or_to_one_connection(self, bench: Bench):
        first = await bench.client(url=realtime.client_url("open"))
        first_id = bench.id_of()
        second = await bench.client()
        second_id = bench.id_of()
        await realtime.publish("open", {"to": "all", "text": "grüße"})
        await realtime.add_to_group("open", "g", second_id)
        await realtime.publish("open", {"to": "group"}, group="g")
        await realtime.publish("open", {"to": "one"}, connection=first_id)
        await realtime.remove_from_group("open", "g", second_id)
        await realtime.publish("open", {"to": "an empty group"}, group="g")
        await realtime.publish("open", {"to": "last"})
        to_all = {"to": "all", "text": "grüße"}
        assert [await read_json(first) for _ in range(3)] == [to_all, {"to": "one"}, {"to": "last"}]
        assert [await read_json(second) for _ in range(3)] == [to_all, {"to": "group"}, {"to": "last"}]

    async def test_messages_of_one_coroutine_arrive_in_order(self, bench: Bench):
        client = await bench.client()
        for number in range(50):
            await realtime.publish("open", {"n": number})
        assert [(await read_json(client))["n"] for _ in range(50)] == list(range(50))

    async def test_a_message_is_sent_in_the_same_request_as_the_sdk_would_send(self, monkeypatch: pytest.MonkeyPatch):
        seen: list[tuple[object, ...]] = []

        async def record(request: web.Request) -> web.Response:
            kind, token = request.headers["Authorization"].split()
            claims = jwt.decode(token, KEY, algorithms=["HS256"], options={"verify_aud": False})
            assert sorted(claims) == ["aud", "exp"]
            audience = URL(claims["aud"])
            assert (audience.authority, audience.path) == (request.host, request.path)
            seen.append((kind, request.method, request.path, dict(request.query), await request.json()))
            assert request.headers["Content-Type"] == "application/json"
            return web.Response(status=202)

        server = TestServer(web.Application(), host="127.0.0.1")
        server.app.router.add_route("*", "/{path:.*}", record)
        async with server:
            where = connection_string(server.port or 0)
            use(monkeypatch, where)
            message, name = {"text": "grüße"}, "a/b c'ü?"
            async with WebPubSubServiceClient.from_connection_string(where, "open") as sdk:
                await sdk.send_to_all(message)
                await sdk.send_to_all(message, filter="'g' in groups and userId eq 'ü&1'")
                await sdk.send_to_group(name, message)
                await sdk.send_to_connection("c-1", message)
            await realtime.publish("open", message)
            await realtime.publish("open", message, where="'g' in groups and userId eq 'ü&1'")
            await realtime.publish("open", message, group=name)
            await realtime.publish("open", message, connection="c-1")
            await realtime.close()
        assert seen[4:] == seen[:4]

    async def test_a_connection_is_closed_with_the_given_reason(self, bench: Bench):
        client = await bench.client()
        await realtime.close_connection("open", bench.id_of(), "key revoked")
        await client.wait_closed()
        assert client.close_reason == "key revoked"

    async def test_publishing_without_a_configured_service_does_nothing(self, monkeypatch: pytest.MonkeyPatch):
        use(monkeypatch, "")
        await realtime.publish("open", {"n": 1})
        assert realtime.client_url("open") == ""

    @pytest.mark.parametrize("setting", [connection_string(free_ports(1)[0]), "Endpoint=nowhere;AccessKey=k", "a=b"])
    async def test_a_failure_is_logged_and_not_raised(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, setting: str
    ):
        use(monkeypatch, setting)
        await realtime.publish("open", {"n": 1})
        assert not await realtime.add_to_group("open", "g", "closed")
        await realtime.close()
        logged = [record for record in caplog.records if record.name == "shared.realtime"]
        assert [record.levelno for record in logged] == [logging.WARNING, logging.WARNING]

    async def test_a_message_that_cannot_be_encoded_as_json_is_logged_and_not_raised(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ):
        await realtime.publish("open", {"n": object()})
        assert "publish on hub open failed: TypeError" in caplog.text

    async def test_a_service_that_does_not_answer_delays_only_the_first_message(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ):
        asked = 0

        async def hang(request: web.Request) -> web.Response:
            nonlocal asked
            asked += 1
            await asyncio.sleep(60)
            return web.Response(status=202)

        server = TestServer(web.Application(), host="127.0.0.1")
        server.app.router.add_route("*", "/{path:.*}", hang)
        async with server:
            use(monkeypatch, connection_string(server.port or 0))
            monkeypatch.setattr(realtime, "PATIENCE", 0.2)
            for number in range(20):
                await realtime.publish("open", {"n": number})
            assert asked == 1
            assert "no answer within 0.2 s" in caplog.text
            # A call that must not be left out is tried all the same.
            assert not await realtime.close_connection("open", "x")
            assert asked == 2
            await realtime.close()
            await realtime.publish("open", {"n": 20})
            assert asked == 3
            await realtime.close()

    async def test_a_busy_service_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch):
        async def busy(request: web.Request) -> web.Response:
            return web.Response(status=503, headers={"Retry-After": "60"})

        server = TestServer(web.Application(), host="127.0.0.1")
        server.app.router.add_route("*", "/{path:.*}", busy)
        async with server:
            use(monkeypatch, connection_string(server.port or 0))
            monkeypatch.setattr(realtime, "PATIENCE", 0.2)
            async with asyncio.timeout(10):
                await realtime.publish("open", {"n": 1})
            await realtime.close()

    async def test_a_call_returns_whether_it_succeeded(self, bench: Bench):
        await bench.client()
        connection_id = bench.id_of()
        assert await realtime.add_to_group("open", "g", connection_id)
        assert await realtime.remove_from_group("open", "g", connection_id)
        assert await realtime.close_connection("open", connection_id)
        assert not await realtime.add_to_group("open", "g", connection_id)
        assert await realtime.close_connection("open", connection_id)

    async def test_without_an_access_key_the_token_of_the_identity_is_used(self, monkeypatch: pytest.MonkeyPatch):
        asked: list[str] = []

        class Identity:
            async def get_token(self, *scopes: str, **_: object) -> AccessToken:
                asked.extend(scopes)
                return AccessToken("token", 2**33)

        monkeypatch.setattr("shared.credential.credential", Identity)
        use(monkeypatch, f"https://127.0.0.1:{free_ports(1)[0]}")
        assert not await realtime.close_connection("open", "x")
        await realtime.close()
        assert asked[0] == "https://webpubsub.azure.com/.default"


class TestAddress:
    @pytest.mark.parametrize(
        ("setting", "url"),
        [
            (connection_string(8081), "ws://127.0.0.1:8081/client/hubs/gateway"),
            ("Endpoint=https://a.webpubsub.azure.com;AccessKey=k;", "wss://a.webpubsub.azure.com/client/hubs/gateway"),
            ("https://a.webpubsub.azure.com/", "wss://a.webpubsub.azure.com/client/hubs/gateway"),
        ],
    )
    def test_the_client_url_follows_from_the_setting(self, monkeypatch: pytest.MonkeyPatch, setting: str, url: str):
        use(monkeypatch, setting)
        assert realtime.client_url("gateway") == url


class TestSignature:
    @pytest.mark.parametrize(
        ("header", "good"),
        [
            (SIGNATURE, True),
            ("sha256=0000," + SIGNATURE, True),
            (f"{SIGNATURE}, sha256=0000", True),
            (SIGNATURE[:-1], False),
            (SIGNATURE.removeprefix("sha256="), False),
            ("", False),
            ("sha256=é", False),
        ],
    )
    def test_a_signature_is_verified_with_the_access_key(
        self, monkeypatch: pytest.MonkeyPatch, header: str, good: bool
    ):
        use(monkeypatch, connection_string(1))
        assert sockets.verify_signature("id-1", header) is good
        assert not sockets.verify_signature("id-2", header)

    @pytest.mark.parametrize("setting", ["", "https://a.webpubsub.azure.com"])
    def test_without_an_access_key_every_signature_is_refused(self, monkeypatch: pytest.MonkeyPatch, setting: str):
        use(monkeypatch, setting)
        empty = "sha256=" + hmac.new(b"", b"id-1", hashlib.sha256).hexdigest()
        assert not sockets.verify_signature("id-1", empty)


class TestEvents:
    HEADERS = {
        "CE-Type": "azure.webpubsub.user.message",
        "ce-hub": "gateway",
        "ce-connectionId": "id-1",
        "Content-Type": "text/plain; charset=utf-8",
    }

    async def test_an_event_of_the_service_is_parsed(self, bench: Bench):
        bench.handler.answer_with("connect", {"userId": "änn %41"}, state=sockets.encode_state({"step": 1}))
        client = await bench.client()
        await client.send("hello")
        delivered = await eventually(
            lambda: [
                each
                for each in bench.handler.received
                if each.method == "POST" and each.event in ("message", "connected")
            ][1:]
        )
        event = sockets.Event.parse(delivered[0].headers, delivered[0].body)
        assert event == sockets.Event("open", "message", bench.id_of(), "änn %41", {"step": 1}, b"hello", "text/plain")
        assert sockets.verify_signature(event.connection_id, delivered[0].headers["ce-signature"])

    def test_a_client_event_named_like_a_system_event_stays_a_client_event(self):
        for name in ("connect", "%63onnect"):
            event = sockets.Event.parse(self.HEADERS | {"CE-Type": f"azure.webpubsub.user.{name}"}, b"")
            assert event.type == "user.connect"
        assert sockets.Event.parse(self.HEADERS | {"CE-Type": "azure.webpubsub.sys.connect"}, b"").type == "connect"

    def test_missing_headers_and_events_of_other_services_are_errors(self):
        for name in ("CE-Type", "ce-hub", "ce-connectionId"):
            with pytest.raises(ValueError, match=name.lower()):
                sockets.Event.parse({k: v for k, v in self.HEADERS.items() if k != name}, b"")
        for kind in ("Microsoft.Storage.BlobCreated", "azure.webpubsub.other.message", "azure.webpubsub.user."):
            with pytest.raises(ValueError, match="not an event"):
                sockets.Event.parse(self.HEADERS | {"CE-Type": kind}, b"")

    @pytest.mark.parametrize("state", ["{}", "!!", base64.b64encode(json.dumps([1]).encode()).decode()])
    def test_a_state_that_the_app_did_not_set_is_an_error(self, state: str):
        with pytest.raises(ValueError, match="state"):
            sockets.Event.parse(self.HEADERS | {"ce-connectionState": state}, b"")
