"""What follows from a message that came in: an event on the sockets, and the assistant's answer to allowed senders."""

import asyncio
from datetime import timedelta
from typing import Any

from functions.ownpilot.channels.calls import ChannelFailed
from functions.ownpilot.channels.delivery import address_of, deliver, fail, mark_replied, outgoing, shown
from functions.ownpilot.channels.records import Channel, InboxMessage, channel_of, inbox
from functions.ownpilot.channels.services import ADAPTERS
from functions.ownpilot.chat.conversations import Conversation, conversations
from functions.ownpilot.chat.question import Origin, Question
from functions.ownpilot.chat.turn import take_turn
from functions.ownpilot.core.audit_log import Subject, record_event
from functions.ownpilot.core.catalogue.resolve import resolve
from functions.ownpilot.core.happenings import happened
from functions.ownpilot.core.live import publish
from functions.ownpilot.core.owner import Person
from shared import tables
from shared.http.errors import ApiError, NotFound

CHANNEL_MESSAGE = "channel_message"
"""The event for which triggers may wait."""

APOLOGY = "Sorry, I cannot answer at the moment."
"""What a sender is told when the assistant has no answer. The message in the inbox holds the reason."""


async def ownpilot_channel_message(value: dict[str, Any]) -> None:
    """Deferred: tell of a message, and answer it. A repeat finds the stored answer, and sends what is missing of it.

    The model is asked at least once: again, when the host dies before the answer is stored.
    """
    owner = value["owner"]
    try:
        message = await inbox.of(owner).get(value["message"])
    except tables.RecordNotFound:
        return
    at = message.created_at + timedelta(milliseconds=1)  # in lists, the answer comes right after the question
    answer_id = InboxMessage.derived_id(at, f"{message.id} answer")
    try:
        answer = await inbox.of(owner).get(answer_id)
    except tables.RecordNotFound:
        answer = None
        await _tell(owner, message)
    try:
        channel = await channel_of(owner, message.channel_id)
    except NotFound:  # deleted meanwhile
        return
    if answer is None:
        if not message.is_allowed or message.replied or not ADAPTERS[channel.type].answers:
            return
        text = await _ask(owner, channel, message)
        new = outgoing(owner, channel, message.chat, text, message.id)
        answer = await inbox.of(owner).insert(new.model_copy(update={"id": answer_id, "created_at": at}))
    if answer.status != "sent":
        try:
            await deliver(owner, channel, answer, address_of(message))
        except (ChannelFailed, ApiError) as error:
            if isinstance(error, ChannelFailed) and not error.is_final:
                raise
            await fail(owner, answer, str(error))
            return
    await mark_replied(owner, message.id, is_read=False)


async def _tell(owner: str, message: InboxMessage) -> None:
    """Tell sockets, the audit log and triggers of a message."""
    sender = Subject("sender", message.sender_id, message.sender_name)
    event = {
        "channelId": message.channel_id, "channelType": message.channel_type, "messageId": message.id,
        "senderId": message.sender_id, "senderName": message.sender_name, "message": message.content,
        "isAllowed": message.is_allowed,
    }  # fmt: skip
    await asyncio.gather(
        publish(owner, "channel:message", shown(message)),
        record_event(
            owner, "channel.message_receive", Subject("channel", message.channel_id), actor=sender,
            details={"messageId": message.id, "length": len(message.content), "isAllowed": message.is_allowed},
        ),
        happened(owner, CHANNEL_MESSAGE, event, message.id),
    )  # fmt: skip


async def _ask(owner: str, channel: Channel, message: InboxMessage) -> str:
    """Return what the assistant says; if it has no answer, the message gets the reason."""
    files = ", ".join(str(each.get("type")) for each in message.attachments)
    said = "\n".join(filter(None, (message.content, files and f"(The message comes with files: {files}.)")))
    try:
        conversation = await _conversation(owner, channel, message)
        question = Question(
            said, conversation_id=conversation, source="channel",
            origin=Origin(f"/api/v1/channels/{channel.channel_id}/webhook"),
        )  # fmt: skip
        return (await take_turn(Person(owner), question)).text
    except ApiError as error:
        reason = error.message
    await inbox.of(owner).update(message.id, lambda stored: setattr(stored, "error", reason))
    return APOLOGY


async def _conversation(owner: str, channel: Channel, message: InboxMessage) -> str:
    """Return the id of the conversation of a chat, which is made at its first message: chats never mix."""
    id_ = Conversation.derived_id(channel.created_at, f"{channel.id} {message.chat}")
    try:
        return (await conversations.of(owner).get(id_)).id
    except tables.RecordNotFound:
        target = await resolve(owner)
    new = Conversation(
        id=id_, created_at=channel.created_at, user_id=owner, provider=target.provider, model=target.model["modelId"]
    )
    return (await conversations.of(owner).insert(new)).id
