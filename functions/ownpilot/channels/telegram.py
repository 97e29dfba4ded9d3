"""Telegram: a bot that Telegram calls at a webhook."""

import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from functions.ownpilot.channels.adapters import Adapter, Address, Incoming, Reading, moment_of, only
from functions.ownpilot.channels.calls import call, refused, without
from functions.ownpilot.channels.configs import TelegramConfig, is_allowed
from functions.ownpilot.channels.formatting import TELEGRAM, formatted
from shared.settings import settings

UPDATES = ("message", "edited_message", "callback_query")
"""What Telegram is asked to send."""

_FILES = ("document", "audio", "video", "voice")


class Telegram(Adapter[TelegramConfig]):
    """A bot of Telegram."""

    service, limit = "Telegram", 4096

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
        """Whether the header holds the secret that Telegram was told with the address."""
        given, secret = headers.get("x-telegram-bot-api-secret-token", ""), self.config.webhook_secret
        return bool(secret) and hmac.compare_digest(given.encode(), secret.encode())

    def read(self, data: dict[str, Any]) -> Reading:
        """Return the message of an update, of which there are many other kinds."""
        kind = next((name for name in UPDATES if isinstance(data.get(name), dict)), None)
        if kind is None:
            return Reading()
        update = data[kind]
        message: dict[str, Any] = update["message"] if kind == "callback_query" else update
        content = update.get("data") if kind == "callback_query" else message.get("text") or message.get("caption")
        attachments = [] if kind == "callback_query" else _attachments(message)
        if not content and not attachments:
            return Reading()
        sender: dict[str, Any] = update.get("from") or message["chat"]
        names = [sender.get("first_name"), sender.get("last_name")]
        chat, sender_id = str(message["chat"]["id"]), str(sender["id"])
        return Reading(
            Incoming(
                key=f"update {self._bot} {int(data['update_id'])}",
                at=moment_of(float(message.get("edit_date") or message.get("date") or 0)),
                chat=chat,
                external_id=str(int(message["message_id"])),
                sender_id=sender_id,
                sender_name=" ".join(filter(None, names)) or str(sender.get("username") or sender_id),
                content=str(content or ""),
                attachments=attachments,
                is_allowed=not sender.get("is_bot")
                and is_allowed((sender_id, self.config.allowed_users), (chat, self.config.allowed_chats)),
            )
        )

    async def connect(self, webhook: str) -> dict[str, Any]:
        """Ask who the bot is, and tell Telegram the address and the secret that its requests shall carry."""
        me = await self._call("getMe", {})
        await self._call("setWebhook", {
            "url": self.config.webhook_url or webhook, "secret_token": self.config.webhook_secret,
            "allowed_updates": [*UPDATES],
        })  # fmt: skip
        return {"id": str(me["id"]), "username": me.get("username"), "firstName": me.get("first_name")}

    async def disconnect(self) -> None:
        """Have Telegram forget the address."""
        await self._call("deleteWebhook", {})

    async def send(self, to: Address, text: str, nonce: str, *, is_first: bool) -> str:
        """Send a part; the first one shows which message it answers."""
        body: dict[str, Any] = {"chat_id": to.chat}
        if self.config.parse_mode == "none":
            body["text"] = text
        else:
            body |= {"text": formatted(text, TELEGRAM), "parse_mode": "HTML"}
        if is_first and to.external_id.isdigit():
            body["reply_parameters"] = {"message_id": int(to.external_id), "allow_sending_without_reply": True}
        return str((await self._call("sendMessage", body))["message_id"])

    def default_chat(self) -> str:
        """Return the chat, or the person, that is allowed."""
        return only(self.config.allowed_chats) or only(self.config.allowed_users)

    @property
    def _bot(self) -> str:
        """The id of the bot, which counts its updates: the part of the token that is no secret."""
        id_, colon, _ = self.config.bot_token.partition(":")
        return id_[:20] if colon else ""

    async def _call(self, method: str, body: dict[str, Any]) -> Any:
        token, base = self.config.bot_token, self.config.api_base
        url = f"{base or settings().telegram_api_base}/bot{token}/{method}"
        answer = await call("POST", url, user_given=base is not None, body=body, secret=token)
        if not isinstance(answer.data, dict) or answer.data.get("ok") is not True or "result" not in answer.data:
            reason = cast("dict[str, Any]", answer.data).get("description") if isinstance(answer.data, dict) else None
            raise refused(self.service, answer.status, reason and without(str(reason), token))
        return cast("dict[str, Any]", answer.data)["result"]


def _attachments(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the files of a message; of a photo, which comes in several sizes, the largest."""
    found = [("photo", message["photo"][-1])] if message.get("photo") else []
    found += [(kind, message[kind]) for kind in _FILES if isinstance(message.get(kind), dict)]
    return [
        {
            "type": kind, "fileId": file.get("file_id"), "name": file.get("file_name"),
            "mimeType": file.get("mime_type"), "size": file.get("file_size"),
        }
        for kind, file in found
    ]  # fmt: skip
