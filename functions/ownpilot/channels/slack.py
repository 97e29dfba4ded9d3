"""Slack: an app that Slack sends events to."""

import hmac
from collections.abc import Mapping
from datetime import datetime
from html import unescape
from typing import Any, cast

from functions.ownpilot.channels.adapters import Adapter, Address, Incoming, Reading, moment_of, only
from functions.ownpilot.channels.calls import call, refused
from functions.ownpilot.channels.configs import SlackConfig, is_allowed
from functions.ownpilot.channels.formatting import SLACK, formatted
from shared.settings import settings

WINDOW = 300
"""Seconds after which a request is refused: an older one may be a replay."""


class Slack(Adapter[SlackConfig]):
    """An app of Slack."""

    service, limit = "Slack", 4000

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
        """Whether the signature, `v0=` and an HMAC of time and body, is of Slack and of the last five minutes."""
        secret, stamp = self.config.signing_secret, headers.get("x-slack-request-timestamp", "")
        if not secret or not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
            return False
        if abs(now.timestamp() - int(stamp)) > WINDOW:
            return False
        expected = "v0=" + hmac.new(secret.encode(), b"v0:%b:%b" % (stamp.encode(), body), "sha256").hexdigest()
        return hmac.compare_digest(headers.get("x-slack-signature", "").encode(), expected.encode())

    def read(self, data: dict[str, Any]) -> Reading:
        """Return the message of an event; the first request of all asks for its own challenge."""
        if data.get("type") == "url_verification":
            return Reading(raw=str(data["challenge"]))
        event: Any = data.get("event")
        if data.get("type") != "event_callback" or not isinstance(event, dict):
            return Reading()
        message = cast("dict[str, Any]", event)
        if message.get("type") != "message" or message.get("bot_id") or message.get("subtype"):
            return Reading()
        if not message.get("text"):
            return Reading()
        chat, stamp, sender = str(message["channel"]), str(message["ts"]), str(message["user"])
        team = str(data.get("team_id") or message.get("team") or "")
        return Reading(
            Incoming(
                key=f"event {data['event_id']}",
                at=moment_of(float(stamp)),
                chat=chat,
                external_id=str(message.get("thread_ts") or stamp),
                sender_id=sender,
                sender_name=sender,
                content=unescape(str(message["text"])),
                is_allowed=is_allowed((team, self.config.allowed_workspaces), (chat, self.config.allowed_channels)),
            )
        )

    async def connect(self, webhook: str) -> dict[str, Any]:
        """Ask who the bot is. The address is set on Slack's pages of the app."""
        me = await self._call("auth.test", {})
        return {"id": me.get("user_id"), "username": me.get("user"), "team": me.get("team"), "teamId": me["team_id"]}

    async def send(self, to: Address, text: str, nonce: str, *, is_first: bool) -> str:
        """Send a part; all parts of an answer are in the thread of the message."""
        body = {"channel": to.chat, "text": formatted(text, SLACK), "mrkdwn": True, "unfurl_links": False}
        if to.external_id:
            body["thread_ts"] = to.external_id
        return str((await self._call("chat.postMessage", body))["ts"])

    def default_chat(self) -> str:
        """Return the conversation that is allowed."""
        return only(self.config.allowed_channels)

    async def _call(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        token, base = self.config.bot_token, self.config.api_base
        url = f"{base or settings().slack_api_base}/{method}"
        answer = await call("POST", url, user_given=base is not None, body=body, authorization=f"Bearer {token}")
        data = cast("dict[str, Any]", answer.data) if isinstance(answer.data, dict) else {}
        if data.get("ok") is not True:
            # Slack's errors, such as `invalid_auth`, come with status 200.
            error = data.get("error")
            busy = error in ("ratelimited", "internal_error", "service_unavailable", "fatal_error")
            raise refused(self.service, 400 if error and not busy else answer.status, error)
        return data
