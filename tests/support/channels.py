"""The services behind channels, as they call the app: each request with the proof that its service gives."""

import hmac
import json
import time
import uuid
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.ownpilot import OwnPilot

_chance = Random()


@dataclass
class Sent:
    """A request of a service: its body and headers."""

    body: bytes
    headers: dict[str, str]


@dataclass
class Service:
    """A channel, and the service behind it."""

    me: OwnPilot
    providers: int
    """The port of the stand-in."""

    id: str = ""
    type = ""

    async def open(self, **config: Any) -> dict[str, Any]:
        """Make the channel."""
        made = await self.me.post("/channels", type=self.type, name=f"My {self.type}", config=config)
        self.id = made["id"]
        return made

    def sign(self, body: bytes) -> dict[str, str]:
        """The headers that prove who sends a body."""
        raise NotImplementedError

    def message(self, text: str, **members: Any) -> dict[str, Any]:
        """The body with which the service brings a message; `number` and `chat` may be given."""
        raise NotImplementedError

    def sent(self, body: dict[str, Any]) -> Sent:
        """A request with a valid proof."""
        data = json.dumps(body).encode()
        return Sent(data, {"Content-Type": "application/json", **self.sign(data)})

    async def deliver(self, sent: Sent) -> httpx.Response:
        """Send a request to the channel."""
        path = f"/channels/{self.id}/webhook"
        return await self.me.send("POST", path, content=sent.body, headers=sent.headers)

    async def bring(self, text: str, **members: Any) -> httpx.Response:
        """Bring a message."""
        return await self.deliver(self.sent(self.message(text, **members)))

    async def received(self, text: str) -> list[dict[str, Any]]:
        """The requests with this text in their bodies that the stand-in has got, the oldest first: path and body."""
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"http://127.0.0.1:{self.providers}/local/requests", params={"text": text})
        return answer.json()

    async def sent_to_it(self, text: str) -> list[dict[str, Any]]:
        """As `received`, without the requests to models."""
        return [each for each in await self.received(text) if each["path"].startswith(f"/{self.type}/")]


@dataclass
class TelegramService(Service):
    """A bot. The secret of its webhook is what the stand-in was told."""

    type = "telegram"
    token: str = field(default_factory=lambda: f"{_chance.randrange(10**9, 10**10)}:{uuid.uuid4().hex}")
    secret: str = ""

    async def open(self, **config: Any) -> dict[str, Any]:
        made = await super().open(**{"botToken": self.token, "allowedUsers": [42], **config})
        self.secret = (await self.received(made["webhookUrl"]))[-1]["body"]["secret_token"]
        return made

    def sign(self, body: bytes) -> dict[str, str]:
        return {"X-Telegram-Bot-Api-Secret-Token": self.secret}

    def message(self, text: str, **members: Any) -> dict[str, Any]:
        chat = members.get("chat", 42)
        return {
            "update_id": members.get("number", _chance.randrange(10**9)),
            "message": {
                "message_id": 7, "date": int(time.time()) - 60, "text": text, "chat": {"id": chat, "type": "private"},
                "from": {"id": members.get("sender", chat), "is_bot": False, "first_name": "Ann", "last_name": "Lee"},
            },
        }  # fmt: skip


@dataclass
class SlackService(Service):
    """An app of a workspace."""

    type = "slack"
    secret: str = field(default_factory=lambda: uuid.uuid4().hex)

    async def open(self, **config: Any) -> dict[str, Any]:
        given = {"botToken": "xoxb-1", "signingSecret": self.secret, "allowedWorkspaces": ["T1"], **config}
        return await super().open(**given)

    def sign(self, body: bytes, at: float | None = None) -> dict[str, str]:
        stamp = str(int(time.time() if at is None else at))
        digest = hmac.new(self.secret.encode(), f"v0:{stamp}:".encode() + body, "sha256").hexdigest()
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}

    def message(self, text: str, **members: Any) -> dict[str, Any]:
        event = {"type": "message", "channel": members.get("chat", "C1"), "user": "U1", "text": text}
        event["ts"] = f"{time.time():.6f}"
        number = members.get("number", uuid.uuid4().hex)
        return {"type": "event_callback", "team_id": members.get("team", "T1"), "event_id": number, "event": event}


@dataclass
class DiscordService(Service):
    """An application with a command `/ask`."""

    type = "discord"
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    async def open(self, **config: Any) -> dict[str, Any]:
        public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
        return await super().open(**{"botToken": "MTIz.abc", "publicKey": public, "allowedGuilds": ["1"], **config})

    def sign(self, body: bytes) -> dict[str, str]:
        stamp = str(int(time.time()))
        return {
            "X-Signature-Timestamp": stamp, "X-Signature-Ed25519": self.key.sign(stamp.encode() + body).hex(),
        }  # fmt: skip

    def message(self, text: str, **members: Any) -> dict[str, Any]:
        id_ = (int(time.time() * 1000) - 1_420_070_400_000) << 22 | _chance.randrange(2**22)
        return {
            "type": 2, "id": str(members.get("number", id_)), "application_id": "99", "guild_id": "1",
            "token": members.get("token", uuid.uuid4().hex), "channel_id": members.get("chat", "5"),
            "member": {"user": {"id": "8", "username": "ann", "global_name": "Ann"}},
            "data": {"id": "3", "name": "ask", "type": 1, "options": [{"name": "text", "type": 3, "value": text}]},
        }  # fmt: skip


@dataclass
class WebchatService(Service):
    """A web site."""

    type = "webchat"
    secret: str = field(default_factory=lambda: uuid.uuid4().hex)

    async def open(self, **config: Any) -> dict[str, Any]:
        return await super().open(webhookSecret=self.secret, **config)

    def sign(self, body: bytes) -> dict[str, str]:
        return {"X-Webhook-Secret": self.secret}

    def message(self, text: str, **members: Any) -> dict[str, Any]:
        return {"id": str(members.get("number", uuid.uuid4())), "content": text, "sender": {"id": "v1", "name": "Vi"}}
