"""Discord: an application whose commands Discord sends, signed."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, cast
from urllib.parse import quote

from functions.ownpilot.channels.adapters import Adapter, Address, Incoming, Reading, moment_of, only
from functions.ownpilot.channels.calls import ServiceAnswer, call, refused, without
from functions.ownpilot.channels.configs import DiscordConfig, is_allowed
from shared.settings import settings

PING, COMMAND = 1, 2
"""Types of interactions."""

PONG, MESSAGE, DEFERRED = 1, 4, 5
"""Types of answers: to a ping, at once, and the one that announces a later message."""

_EPOCH = 1_420_070_400_000
"""What Discord counts milliseconds from."""

_ONLY_SENDER = 64
_NO_PINGS: dict[str, Any] = {"parse": []}
"""Which names in a text call people: none."""

NOT_ALLOWED = "This assistant does not answer here."


class Discord(Adapter[DiscordConfig]):
    """An application of Discord."""

    service, limit = "Discord", 2000

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
        """Whether the signature (Ed25519) of time and body is that of the application's public key."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        given, stamp = headers.get("x-signature-ed25519", ""), headers.get("x-signature-timestamp", "")
        if not self.config.public_key:
            return False
        try:
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.config.public_key))
            key.verify(bytes.fromhex(given), stamp.encode() + body)
        except (ValueError, InvalidSignature):
            return False
        return True

    def read(self, data: dict[str, Any]) -> Reading:
        """Return the message of a command, to which the answer comes later; pings are answered at once."""
        if data["type"] == PING:
            return Reading(raw={"type": PONG})
        if data["type"] != COMMAND:
            raise ValueError("only pings and commands are understood")
        sender: dict[str, Any] = data["user"] if "user" in data else data["member"]["user"]
        id_ = int(data["id"])
        guild, chat = data.get("guild_id"), str(data["channel_id"])
        if guild is None:
            allowed = self.config.allow_dms
        else:
            allowed = is_allowed((str(guild), self.config.allowed_guilds), (chat, self.config.allowed_channels))
        message = Incoming(
            key=f"interaction {id_}",
            at=moment_of(((id_ >> 22) + _EPOCH) / 1000),
            chat=chat,
            external_id="",
            sender_id=str(sender["id"]),
            sender_name=str(sender.get("global_name") or sender.get("username") or sender["id"]),
            content=_words(data["data"]),
            is_allowed=allowed,
            answer_key=f"{int(data['application_id'])}/{quote(str(data['token']), safe='')}",
        )
        refusal = {"type": MESSAGE, "data": {"content": NOT_ALLOWED, "flags": _ONLY_SENDER}}
        return Reading(message, raw={"type": DEFERRED} if allowed else refusal)

    async def connect(self, webhook: str) -> dict[str, Any]:
        """Ask who the bot is. The address is set on Discord's pages of the application."""
        me = self._checked(await self._call("GET", "/users/@me"))
        return {"id": me.get("id"), "username": me.get("username")}

    async def send(self, to: Address, text: str, nonce: str, *, is_first: bool) -> str:
        """Send a part: the first one in place of what was announced. After 15 minutes, it is a message of its own."""
        body: dict[str, Any] = {"content": text, "allowed_mentions": _NO_PINGS}
        if to.key:
            method, rest = ("PATCH", "/messages/@original") if is_first else ("POST", "")
            answer = await self._call(method, f"/webhooks/{to.key}{rest}", body, secret=to.key)
            if answer.status < 300:
                return str(self._checked(answer)["id"])
            if answer.status not in (401, 404):
                self._checked(answer)
        body |= {"nonce": nonce, "enforce_nonce": True}  # of two with the same one, Discord sends the first
        if to.external_id:
            body["message_reference"] = {"message_id": to.external_id, "fail_if_not_exists": False}
        return str(self._checked(await self._call("POST", f"/channels/{quote(to.chat, safe='')}/messages", body))["id"])

    def default_chat(self) -> str:
        """Return the channel that is allowed."""
        return only(self.config.allowed_channels)

    def _checked(self, answer: ServiceAnswer) -> dict[str, Any]:
        data = cast("dict[str, Any]", answer.data) if isinstance(answer.data, dict) else {}
        if answer.status >= 300 or "id" not in data:
            raise refused(self.service, answer.status, without(str(data.get("message") or ""), self.config.bot_token))
        return data

    async def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, secret: str = ""
    ) -> ServiceAnswer:
        base = self.config.api_base
        return await call(
            method, f"{base or settings().discord_api_base}{path}", user_given=base is not None, body=body,
            authorization=f"Bot {self.config.bot_token}", secret=secret,
        )  # fmt: skip


def _words(command: dict[str, Any]) -> str:
    """Return what a command says: the texts of its options, else its name."""
    return " ".join(_texts(cast("Iterable[dict[str, Any]]", command.get("options") or []))) or f"/{command['name']}"


def _texts(options: Iterable[dict[str, Any]]) -> list[str]:
    found: list[str] = []
    for option in options:
        if "value" in option:
            found.append(str(option["value"]))
        else:
            found += [str(inner["value"]) for inner in option.get("options") or [] if "value" in inner]
    return found
