"""The inbox: what came in through all channels and what went out, read and answered by hand."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import StringConstraints

from functions.ownpilot.channels.calls import ChannelFailed
from functions.ownpilot.channels.delivery import address_of, deliver, mark_replied, outgoing, shown
from functions.ownpilot.channels.records import ChannelType, channel_of, inbox, message_of
from functions.ownpilot.core.entry import Given
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.bodies import example
from shared.http.errors import BadGateway, BadRequest
from shared.http.paging import Paging, given, paging
from shared.http.routes import options
from shared.http.shapes import EMPTY_IS_ABSENT

routes = routes_for("channels")

Content = Annotated[str, StringConstraints(min_length=1, max_length=20_000, pattern=r"\S")]
_FILTERS: dict[str, dict[str, object]] = {"all": {}, "unread": {"read": False}, "unanswered": {"replied": False}}


class InboxReply(Given):
    """An answer, in Markdown."""

    model_config = example(content="Good morning")

    content: Content


@routes.get("/messages/inbox")
async def list_messages(
    owner: Owner,
    paging: Annotated[Paging, paging(50)],
    filter: Literal["all", "unread", "unanswered", ""] = "all",
    channel_type: Annotated[ChannelType | None, EMPTY_IS_ABSENT, Query(alias="channelType")] = None,
) -> dict[str, Any]:
    """The messages of all channels, what came last first. `total` counts those of the filter, `unreadCount` all unread.

    What went out is there too, as `outgoing`: it counts as read and answered.
    """
    own, where = inbox.of(owner.id), {**_FILTERS[filter or "all"], **given(channel_type=channel_type)}
    page, unread = await asyncio.gather(paging.page(own, where), own.count({"read": False}))
    return {"messages": [shown(each) for each in page.items], "total": page.total, "unreadCount": unread}


@routes.post("/messages/{message_id}/read")
async def read_message(message_id: str, owner: Owner) -> dict[str, Any]:
    """Note that a message was read."""
    await inbox.of(owner.id).update(message_id, lambda stored: setattr(stored, "read", True))
    return {"messageId": message_id, "read": True}


@routes.post("/messages/{message_id}/reply")
@options(idempotent=True)
async def reply_to_message(message_id: str, body: InboxReply, owner: Owner) -> dict[str, Any]:
    """Answer a message through its channel. 502 SEND_FAILED says why its service has not taken the answer."""
    message = await message_of(owner.id, message_id)
    if message.direction == "outgoing":
        raise BadRequest("This message went out from here: answer one that came in")
    channel = await channel_of(owner.id, message.channel_id)
    answer = await inbox.of(owner.id).insert(outgoing(owner.id, channel, message.chat, body.content, message.id))
    try:
        answer = await deliver(owner.id, channel, answer, address_of(message))
    except ChannelFailed as error:
        raise BadGateway(str(error), code="SEND_FAILED", details={"messageId": answer.id}) from error
    await mark_replied(owner.id, message.id, is_read=True)
    return {
        "messageId": message.id, "channelId": channel.channel_id, "sentMessageId": answer.sent[0], "replied": True,
    }  # fmt: skip
