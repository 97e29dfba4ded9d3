"""Channels: Telegram, Slack, Discord and web chats, through which people reach the assistant."""

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from functions.ownpilot.channels.adapters import Address
from functions.ownpilot.channels.calls import ChannelFailed
from functions.ownpilot.channels.configs import CONFIGS, check_type, configure
from functions.ownpilot.channels.delivery import deliver, outgoing
from functions.ownpilot.channels.messages import Content
from functions.ownpilot.channels.records import MOST_CHANNELS, Channel, ChannelType, channel_of, channels, inbox
from functions.ownpilot.channels.services import adapter_of, connect, disconnect, disconnect_replaced, webhook_of
from functions.ownpilot.core.audit_log import Subject, record_event
from functions.ownpilot.core.entry import Given, Moment, NotBlank, Shown
from functions.ownpilot.core.owner import Owner, Person, routes_for
from shared import tables
from shared.http.bodies import example
from shared.http.errors import ApiError, BadGateway, BadRequest, Conflict
from shared.http.paging import MAX_LIMIT, Paging, paging
from shared.http.routes import options

routes = routes_for("channels")


class NewChannel(Given):
    """A channel; without an id it gets one. What `config` may hold depends on the type."""

    model_config = example(type="webchat", name="Web site", config={})

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$")] | None = None
    type: Annotated[str, StringConstraints(max_length=100)]
    name: NotBlank
    config: dict[str, Any]


class ChannelPatch(Given):
    """The members that change; of `config` those that are given, and null removes one."""

    model_config = example(name="The bot")

    name: NotBlank = ""
    config: dict[str, Any] = {}


class NewMessage(Given):
    """A message in Markdown; `chatId` may be absent where the channel allows one chat or person only."""

    model_config = example(content="Good morning", chatId="42")

    content: Content
    chat_id: Annotated[str, StringConstraints(max_length=200)] = ""
    reply_to_id: Annotated[str, StringConstraints(max_length=200)] = ""
    attachments: Annotated[list[Any], Field(max_length=0)] = []


class ChannelShown(Shown):
    """A channel without its secrets; `webhookUrl` is where its service sends messages, `error` why it is not connected.

    A Telegram bot is told the address, in Slack and Discord it is set on the pages of the app.
    """

    id: str
    type: ChannelType
    name: str
    status: str
    error: str | None
    bot_info: dict[str, Any] | None
    config: dict[str, Any]
    webhook_url: str
    created_at: Moment
    updated_at: Moment


class ChannelList(Shown):
    """The channels, how many there are by status and type, and which types there can be."""

    channels: list[ChannelShown]
    summary: dict[str, Any]
    available_types: list[str]


def _shown(owner: Person, channel: Channel) -> ChannelShown:
    status, error = channel.state
    return ChannelShown.model_validate({
        **dict(channel), "id": channel.channel_id, "webhook_url": webhook_of(owner.id, channel.channel_id),
        "status": status, "error": error,
    })  # fmt: skip


async def _connected(owner: Person, channel: Channel) -> ChannelShown:
    """Connect a channel that is stored. 500 CONNECTION_FAILED when that fails: it stays, and says why."""
    channel = await connect(owner, channel)
    if channel.status == "error":
        details = {"id": channel.channel_id, "status": channel.status}
        raise ApiError(f"Not connected. {channel.error}", code="CONNECTION_FAILED", details=details)
    return _shown(owner, channel)


@routes.get("")
async def list_channels(owner: Owner, paging: Annotated[Paging, paging(MAX_LIMIT)]) -> ChannelList:
    """The channels, the newest first."""
    found = sorted([each async for each in channels.of(owner.id).all()], key=lambda it: it.created_at, reverse=True)
    status, type_ = Counter(each.state[0] for each in found), Counter(each.type for each in found)
    return ChannelList(
        channels=[_shown(owner, each) for each in found[paging.offset : paging.offset + paging.limit]],
        summary={
            "total": len(found), "connected": status["connected"], "disconnected": len(found) - status["connected"],
            "byStatus": status, "byType": type_,
        },
        available_types=[*CONFIGS],
    )  # fmt: skip


