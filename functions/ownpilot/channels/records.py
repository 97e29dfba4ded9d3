"""Channels and their messages as they are kept."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import Field

from functions.ownpilot.core.entry import Entry, Moment
from shared import sealing, tables
from shared.http.errors import NotFound
from shared.sealing import Context
from shared.tables import Collection

MOST_CHANNELS = 100
"""Channels of one person."""

CONNECTING = timedelta(minutes=1)
"""How long a new channel may take to connect."""

ChannelType = Literal["telegram", "discord", "slack", "webchat"]
ChannelStatus = Literal["connecting", "connected", "error"]

_ORIGIN = datetime(2020, 1, 1, tzinfo=UTC)


class Channel(Entry):
    """A way to reach the assistant from outside. Its id in storage follows from `channel_id`, the one that people see.

    `config` is what its type needs to know, as clients send it, without the secrets; these are sealed as JSON. `error`
    says why it could not be connected.
    """

    channel_id: str
    type: ChannelType
    name: str
    config: dict[str, Any] = {}
    sealed: str | None = None
    status: ChannelStatus = "connecting"
    error: str | None = None
    bot_info: dict[str, Any] | None = None

    @property
    def state(self) -> tuple[ChannelStatus, str | None]:
        """Its status now, and its error: what is still being connected after a minute was interrupted."""
        if self.status == "connecting" and self.created_at + CONNECTING < datetime.now(UTC):
            return "error", "Connecting was interrupted: test the channel"
        return self.status, self.error

    @staticmethod
    def id_of(channel_id: str) -> str:
        """Return the id of the record of a channel."""
        return Channel.derived_id(_ORIGIN, channel_id)

    def secrets(self) -> dict[str, Any]:
        """Return the secret members of its configuration. `SealBroken`."""
        return json.loads(sealing.unseal(self.sealed, self._context)) if self.sealed else {}

    def seal(self, secrets: dict[str, Any]) -> None:
        """Keep the secret members of its configuration."""
        self.sealed = sealing.seal(json.dumps(secrets), self._context) if secrets else None

    @property
    def _context(self) -> Context:
        return Context(channels.table, self.id, "sealed")


class InboxMessage(Entry):
    """A message that came in or went out; `timestamp` is when it was sent, `created_at` when it was stored.

    `message_key` is what the service calls what it has brought, within the channel: a repeat changes nothing. `chat` is
    where the conversation is held, in the service's words, and `external_id` the message there to which an answer
    refers. `key` is a credential of the service with which this one message can be answered, sealed. `read` and
    `replied` are true of what went out.

    What goes out is stored before it is sent: `sent` are the ids that the service has given to its parts so far, and
    `attempts` how often sending was begun. When there was more than one, a part may have arrived twice.
    """

    channel_id: str
    channel_type: ChannelType
    direction: Literal["incoming", "outgoing"] = "incoming"
    message_key: str | None = None
    timestamp: Moment = Field(default_factory=lambda: datetime.now(UTC))
    chat: str
    external_id: str = ""
    sender_id: str
    sender_name: str
    content: str
    attachments: list[dict[str, Any]] = []
    read: bool = False
    replied: bool = False
    is_allowed: bool = False
    reply_to: str | None = None
    status: Literal["received", "sending", "sent", "failed"] = "received"
    sent: list[str] = []
    attempts: int = 0
    error: str | None = None
    key: str | None = None

    def answer_key(self) -> str:
        """Return the credential with which the message can be answered, empty when there is none. `SealBroken`."""
        return sealing.unseal(self.key, self._context) if self.key else ""

    def seal_key(self, key: str) -> None:
        """Keep the credential with which the message can be answered."""
        self.key = sealing.seal(key, self._context) if key else None

    @property
    def _context(self) -> Context:
        return Context(inbox.table, self.id, "key")


channels = Collection("OwnpilotChannels", Channel, plain=True)
inbox = Collection(
    "OwnpilotInbox",
    InboxMessage,
    unique=["message_key"],
    indexes=["channel_type", "read", "replied", ("channel_type", "read"), ("channel_type", "replied")],
    counters=["channel_type", "read", "replied", ("channel_type", "read"), ("channel_type", "replied")],
    view=[name for name in InboxMessage.model_fields if name not in ("id", "key", "message_key")],
)
sealing.declare(channels, "sealed")
sealing.declare(inbox, "key")


async def channel_of(owner: str, channel_id: str) -> Channel:
    """Return a channel. `NotFound`. 1 point read."""
    try:
        return await channels.of(owner).get(Channel.id_of(channel_id))
    except tables.RecordNotFound:
        raise NotFound(f"There is no channel {channel_id[:100]}") from None


async def message_of(owner: str, message_id: str) -> InboxMessage:
    """Return a message. `NotFound`. 1 point read."""
    try:
        return await inbox.of(owner).get(message_id)
    except tables.RecordNotFound:
        raise NotFound(f"There is no message {message_id[:100]}") from None
