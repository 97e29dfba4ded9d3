"""The address at which the services behind channels bring messages. They have no key of ours: they sign instead."""

from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from fastapi import Depends, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from functions.ownpilot.channels.adapters import Adapter, Incoming, Reading
from functions.ownpilot.channels.records import Channel, InboxMessage, channel_of, inbox
from functions.ownpilot.channels.services import adapter_of
from functions.ownpilot.core.owner import DEFAULT, Person, UserId, routes_for
from shared import tables
from shared.deferred import defer
from shared.http.errors import BadRequest, Unauthorized
from shared.http.json import plain
from shared.http.routes import options

routes = routes_for("channels")

MAX_BODY = 1024 * 1024
"""Bytes of a request."""

LONGEST_NAME = 200
"""Characters of a sender's name that are kept, and of an id."""

LONGEST = 20_000
"""Characters of a message that are kept: as many as one that is sent may have."""

CUT = "... (the message is longer)"


async def _named(user_id: UserId = None) -> Person:
    """Return whose channel it is: the address says so, and only the service knows the secret of the channel."""
    return Person(user_id or DEFAULT)


@routes.post("/{channel_id}/webhook", response_model=dict[str, Any], responses={200: {"content": {"text/plain": {}}}})
@options(max_body=MAX_BODY, counted=False)
async def receive_message(channel_id: str, owner: Annotated[Person, Depends(_named)], request: Request) -> Any:
    """Take what the service behind a channel sends. It asks for no key, but for the service's own proof.

    Telegram: the header `X-Telegram-Bot-Api-Secret-Token`; Slack and Discord: their signatures; a web chat: the secret
    in `X-Webhook-Secret`. Anything else is 401. The message is stored once, however often it comes, and answered later.
    Slack's challenge and Discord's commands get the bare answers that these services want.
    """
    channel = await channel_of(owner.id, channel_id)
    adapter, body = adapter_of(channel), await request.body()
    if not adapter.verify(request.headers, body, datetime.now(UTC)):
        raise Unauthorized("This request has no valid proof that the service of this channel has sent it")
    reading = _read(adapter, body)
    answer: dict[str, Any] = {"received": True}
    if reading.message:
        answer["messageId"] = await _keep(owner.id, channel, reading.message)
    return answer if reading.raw is None else _bare(reading.raw)


def _read(adapter: Adapter[Any], body: bytes) -> Reading:
    try:
        return adapter.read(plain(orjson.loads(body)))
    except orjson.JSONDecodeError:
        raise BadRequest("The body is not valid JSON") from None
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise BadRequest(f"This is not what {adapter.service} sends: {error}") from error


async def _keep(owner: str, channel: Channel, incoming: Incoming) -> str:
    """Store a message, unless it is stored, and have it answered; return its id. 2 calls, 4 for a repeat.

    `BadRequest` for ids that are too long.

    A repeat may come because the first request was cut off between the two, so it asks for the answer too.
    """
    if max(map(len, (incoming.key, incoming.chat, incoming.external_id, incoming.sender_id))) > LONGEST_NAME:
        raise BadRequest(f"An id must not be longer than {LONGEST_NAME} characters")
    message = InboxMessage(
        user_id=owner, channel_id=channel.channel_id, channel_type=channel.type,
        message_key=f"{channel.id} {incoming.key}", timestamp=incoming.at, chat=incoming.chat,
        external_id=incoming.external_id, sender_id=incoming.sender_id,
        sender_name=incoming.sender_name[:LONGEST_NAME],
        content=incoming.content if len(incoming.content) <= LONGEST else incoming.content[:LONGEST] + CUT,
        attachments=[{name: _short(value) for name, value in each.items()} for each in incoming.attachments],
        is_allowed=incoming.is_allowed,
    )  # fmt: skip
    message.seal_key(incoming.answer_key)
    try:
        message = await inbox.of(owner).insert(message)
    except tables.RecordConflict:
        message = await inbox.of(owner).find("message_key", message.message_key)
    await defer("ownpilot.ownpilot_channel_message", {"owner": owner, "message": message.id}, item_id=message.id)
    return message.id


def _short(value: Any) -> Any:
    return value if value is None or isinstance(value, int) else str(value)[:LONGEST_NAME]


def _bare(raw: Any) -> Response:
    return PlainTextResponse(raw) if isinstance(raw, str) else JSONResponse(raw)