@routes.post("", status_code=201)
async def create_channel(body: NewChannel, owner: Owner) -> ChannelShown:
    """Add a channel and connect it. One that cannot be connected stays, as `error`, and can be changed and tested."""
    own, type_ = channels.of(owner.id), check_type(body.type)
    if await own.count() >= MOST_CHANNELS:
        raise BadRequest(f"There are {MOST_CHANNELS} channels already: delete some first", code="LIMIT_REACHED")
    id_ = body.id or f"{type_}-{time.time_ns() // 1000}"
    channel = Channel(
        id=Channel.id_of(id_), created_at=datetime.now(UTC), user_id=owner.id, channel_id=id_, type=type_,
        name=body.name,
    )  # fmt: skip
    configure(channel, body.config)
    try:
        channel = await own.insert(channel)
    except tables.RecordConflict:
        raise Conflict(f"There is a channel {id_} already", code="CHANNEL_EXISTS") from None
    return await _connected(owner, channel)


@routes.get("/{channel_id}")
async def get_channel(channel_id: str, owner: Owner) -> ChannelShown:
    """One channel."""
    return _shown(owner, await channel_of(owner.id, channel_id))


@routes.patch("/{channel_id}")
async def update_channel(channel_id: str, body: ChannelPatch, owner: Owner) -> ChannelShown:
    """Change a channel; with another configuration it is connected anew."""
    before = await channel_of(owner.id, channel_id)

    def change(stored: Channel) -> None:
        if "name" in body.model_fields_set:
            stored.name = body.name
        if "config" in body.model_fields_set:
            configure(stored, body.config)

    channel = await channels.of(owner.id).update(before, change)
    if "config" in body.model_fields_set:
        await disconnect_replaced(owner, before, channel)
        return await _connected(owner, channel)
    return _shown(owner, channel)


@routes.delete("/{channel_id}")
async def delete_channel(channel_id: str, owner: Owner) -> dict[str, Any]:
    """Delete a channel, also if its service cannot be told (`disconnected`: false). Its messages stay in the inbox."""
    channel = await channel_of(owner.id, channel_id)
    agreed = await disconnect(owner, channel)
    await channels.of(owner.id).delete(channel.id)
    await record_event(
        owner.id, "channel.disconnect", Subject("channel", channel_id, channel.name),
        details={"type": channel.type, "disconnected": agreed}, correlation_id=owner.request_id,
    )  # fmt: skip
    return {"id": channel_id, "disconnected": agreed, "deleted": True}


@routes.post("/{channel_id}/test")
async def test_channel(channel_id: str, owner: Owner) -> dict[str, Any]:
    """Connect a channel again; `success` says whether that was possible, `latencyMs` how long it took."""
    channel, started = await channel_of(owner.id, channel_id), time.monotonic()
    channel = await connect(owner, channel)
    taken = round((time.monotonic() - started) * 1000)
    return {
        "id": channel_id, "success": channel.error is None, "message": channel.error or "Connected",
        "latencyMs": taken,
    }  # fmt: skip


@routes.post("/{channel_id}/send")
@options(idempotent=True)
async def send_message(channel_id: str, body: NewMessage, owner: Owner) -> dict[str, Any]:
    """Send a message through a channel. 502 SEND_FAILED says why its service has not taken it."""
    channel = await channel_of(owner.id, channel_id)
    chat = body.chat_id or adapter_of(channel).default_chat()
    if not chat:
        raise BadRequest("chatId: must say where the message goes", code="INVALID_REQUEST")
    message = await inbox.of(owner.id).insert(outgoing(owner.id, channel, chat, body.content))
    try:
        message = await deliver(owner.id, channel, message, Address(chat, body.reply_to_id))
    except ChannelFailed as error:
        raise BadGateway(str(error), code="SEND_FAILED", details={"messageId": message.id}) from error
    return {"messageId": message.sent[0], "channelId": channel_id, "sent": True}
