"""A chat on a web site: its server brings what visitors write; people answer it from the inbox."""

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from functions.ownpilot.channels.adapters import Adapter, Address, Incoming, Reading, moment_of
from functions.ownpilot.channels.configs import WebchatConfig


class Webchat(Adapter[WebchatConfig]):
    """A chat without a service behind it: what goes out is stored and told on the WebSocket."""

    service, answers, limit = "The chat", False, 1_000_000

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
        """Whether the header `X-Webhook-Secret` holds the secret of the channel."""
        secret = self.config.webhook_secret
        return bool(secret) and hmac.compare_digest(headers.get("x-webhook-secret", "").encode(), secret.encode())

    def read(self, data: dict[str, Any]) -> Reading:
        """Return the message: `{"id", "content", "sender": {"id", "name"}, "chatId", "timestamp"}`.

        Only `id` and `content` must be there, and not be blank. `timestamp` are milliseconds since 1970; a chat is one
        visitor's, if nothing else is said.
        """
        sender: dict[str, Any] = data.get("sender") or {}
        id_, content = _text(data, "id"), _text(data, "content")
        if not id_.strip() or not content.strip():
            raise ValueError("id and content must not be blank")
        sender_id = _text(sender, "id") or "visitor"
        return Reading(
            Incoming(
                key=f"message {id_}",
                at=moment_of(float(data.get("timestamp") or 0) / 1000),
                chat=_text(data, "chatId") or sender_id,
                external_id=id_,
                sender_id=sender_id,
                sender_name=_text(sender, "name") or sender_id,
                content=content,
            )
        )

    async def connect(self, webhook: str) -> dict[str, Any]:
        """There is nothing to connect to."""
        return {}

    async def send(self, to: Address, text: str, nonce: str, *, is_first: bool) -> str:
        """Return an id for the message, whose text is stored already."""
        return f"{nonce}-{int(datetime.now(UTC).timestamp() * 1000)}"


def _text(members: Mapping[str, Any], name: str) -> str:
    """Return a member, which may be a whole number too; empty when it is not there. ValueError for anything else."""
    given = members.get(name)
    if given is None:
        return ""
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise ValueError(f"{name} must be a text")
    return str(given)
