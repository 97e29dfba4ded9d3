"""Sending: what goes out is stored first, then sent in parts that fit, each of which is noted."""

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.ownpilot.channels.adapters import Address
from functions.ownpilot.channels.calls import ChannelFailed, understood
from functions.ownpilot.channels.records import Channel, InboxMessage, inbox
from functions.ownpilot.channels.services import adapter_of
from functions.ownpilot.channels.splitting import parts
from functions.ownpilot.core.audit_log import Subject, record_event
from functions.ownpilot.core.entry import iso
from functions.ownpilot.core.live import publish
from shared.sealing import SealBroken

PATIENCE = 120.0
"""Seconds after which no further part of a message is begun."""

GIVEN_UP = timedelta(minutes=5)
"""How long after its last part, or its beginning, nothing sends a message any more, unless its host was killed."""

ASSISTANT = "assistant"
"""The sender of what goes out."""


def shown(message: InboxMessage) -> dict[str, Any]:
    """Return a message as clients see it. One that is still being sent long after its last part has failed."""
    status, error = message.status, message.error
    if status == "sending" and message.updated_at + GIVEN_UP < datetime.now(UTC):
        status, error = "failed", "Sending was interrupted: it may have arrived all the same"
    return {
        "id": message.id, "channelId": message.channel_id, "channelType": message.channel_type,
        "direction": message.direction, "sender": {"id": message.sender_id, "name": message.sender_name},
        "chatId": message.chat, "content": message.content, "attachments": message.attachments,
        "timestamp": iso(message.timestamp), "read": message.read, "replied": message.replied,
        "isAllowed": message.is_allowed, "replyToId": message.reply_to, "status": status,
        "attempts": message.attempts, "error": error,
    }  # fmt: skip


def outgoing(owner: str, channel: Channel, chat: str, content: str, answer_to: str | None = None) -> InboxMessage:
    """Return a message that is to be sent; `answer_to` is the id of the one that it answers."""
    return InboxMessage(
        user_id=owner, channel_id=channel.channel_id, channel_type=channel.type, direction="outgoing", chat=chat,
        sender_id=ASSISTANT, sender_name="Assistant", content=content, read=True, replied=True, is_allowed=True,
        reply_to=answer_to, status="sending",
    )  # fmt: skip


def address_of(message: InboxMessage) -> Address:
    """Return where the answer to a message goes."""
    key = ""
    with contextlib.suppress(SealBroken):  # the service accepts it for some minutes only: there is a way without it
        key = message.answer_key()
    return Address(message.chat, message.external_id, key)


async def deliver(owner: str, channel: Channel, message: InboxMessage, to: Address) -> InboxMessage:
    """Send the parts of a stored message that were not sent so far, and tell of it. `ChannelFailed`, `BadRequest`.

    The next call sends those that were not sent in time, or that were refused. After a kill, or an answer of the
    service that was lost, it may send a part a second time.
    """
    own, adapter = inbox.of(owner), adapter_of(channel)
    pieces = parts(message.content, adapter.limit)

    def begin(stored: InboxMessage) -> None:
        stored.status, stored.error, stored.attempts = "sending", None, stored.attempts + 1

    message, end = await own.update(message, begin), time.monotonic() + PATIENCE
    nonce = message.id.replace("-", "")[-20:]  # with the number, what Discord accepts: 25 characters
    while (number := len(message.sent)) < len(pieces):
        try:
            if time.monotonic() > end:
                raise ChannelFailed(f"{adapter.service} takes too long: it has {number} of {len(pieces)} parts")
            with understood(adapter.service):
                sent = await adapter.send(to, pieces[number], f"{nonce}-{number}", is_first=number == 0)
        except ChannelFailed as error:
            await fail(owner, message, str(error))
            raise

        def note(stored: InboxMessage, sent: str = sent) -> None:
            stored.sent = [*stored.sent, sent]
            if len(stored.sent) == len(pieces):
                stored.status = "sent"

        message = await own.update(message, note)
    await asyncio.gather(
        publish(owner, "channel:message", shown(message)),
        record_event(
            owner, "channel.message_send", Subject("channel", channel.channel_id, channel.name),
            actor=Subject("agent", ASSISTANT) if message.reply_to else None,
            details={"messageId": message.id, "length": len(message.content), "parts": len(pieces)},
        ),
    )  # fmt: skip
    return message


async def fail(owner: str, message: InboxMessage, reason: str) -> None:
    """Note why a message could not be sent."""

    def note(stored: InboxMessage) -> None:
        stored.status, stored.error = "failed", reason

    await inbox.of(owner).update(message.id, note)


async def mark_replied(owner: str, message_id: str, *, is_read: bool) -> InboxMessage:
    """Note that a message was answered and, if a person did that, read."""

    def note(stored: InboxMessage) -> None:
        stored.replied, stored.read = True, stored.read or is_read

    return await inbox.of(owner).update(message_id, note)
