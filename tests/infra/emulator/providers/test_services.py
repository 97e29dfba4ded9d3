"""The services that an assistant talks through and connects to, by the wire that they document."""

import hashlib
from base64 import urlsafe_b64encode
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from infra.emulator.providers.google import EMAIL, SECRET


async def send(url: str, method: str, path: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        return await http.request(method, path, **options)


class TestTelegram:
    async def call(self, at: str, method: str, token: str = "12:secret", **body: Any) -> dict[str, Any]:
        return (await send(at, "POST", f"/telegram/bot{token}/{method}", json=body)).json()

    async def test_a_bot_tells_who_it_is_and_keeps_a_webhook(self, url: str):
        me = (await self.call(url, "getMe"))["result"]
        assert (me["id"], me["is_bot"]) == (12, True)
        given = {"url": "https://a.example/x", "secret_token": "abc"}
        assert await self.call(url, "setWebhook", **given) == {"ok": True, "result": True}
        assert (await self.call(url, "getWebhookInfo"))["result"]["url"] == "https://a.example/x"
        await self.call(url, "deleteWebhook")
        assert (await self.call(url, "getWebhookInfo"))["result"]["url"] == ""

    @pytest.mark.parametrize(
        ("method", "body", "said"),
        [("setWebhook", {"url": "http://a.example"}, "HTTPS"),
         ("setWebhook", {"url": "https://a", "secret_token": "a b"}, "secret"),
         ("sendMessage", {"text": "x"}, "chat_id"),
         ("sendMessage", {"chat_id": 1, "text": "x" * 4097}, "too long"), ("sendMessage", {"chat_id": 1}, "empty"),
         ("sendMessage", {"chat_id": 1, "text": "<b>x", "parse_mode": "HTML"}, "end tag"),
         ("sendMessage", {"chat_id": 1, "text": "<p>x</p>", "parse_mode": "HTML"}, "start tag"),
         ("dance", {}, "Not Found")],
    )  # fmt: skip
    async def test_what_it_refuses(self, url: str, method: str, body: dict[str, Any], said: str):
        answer = await self.call(url, method, **body)
        assert answer["ok"] is False and said in answer["description"]

    async def test_a_message_gets_an_id_and_a_wrong_token_is_not_found(self, url: str):
        sent = await self.call(url, "sendMessage", chat_id=1, text="<b>a</b> &lt;", parse_mode="HTML")
        assert sent["result"]["text"] == "a <" and sent["result"]["message_id"] > 0
        assert (await self.call(url, "getMe", token="x"))["error_code"] == 404


class TestSlack:
    async def test_its_methods_and_its_errors_with_status_200(self, url: str):
        async def call(method: str, token: str = "xoxb-1", **body: Any) -> dict[str, Any]:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            answer = await send(url, "POST", f"/slack/api/{method}", json=body, headers=headers)
            assert answer.status_code == 200
            return answer.json()

        assert (await call("auth.test"))["team_id"] == "T0STANDIN"
        sent = [await call("chat.postMessage", channel="C1", text="a") for _ in range(2)]
        assert sent[0]["ok"] and sent[0]["ts"] < sent[1]["ts"]
        assert (await call("auth.test", token=""))["error"] == "not_authed"
        assert (await call("auth.test", token="xoxp-1"))["error"] == "invalid_auth"
        assert (await call("chat.postMessage", text="a"))["error"] == "channel_not_found"
        assert (await call("chat.postMessage", channel="C1"))["error"] == "no_text"
        assert (await call("dance"))["error"] == "unknown_method"


class TestDiscord:
    async def test_messages_and_answers_to_interactions(self, url: str):
        base, bot = "/discord/api/v10", {"Authorization": "Bot x"}
        assert (await send(url, "GET", f"{base}/users/@me")).status_code == 401
        assert (await send(url, "GET", f"{base}/users/@me", headers=bot)).json()["bot"] is True
        body = {"content": "a", "nonce": "1", "enforce_nonce": True}
        made = [await send(url, "POST", f"{base}/channels/5/messages", json=body, headers=bot) for _ in range(2)]
        assert made[0].json() == made[1].json()
        long = await send(url, "POST", f"{base}/channels/5/messages", json={"content": "x" * 2001}, headers=bot)
        assert (long.status_code, long.json()["code"]) == (400, 50035)
        answer = await send(url, "PATCH", f"{base}/webhooks/9/tok/messages/@original", json={"content": "a"})
        again = await send(url, "PATCH", f"{base}/webhooks/9/tok/messages/@original", json={"content": "b"})
        assert answer.json()["id"] == again.json()["id"] and again.json()["content"] == "b"
        assert (await send(url, "POST", f"{base}/webhooks/9/tok", json={"content": "c"})).status_code == 200
        assert (await send(url, "POST", f"{base}/webhooks/9/tok", json={"content": " "})).status_code == 400
        for method, rest in (("PATCH", "/messages/@original"), ("POST", "")):
            late = await send(url, method, f"{base}/webhooks/9/expired{rest}", json={"content": "a"})
            assert (late.status_code, late.json()["code"]) == (404, 10015)


class TestGoogle:
    async def test_the_way_from_consent_to_tokens_and_back(self, url: str):
        challenge = urlsafe_b64encode(hashlib.sha256(b"verifier").digest()).rstrip(b"=").decode()
        query = {
            "client_id": "c", "redirect_uri": "http://127.0.0.1/back", "response_type": "code", "scope": "a b",
            "state": "s", "code_challenge": challenge,
        }  # fmt: skip
        assert (await send(url, "GET", "/google/o/oauth2/v2/auth", params={"client_id": "c"})).status_code == 400
        back = (await send(url, "GET", "/google/o/oauth2/v2/auth", params=query)).headers["location"]
        code = parse_qs(urlsplit(back).query)["code"][0]
        form = {
            "grant_type": "authorization_code", "client_id": "c", "client_secret": SECRET, "code": code,
            "redirect_uri": query["redirect_uri"], "code_verifier": "verifier",
        }  # fmt: skip
        wrong = await send(url, "POST", "/google/token", data=form | {"client_secret": "x"})
        assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
        tokens = (await send(url, "POST", "/google/token", data=form)).json()
        assert (await send(url, "POST", "/google/token", data=form)).json()["error"] == "invalid_grant"
        again = {**form, "grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        renewed = (await send(url, "POST", "/google/token", data=again)).json()
        assert renewed["access_token"] != tokens["access_token"] and "refresh_token" not in renewed
        assert (await send(url, "GET", "/google/local/given")).json() == {"given": 2}
        headers = {"Authorization": f"Bearer {renewed['access_token']}"}
        assert (await send(url, "GET", "/google/v1/userinfo", headers=headers)).json()["email"] == EMAIL
        token = {"token": tokens["refresh_token"]}
        assert [(await send(url, "POST", "/google/revoke", data=token)).status_code for _ in range(2)] == [200, 400]
        assert (await send(url, "POST", "/google/token", data=again)).json()["error"] == "invalid_grant"
        assert (await send(url, "GET", "/google/v1/userinfo", headers=headers)).status_code == 401

    async def test_a_code_needs_its_verifier(self, url: str):
        query = {
            "client_id": "c",
            "redirect_uri": "http://b",
            "response_type": "code",
            "scope": "a",
            "code_challenge": "x",
        }
        back = (await send(url, "GET", "/google/o/oauth2/v2/auth", params=query)).headers["location"]
        form = {
            "grant_type": "authorization_code", "client_id": "c", "client_secret": SECRET, "redirect_uri": "http://b",
            "code": parse_qs(urlsplit(back).query)["code"][0], "code_verifier": "y",
        }  # fmt: skip
        assert (await send(url, "POST", "/google/token", data=form)).json()["error"] == "invalid_grant"
