"""Access of clients and of REST callers: tokens with audience, key and expiry, and anonymous hubs."""

import time
from typing import Any

import aiohttp
import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.core.rest import HttpRequest
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient
from websockets.exceptions import InvalidStatus

from infra.emulator.webpubsub import KEY, connection_string
from tests.support.webpubsub import Bench, eventually, read


def token(bench: Bench, key: str = KEY, **changes: Any) -> str:
    claims = {"aud": f"http://127.0.0.1:{bench.port}/client/hubs/closed", "exp": time.time() + 60, "sub": "ann"}
    return jwt.encode({k: v for k, v in (claims | changes).items() if v is not None}, key, algorithm="HS256")


class TestClients:
    async def test_a_token_of_the_sdk_sets_user_roles_and_groups(self, bench: Bench):
        url = await bench.token_url("closed", user_id="änn", roles=["webpubsub.sendToGroup"], groups=["a", "b"])
        client = await bench.client("closed", url=url)
        sdk, connection_id = bench.sdk("closed"), bench.id_of("closed")
        assert await sdk.user_exists("änn")
        assert await sdk.has_permission("sendToGroup", connection_id)
        assert not await sdk.has_permission("joinLeaveGroup", connection_id)
        await sdk.send_to_group("b", "hi", content_type="text/plain")
        assert await read(client) == "hi"
        await eventually(lambda: "connected" in bench.handler.events())
        claims = bench.handler.last("connect").body.decode()
        assert '"webpubsub.group":["a","b"]' in claims and "access_token" not in claims

    async def test_a_token_in_the_authorization_header_is_accepted_too(self, bench: Bench):
        await bench.client("closed", additional_headers={"Authorization": f"Bearer {token(bench)}"})
        assert await bench.sdk("closed").user_exists("ann")

    async def test_one_role_and_one_group_may_be_plain_text(self, bench: Bench):
        good = token(bench, **{"role": "webpubsub.sendToGroup.x", "webpubsub.group": "g"})
        await bench.client("closed", url=f"{bench.url('closed')}?access_token={good}")
        assert await bench.sdk("closed").group_exists("g")
        assert await bench.sdk("closed").has_permission("sendToGroup", bench.id_of("closed"), target_name="x")

    @pytest.mark.parametrize(
        "changes",
        [
            {"exp": 1},
            {"exp": None},
            {"aud": None},
            {"aud": "http://127.0.0.1:1/client/hubs/closed"},
            {"key": "another-key-that-is-long-enough-for-hs256"},
        ],
    )
    async def test_a_bad_token_is_refused(self, bench: Bench, changes: dict[str, Any]):
        bad = token(bench, **changes)
        await refused(bench, f"{bench.url('closed')}?access_token={bad}")
        # An invalid token is refused also where anonymous clients are allowed.
        await refused(bench, f"{bench.url('open')}?access_token={bad}")

    async def test_a_token_of_another_hub_is_refused(self, bench: Bench):
        url = (await bench.token_url("open")).replace("/open?", "/closed?")
        await refused(bench, url)

    async def test_an_unsigned_token_is_refused(self, bench: Bench):
        claims = {"aud": f"http://127.0.0.1:{bench.port}/client/hubs/closed", "exp": time.time() + 60}
        await refused(bench, f"{bench.url('closed')}?access_token={jwt.encode(claims, '', algorithm='none')}")

    @pytest.mark.parametrize("hub", ["closed", "unheard_of"])
    async def test_without_a_token_only_anonymous_hubs_admit(self, bench: Bench, hub: str):
        await refused(bench, bench.url(hub))

    async def test_a_hub_without_settings_serves_clients_with_a_token(self, bench: Bench):
        client = await bench.client("unheard_of", url=await bench.token_url("unheard_of"))
        await bench.sdk("unheard_of").send_to_all("hi", content_type="text/plain")
        assert await read(client) == "hi"


class TestCallers:
    async def test_another_key_is_refused(self, bench: Bench):
        where = connection_string(bench.port, "another-key-that-is-long-enough-for-hs256")
        async with WebPubSubServiceClient.from_connection_string(where, "open") as sdk:
            with pytest.raises(ClientAuthenticationError):
                await sdk.send_to_all({"n": 1})

    async def test_no_token_is_refused(self, bench: Bench):
        url = f"http://127.0.0.1:{bench.port}/api/hubs/open/:send?api-version=2024-12-01"
        async with aiohttp.ClientSession() as http, http.post(url, json={}) as answer:
            assert answer.status == 401

    async def test_a_client_token_is_refused_by_the_rest_api(self, bench: Bench):
        url = f"http://127.0.0.1:{bench.port}/api/hubs/closed/:send?api-version=2024-12-01"
        headers = {"Authorization": f"Bearer {token(bench)}"}
        async with aiohttp.ClientSession(headers=headers) as http, http.post(url, json={}) as answer:
            assert answer.status == 401

    async def test_the_service_makes_tokens_for_callers_without_the_key(self, bench: Bench):
        request = HttpRequest(
            "POST",
            "/api/hubs/closed/:generateToken",
            params={"api-version": "2024-12-01", "userId": "ann", "role": "webpubsub.sendToGroup", "group": "g"},
        )
        sdk = bench.sdk("closed")
        answer = await sdk.send_request(request)
        await bench.client("closed", url=f"{bench.url('closed')}?access_token={answer.json()['token']}")
        assert await sdk.user_exists("ann") and await sdk.group_exists("g")
        assert await sdk.has_permission("sendToGroup", bench.id_of("closed"))

    async def test_tokens_for_other_protocols_are_not_implemented(self, bench: Bench):
        request = HttpRequest(
            "POST", "/api/hubs/open/:generateToken", params={"api-version": "2024-12-01", "clientType": "MQTT"}
        )
        assert (await bench.sdk().send_request(request)).status_code == 501


async def refused(bench: Bench, url: str) -> None:
    with pytest.raises(InvalidStatus) as error:
        await bench.client("closed", url=url)
    assert error.value.response.status_code == 401
