"""Which adapter a channel has, and its address for the service behind it."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from functions.ownpilot.channels.adapters import Adapter
from functions.ownpilot.channels.calls import ChannelFailed, understood
from functions.ownpilot.channels.configs import bot_of, config_of
from functions.ownpilot.channels.discord import Discord
from functions.ownpilot.channels.records import Channel, ChannelStatus, ChannelType, channels
from functions.ownpilot.channels.slack import Slack
from functions.ownpilot.channels.telegram import Telegram
from functions.ownpilot.channels.webchat import Webchat
from functions.ownpilot.core.audit_log import AuditOutcome, Subject, record_event
from functions.ownpilot.core.owner import DEFAULT, Person
from shared.http.errors import BadRequest
from shared.sealing import SealBroken
from shared.settings import settings

ADAPTERS: Mapping[ChannelType, type[Adapter[Any]]] = {
    "telegram": Telegram, "discord": Discord, "slack": Slack, "webchat": Webchat,
}  # fmt: skip

PATIENCE = 25.0
"""Seconds in which a channel must be connected or disconnected."""


def adapter_of(channel: Channel) -> Adapter[Any]:
    """Return the service behind a channel. `BadRequest` when its secrets cannot be read."""
    try:
        return ADAPTERS[channel.type](config_of(channel))
    except SealBroken as error:
        message = f"The secrets of the channel {channel.name} cannot be read: set them again"
        raise BadRequest(message, code="SECRETS_UNREADABLE") from error


def webhook_of(owner: str, channel_id: str) -> str:
    """Return the address to which the service behind a channel sends what comes in."""
    user = "" if owner == DEFAULT else f"?userId={quote(owner, safe='')}"
    return f"{settings().base_url}/ownpilot/api/v1/channels/{channel_id}/webhook{user}"


async def connect(owner: Person, channel: Channel) -> Channel:
    """Connect a channel, and store what came of it: `status`, and `error` if it is one. `BadRequest`."""
    adapter = adapter_of(channel)
    status: ChannelStatus = "connected"
    reason, bot = None, None
    try:
        async with asyncio.timeout(PATIENCE):
            with understood(adapter.service):
                bot = await adapter.connect(webhook_of(owner.id, channel.channel_id))
    except ChannelFailed as error:
        status, reason = "error", str(error)
    except TimeoutError:
        status, reason = "error", f"{adapter.service} does not answer"

    def note(stored: Channel) -> None:
        stored.status, stored.error, stored.bot_info = status, reason, bot or stored.bot_info

    channel = await channels.of(owner.id).update(channel.id, note)
    await record_event(
        owner.id, "channel.connect", Subject("channel", channel.channel_id, channel.name),
        outcome=AuditOutcome.FAILURE if reason else AuditOutcome.SUCCESS,
        details={"type": channel.type, "error": reason}, correlation_id=owner.request_id,
    )  # fmt: skip
    return channel


async def disconnect_replaced(owner: Person, before: Channel, after: Channel) -> None:
    """Disconnect the bot that a channel had before a change, if it has another one now; a failure is ignored."""
    with contextlib.suppress(SealBroken):
        if bot_of(before.secrets()) != bot_of(after.secrets()):
            await disconnect(owner, before)


async def disconnect(owner: Person, channel: Channel) -> bool:
    """Have the service behind a channel send nothing more; return whether it has agreed."""
    try:
        async with asyncio.timeout(PATIENCE):
            await adapter_of(channel).disconnect()
    except (ChannelFailed, TimeoutError, BadRequest):
        return False
    return True
