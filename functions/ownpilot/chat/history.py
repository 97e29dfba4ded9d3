"""Conversations as clients read them: two views of the same record, and what is done with it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from functions.ownpilot.chat.conversations import (
    ChatMessage,
    Conversation,
    conversation_of,
    conversations,
    delete_conversation,
    turns,
)
from functions.ownpilot.core.entry import Given, Moment, Shown
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.bodies import example
from shared.http.paging import MAX_LIMIT, Paging, given, paging
from shared.http.shapes import Deleted

routes = routes_for("chat")

WITHOUT_AGENT = "Chat"


class ConversationShown(Shown):
    """A conversation without its messages."""

    id: str
    title: str
    agent_id: str | None
    agent_name: str
    provider: str
    model: str
    message_count: int
    is_archived: bool
    created_at: Moment
    updated_at: Moment


class Conversations(Shown):
    """Part of the conversations; `total` is the number of all that match."""

    conversations: list[ConversationShown]
    total: int
    limit: int
    offset: int


class MessageShown(Shown):
    """One message of the history."""

    id: str
    role: str
    content: str
    provider: str | None
    model: str | None
    tool_calls: list[dict[str, Any]] | None
    trace: dict[str, Any] | None
    is_error: bool
    created_at: Moment


class ConversationWithMessages(Shown):
    """A conversation with messages, in their order; `conversation.messageCount` is the number of all of them."""

    conversation: ConversationShown
    messages: list[MessageShown]


class ContextMessage(Shown):
    """One message with the calls of tools and their results."""

    role: str
    content: str
    tool_calls: list[dict[str, Any]] | None
    tool_results: list[dict[str, Any]] | None


class ConversationContext(Shown):
    """A conversation as the assistant sees it."""

    id: str
    system_prompt: str
    messages: list[ContextMessage]
    created_at: Moment
    updated_at: Moment


class Archive(Given):
    """Whether a conversation is archived."""

    model_config = example(archived=True)

    archived: Annotated[bool, Field(strict=True)]


class Archived(Shown):
    """Whether a conversation is archived now."""

    archived: bool


def shown(conversation: Conversation) -> ConversationShown:
    """Return a conversation as clients see it."""
    return ConversationShown.model_validate(
        {**dict(conversation), "agent_name": conversation.agent_name or WITHOUT_AGENT}
    )


@routes.get("/history")
async def list_conversations(
    owner: Owner,
    paging: Annotated[Paging, paging(50)],
    search: Annotated[str | None, Query(description="Text to find in titles")] = None,
    agent_id: Annotated[str | None, Query(alias="agentId")] = None,
    archived: bool = False,
) -> Conversations:
    """The conversations, the last one that was talked in first.

    A page costs the same however many there are; a search reads all of them, 250 a query.
    """
    own, where = conversations.of(owner.id), given(is_archived=archived, agent_id=agent_id or None)
    if search:
        found = [each async for each in _with(search, own.all(where, order="updated_at"))]
        items, total = found[paging.offset : paging.offset + paging.limit], len(found)
    else:
        page = await own.page(where, limit=paging.limit, offset=paging.offset, order="updated_at", cursor=paging.cursor)
        paging.link(page)
        items, total = page.items, page.total
    return Conversations(conversations=[*map(shown, items)], total=total, limit=paging.limit, offset=paging.offset)


async def _with(text: str, all_: AsyncIterator[Conversation]) -> AsyncIterator[Conversation]:
    async for each in all_:
        if text.casefold() in each.title.casefold():
            yield each


@routes.get("/history/{conversation_id}")
async def get_history(
    conversation_id: str, owner: Owner, paging: Annotated[Paging, paging(MAX_LIMIT)]
) -> ConversationWithMessages:
    """A conversation with its newest messages; `offset` leaves out that many of the newest."""
    conversation = await conversation_of(owner.id, conversation_id)
    return ConversationWithMessages(
        conversation=shown(conversation),
        messages=[MessageShown.model_validate(each) for each in await _messages(conversation, paging)],
    )


async def _messages(conversation: Conversation, paging: Paging) -> list[ChatMessage]:
    """Return messages in their order: as many as the limit, before the newest `offset` of them.

    Reads so many turns, each of which has a message, from the newest on, 1,000 a query.
    """
    now, found, most = datetime.now(UTC), list[ChatMessage](), paging.offset + paging.limit
    async for turn in turns.of(conversation.id).scan(most=most):
        found += reversed(turn.shown(now))
        if len(found) >= most:
            break
    return found[paging.offset : most][::-1]


@routes.delete("/history/{conversation_id}")
async def delete_history(conversation_id: str, owner: Owner) -> Deleted:
    """Delete a conversation with its messages."""
    await delete_conversation(owner.id, conversation_id)
    return Deleted()


@routes.patch("/history/{conversation_id}/archive")
async def archive_conversation(conversation_id: str, body: Archive, owner: Owner) -> Archived:
    """Archive a conversation, or take it out of the archive."""
    await conversation_of(owner.id, conversation_id)
    await conversations.of(owner.id).update(
        conversation_id, lambda it: setattr(it, "is_archived", body.archived), touch=False
    )
    return Archived(archived=body.archived)


AgentId = Annotated[str | None, Query(alias="agentId", description="Accepted, and not needed: an id names one only")]


@routes.get("/conversations/{conversation_id}")
async def get_conversation(
    conversation_id: str, owner: Owner, paging: Annotated[Paging, paging(MAX_LIMIT)], agent_id: AgentId = None
) -> ConversationContext:
    """A conversation as the assistant sees it, with its newest messages."""
    conversation = await conversation_of(owner.id, conversation_id)
    messages = [ContextMessage.model_validate(each) for each in await _messages(conversation, paging)]
    return ConversationContext.model_validate({**dict(conversation), "messages": messages})


@routes.delete("/conversations/{conversation_id}")
async def delete_conversation_context(conversation_id: str, owner: Owner, agent_id: AgentId = None) -> Deleted:
    """Delete a conversation with its messages."""
    await delete_conversation(owner.id, conversation_id)
    return Deleted()
