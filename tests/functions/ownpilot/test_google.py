"""Accounts at Google: the client, the way to the page of consent and back, tokens, and what is connected."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

from functions.ownpilot import auth
from functions.ownpilot.core import google
from functions.ownpilot.core.google import GoogleTokens
from functions.ownpilot.core.integration_store import (
    Integration,
    connect,
    id_of,
    integrations,
    purge_oauth_states,
    redeem,
    renewed,
    states,
)
from functions.ownpilot.core.settings_store import stored_settings
from infra.emulator.providers.google import EMAIL, SECRET
from infra.local.environment import Environment
from shared.http.errors import BadRequest
from shared.settings import Settings
from tests.support.environments import ROOT_KEY, StrictHost
from tests.support.gateway import Gateway
from tests.support.ownpilot import BASE, OwnPilot, data_of, refused

pytestmark = pytest.mark.usefixtures("app")


@pytest.fixture
async def user(me: OwnPilot) -> AsyncIterator[OwnPilot]:
    """A person who has set the client."""
    await me.post("/auth/config/google", clientId="the-client", clientSecret=SECRET)
    yield me


def result(answer: httpx.Response) -> dict[str, list[str]]:
    """What a redirect says in its query."""
    assert answer.status_code == 302, answer.text
    return parse_qs(urlsplit(answer.headers["location"]).query)


async def start(user: OwnPilot, **query: str) -> str:
    """The address of the page of consent."""
    answer = await user.send("GET", "/auth/google/start", params=query)
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


async def agree(user: OwnPilot, **query: str) -> str:
    """The address to which Google sends the browser back."""
    return (await user.http.get(await start(user, **query))).headers["location"]


async def connected(user: OwnPilot, service: str = "gmail") -> dict[str, Any]:
    """An integration that was just connected."""
    answer = await user.http.get(await agree(user, service=service))
    assert result(answer) == {"oauth_success": [service]}
    return next(each for each in await user.get("/integrations") if each["service"] == service)


async def given(user: OwnPilot, stack: Environment) -> int:
    """How often Google has given tokens."""
    answer = await user.http.get(f"http://127.0.0.1:{stack.ports['providers']}/google/local/given")
    return answer.json()["given"]


class TestClient:
    async def test_the_client_is_set_shown_without_its_secret_and_forgotten(self, me: OwnPilot, stack: Environment):
        callback = f"{stack.url}/ownpilot/api/v1/auth/google/callback"
        google = (await me.get("/auth/status"))["google"]
        assert (google["configured"], google["redirectUri"]) == (False, callback)
        assert {each["isConfigured"] for each in await me.get("/integrations/available")} == {False}
        answer = await me.send("GET", "/auth/google/start")
        refused(answer, 400, "NOT_CONFIGURED")
        assert "clientSecret" in answer.json()["error"]["details"]["hint"]
        body = {"clientId": "the-client", "clientSecret": "GOCSPX-hidden", "redirectUri": "https://a.example/back"}
        assert (await me.post("/auth/config/google", **body))["configured"] is True
        google = (await me.get("/auth/status"))["google"]
        assert google["redirectUri"] == "https://a.example/back" and "hidden" not in str(google)
        [row] = [each async for each in stored_settings.of(me.user).all()]
        assert "hidden" not in row.model_dump_json()
        refused(await me.send("GET", "/settings/google_oauth_client_secret"), 403, "FORBIDDEN")
        assert {each["isConfigured"] for each in await me.get("/integrations/available")} == {True}
        assert (await me.data("DELETE", "/auth/config/google"))["configured"] is False
        assert (await me.get("/auth/status"))["google"]["configured"] is False

    @pytest.mark.parametrize(
        "body", [{}, {"clientId": "a"}, {"clientId": "a b", "clientSecret": "c"},
                 {"clientId": "a", "clientSecret": "c", "redirectUri": "javascript:x"}]
    )  # fmt: skip
    async def test_a_wrong_client_is_refused(self, me: OwnPilot, body: dict[str, Any]):
        refused(await me.send("POST", "/auth/config/google", json=body), 400, "INVALID_REQUEST")


class TestConsent:
    async def test_the_page_is_asked_for_what_the_service_needs(self, user: OwnPilot, stack: Environment):
        query = parse_qs(urlsplit(await start(user, service="gmail")).query)
        scopes = query.pop("scope")[0].split()
        assert [each.rpartition("/")[2] for each in scopes] == ["gmail.modify", "gmail.send", "userinfo.email"]
        assert len(query.pop("state")[0]) >= 40 and len(query.pop("code_challenge")[0]) == 43
        assert query == {
            "client_id": ["the-client"], "response_type": ["code"], "access_type": ["offline"], "prompt": ["consent"],
            "include_granted_scopes": ["true"], "code_challenge_method": ["S256"],
            "redirect_uri": [f"{stack.url}/ownpilot/api/v1/auth/google/callback"],
        }  # fmt: skip
        refused(await user.send("GET", "/auth/google/start", params={"service": "photos"}), 400, "INVALID_REQUEST")

    async def test_a_person_comes_back_connected(self, user: OwnPilot):
        answer = await user.http.get(await agree(user, service="drive", returnUrl="/a?b=c#d"))
        assert answer.headers["location"] == "/a?b=c&oauth_success=drive#d"
        assert "ya29" not in str(answer.headers) and answer.headers["cache-control"] == "no-store"
        [found] = await user.get("/integrations")
        assert (found["provider"], found["service"], found["email"]) == ("google", "drive", EMAIL)
        assert (found["status"], found["errorMessage"]) == ("active", None) and len(found["scopes"]) == 2
        assert await user.get("/integrations/connected") == [found]
        assert await user.get(f"/integrations/{found['id']}") == found
        stored = await integrations.of(user.user).get(found["id"])
        access, again = stored.token("sealed_access") or "", stored.token("sealed_refresh") or ""
        assert access.startswith("ya29.") and again.startswith("1//")
        assert access not in stored.model_dump_json() and again not in stored.model_dump_json()
        assert (await connected(user, "drive"))["id"] == found["id"]

    @pytest.mark.parametrize(
        "address",
        ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)",
         "https://127.0.0.1.evil.example/", "/a\r\nSet-Cookie: x=1", "settings", "http://user@127.0.0.1/", " /a"],
    )  # fmt: skip
    async def test_nobody_is_led_away(self, user: OwnPilot, address: str):
        answer = await user.send("GET", "/auth/google/start", params={"returnUrl": address})
        refused(answer, 400, "INVALID_REQUEST")

    async def test_an_address_of_this_server_is_taken(self, user: OwnPilot, stack: Environment):
        answer = await user.http.get(await agree(user, returnUrl=f"{stack.url}/x"))
        assert answer.headers["location"] == f"{stack.url}/x?oauth_success=gmail"

    def test_in_azure_addresses_of_named_origins_and_of_the_app_are_taken(self, monkeypatch: pytest.MonkeyPatch):
        deployed = Settings.model_validate({
            "WEBSITE_HOSTNAME": "func.example", "RUNYARD_PLATFORM_CORS": "true",
            "RUNYARD_CORS_ORIGINS": "https://app.example, *",
        })  # fmt: skip
        monkeypatch.setattr(auth, "settings", lambda: deployed)
        for address in ("https://app.example/x?y", "https://func.example/x"):
            auth._check_return(address)
        for address in ("https://evil.example/", "https://*/"):
            with pytest.raises(BadRequest):
                auth._check_return(address)

    async def test_of_two_callbacks_at_once_one_connects(self, user: OwnPilot):
        address = await agree(user)
        found = await asyncio.gather(*(user.http.get(address) for _ in range(4)))
        results = sorted(next(iter(result(each))) for each in found)
        assert results == ["oauth_error"] * 3 + ["oauth_success"]

    async def test_a_state_that_is_not_ours_or_too_old_is_an_error(self, user: OwnPilot):
        target = f"{BASE}/auth/google/callback"
        for query in ("", "?code=x", "?code=x&state=forged", "?code=x&state=%F0%9F%98%80"):
            answer = await user.http.get(f"{target}{query}")
            assert result(answer) == {"oauth_error": ["invalid_or_expired_state"]}
            assert answer.headers["location"].startswith("/settings?")
        state = parse_qs(urlsplit(await start(user)).query)["state"][0]
        [record] = [each async for each in states.all({"user_id": user.user})]
        assert state not in record.model_dump_json()
        await states.delete(record.id)
        old = record.model_copy(update={"created_at": datetime.now(UTC) - timedelta(minutes=11)})
        await states.insert(old)
        assert await redeem(state) is None

    async def test_what_google_refuses_is_told_in_one_word(self, user: OwnPilot):
        address = await agree(user, returnUrl="/r")
        state = parse_qs(urlsplit(address).query)["state"][0]
        answer = await user.http.get(f"{BASE}/auth/google/callback?state={state}&error=access_denied")
        assert answer.headers["location"] == "/r?oauth_error=access_denied"
        assert result(await user.http.get(address)) == {"oauth_error": ["invalid_or_expired_state"]}
        for text in ("<script>", "a&oauth_success=gmail", "x" * 500, "a\r\nb"):
            answer = await user.http.get(f"{BASE}/auth/google/callback?error={quote(text)}")
            assert answer.headers["location"] == "/settings?oauth_error=unknown_error"
        address = await agree(user)
        code = parse_qs(urlsplit(address).query)["code"][0]
        answer = await user.http.get(address.replace(quote(code, safe=""), "4%2Fforged"))
        assert result(answer) == {"oauth_error": ["invalid_grant"]}
        address = await agree(user)
        await user.post("/auth/config/google", clientId="the-client", clientSecret="wrong")
        assert result(await user.http.get(address)) == {"oauth_error": ["invalid_client"]}
        assert await user.get("/integrations") == []

    async def test_states_of_those_who_did_not_come_back_are_deleted(self, user: OwnPilot):
        await start(user)
        [record] = [each async for each in states.all({"user_id": user.user})]
        await states.delete(record.id)
        old = record.model_copy(update={"created_at": datetime.now(UTC) - timedelta(hours=1)})
        await states.insert(old)
        assert "deleted" in (await purge_oauth_states(None) or "")  # type: ignore[arg-type]
        assert [each async for each in states.all({"user_id": user.user})] == []


class TestTokens:
    async def test_requests_side_by_side_share_a_renewed_token(self, user: OwnPilot, stack: Environment):
        found = await connected(user)
        before = await given(user, stack)
        body = {"integrationId": found["id"]}
        answers = await asyncio.gather(*(user.data("POST", "/auth/google/refresh", json=body) for _ in range(5)))
        renewed = await given(user, stack) - before  # a request that comes after the first renewal makes another one
        assert len({each["expiresAt"] for each in answers}) == renewed < len(answers)
        assert answers[0]["expiresAt"] > datetime.now(UTC).isoformat()
        synced = await user.data("POST", f"/integrations/{found['id']}/sync")
        assert synced["expiresAt"] >= answers[0]["expiresAt"] and await given(user, stack) == before + renewed + 1
        assert (await user.get(f"/integrations/{found['id']}"))["lastSyncAt"]

    async def test_a_permission_that_was_withdrawn_is_shown_as_expired(self, user: OwnPilot, stack: Environment):
        found = await connected(user)
        token = (await integrations.of(user.user).get(found["id"])).token("sealed_refresh")
        at = f"http://127.0.0.1:{stack.ports['providers']}/google/revoke"
        assert (await user.http.post(at, data={"token": token})).status_code == 200
        body = {"integrationId": found["id"]}
        refused(await user.send("POST", "/auth/google/refresh", json=body), 400, "EXPIRED")
        shown = await user.get(f"/integrations/{found['id']}")
        assert shown["status"] == "expired" and shown["errorMessage"]
        assert (await connected(user))["status"] == "active"

    async def test_a_token_without_one_to_renew_it_expires(self, user: OwnPilot):
        found = await connected(user)

        def end(stored: Integration) -> None:
            stored.sealed_refresh, stored.expires_at = None, datetime.now(UTC) - timedelta(seconds=1)

        await integrations.of(user.user).update(found["id"], end)
        assert (await user.get(f"/integrations/{found['id']}"))["status"] == "expired"
        answer = await user.send("POST", "/auth/google/refresh", json={"integrationId": found["id"]})
        refused(answer, 400, "EXPIRED")

    async def test_another_account_takes_over_nothing_of_the_one_before(self, user: OwnPilot):
        found = await connected(user)
        await user.data("POST", f"/integrations/{found['id']}/sync")
        tokens = GoogleTokens("access of b", None, datetime.now(UTC) + timedelta(hours=1), [])
        stored = await connect(user.user, "gmail", tokens, None)
        assert (stored.token("sealed_access"), stored.token("sealed_refresh")) == ("access of b", None)
        assert (stored.email, stored.last_sync_at, stored.scopes) == (None, None, [])

    async def test_a_token_that_is_renewed_meanwhile_does_not_replace_that_of_another_account(
        self, user: OwnPilot, monkeypatch: pytest.MonkeyPatch
    ):
        found = await connected(user)
        until = datetime.now(UTC) + timedelta(hours=1)

        async def refresh(*_: Any) -> GoogleTokens:
            await connect(user.user, "gmail", GoogleTokens("access of b", "refresh of b", until, []), None)
            return GoogleTokens("access of a", None, until, [])

        monkeypatch.setattr(google, "refresh", refresh)
        kept = await renewed(user.user, found["id"])
        assert (kept.token("sealed_access"), kept.token("sealed_refresh")) == ("access of b", "refresh of b")

    async def test_a_permission_that_lacks_is_shown_until_it_is_given(self, user: OwnPilot):
        email = next(scope for scope in google.SCOPES["gmail"] if scope.endswith("userinfo.email"))
        until = datetime.now(UTC) + timedelta(hours=1)
        stored = await connect(user.user, "gmail", GoogleTokens("a", "r", until, [email]), None)
        assert stored.status == "error"
        for scopes, status in (([], "error"), ([email], "error"), ([*google.SCOPES["gmail"]], "active")):
            stored.keep(GoogleTokens("a", None, until, scopes))
            assert (stored.status, stored.error_message is None) == (status, status == "active")

    async def test_a_host_that_died_while_renewing_keeps_nobody_waiting_for_long(self, user: OwnPilot):
        found = await connected(user)
        until = datetime.now(UTC) + timedelta(seconds=1)
        await integrations.of(user.user).update(found["id"], lambda it: setattr(it, "refreshing_until", until))
        await user.data("POST", "/auth/google/refresh", json={"integrationId": found["id"]})
        assert datetime.now(UTC) > until

    @pytest.mark.parametrize("way", ["revoke", "delete"])
    async def test_an_account_is_disconnected_even_if_google_does_not_know_the_token(self, user: OwnPilot, way: str):
        for is_known in (True, False):
            found = await connected(user)
            if not is_known:
                stored = await integrations.of(user.user).get(found["id"])
                token = stored.token("sealed_refresh")
                await user.http.post((await start(user)).partition("/o/")[0] + "/revoke", data={"token": token})
            if way == "revoke":
                done = await user.data("POST", "/auth/google/revoke", json={"integrationId": found["id"]})
            else:
                done = await user.data("DELETE", f"/integrations/{found['id']}")
            assert done["deleted"] is True and await user.get("/integrations") == []
        for method, path, body in (
            ("POST", "/auth/google/revoke", {"integrationId": "x"}), ("GET", "/integrations/x", None),
            ("POST", "/auth/google/refresh", {"integrationId": id_of("gmail")}),
            ("DELETE", f"/integrations/{id_of('gmail')}", None),
            ("POST", "/integrations/x/sync", None),
        ):  # fmt: skip
            refused(await user.send(method, path, json=body), 404, "NOT_FOUND")
        refused(await user.send("POST", "/auth/google/refresh"), 400, "INVALID_REQUEST")


class TestWhoMayConnect:
    async def test_with_authentication_only_a_credential_names_the_user(
        self, strict_host: StrictHost, gateway: Gateway
    ):
        http, key = strict_host.http, {"X-API-Key": gateway.key}
        body = {"clientId": "c", "clientSecret": SECRET}
        data_of(await http.post(f"{BASE}/auth/config/google", json=body, headers=key))
        target = f"{BASE}/auth/google/start"
        refused(await http.get(target, params={"userId": gateway.id}), 403, "FORBIDDEN")
        refused(await http.get(target), 400, "NOT_CONFIGURED")  # the user `default` has no client there
        for credential in ({"headers": key}, {"params": {"api_key": gateway.key}}):
            answer = await http.get(target, **credential)  # type: ignore[arg-type]
            assert answer.status_code == 302 and gateway.key not in answer.headers["location"]
        both = await http.get(target, params={"userId": gateway.id}, headers={"X-API-Key": ROOT_KEY})
        assert both.status_code == 302
        refused(await http.get(target, headers={"X-API-Key": "sk-wrong"}), 403, "FORBIDDEN")
