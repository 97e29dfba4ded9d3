"""Conversations as they are kept: one record each, one record for each turn, and which one is the current one."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, Field

from functions.ownpilot.core.entry import CAMEL, Entry, Moment
from shared import tables
from shared.http.errors import NotFound
from shared.tables import Collection
from shared.tables.ids import new_id

TITLE = 50
"""Characters of a first message that become the title."""

MESSAGES_OF_TURN = 2
"""What a turn adds to a conversation: the message of the user, and an answer or an error."""

LEASE = timedelta(minutes=2)
"""For how long a turn counts as running, unless it renews this; after that it was interrupted."""

INTERRUPTED = "The answer was interrupted and did not arrive."

_ORIGIN = datetime(2020, 1, 1, tzinfo=UTC)


class ChatMessage(BaseModel):
    """One message as the history shows it. An answer has the calls of tools and their results with it."""

    model_config = CAMEL

    id: str = Field(default_factory=new_id)
    role: Literal["user", "assistant"]
    content: str
    provider: str | None = None
    model: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_results: list[dict[str, Any]] | None = None
    trace: dict[str, Any] | None = None
    is_error: bool = False
    created_at: Moment = Field(default_factory=lambda: datetime.now(UTC))


class TurnStatus(StrEnum):
    """How a turn has ended, if it has: `stopped` by the user, who left. A `seed` is what was said before the first."""

    SEED = "seed"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


class ChatTurn(Entry):
    """A message of the user and what followed from it, in one record: turns side by side never mix their messages.

    `exchange` are the messages between the question and the answer as the model saw them: its calls of tools and their
    results. A turn that runs is known to be alive `until` then.
    """

    status: TurnStatus = TurnStatus.RUNNING
    messages: list[ChatMessage] = []
    exchange: list[dict[str, Any]] = []
    until: Moment = Field(default_factory=lambda: datetime.now(UTC) + LEASE)

    def is_running(self, now: datetime) -> bool:
        """Whether it is going on. One that has not ended, and whose host has died, was interrupted."""
        return self.status is TurnStatus.RUNNING and now < self.until

    def shown(self, now: datetime) -> list[ChatMessage]:
        """Return its messages; those of an interrupted turn end with an error."""
        if self.status is not TurnStatus.RUNNING or self.is_running(now):
            return self.messages
        error = ChatMessage(
            id=ChatTurn.derived_id(self.created_at, self.id), role="assistant", content=INTERRUPTED, is_error=True,
            created_at=self.created_at,
        )  # fmt: skip
        return [*self.messages, error]


class Conversation(Entry):
    """A conversation; `message_count` counts both messages of each turn from its start on."""

    title: str = ""
    agent_id: str | None = None
    agent_name: str | None = None
    provider: str
    model: str
    message_count: int = 0
    is_archived: bool = False
    system_prompt: str = ""

    def add(self, question: str, messages: int) -> None:
        """Count messages; the first question becomes the title."""
        self.title = self.title or title_of(question)
        self.message_count += messages


class Pointer(Entry):
    """Which conversation is the current one with a provider, a model and an agent; its id follows from these."""

    provider: str
    model: str
    agent_id: str | None = None
    conversation_id: str


conversations = Collection(
    "OwnpilotConversations",
    Conversation,
    counters=["is_archived", ("is_archived", "agent_id")],
    sums=["message_count"],
    orders=[("is_archived", "updated_at"), ("is_archived", "agent_id", "updated_at")],
    view=[name for name in Conversation.model_fields if name not in ("id", "system_prompt")],
)
turns = Collection("OwnpilotTurns", ChatTurn, plain=True)
"""The partition of a turn is its conversation."""

pointers = Collection("OwnpilotPointers", Pointer, plain=True)


class Partner(NamedTuple):
    """Whom a person talks with."""

    provider: str
    model: str
    agent_id: str | None = None

    @property
    def pointer_id(self) -> str:
        """The id of the pointer to the current conversation."""
        return Pointer.derived_id(_ORIGIN, json.dumps(self))


def title_of(message: str) -> str:
    """Return the title that a first message gives its conversation."""
    text = " ".join(message.split())
    return text if len(text) <= TITLE else f"{text[:TITLE]}..."


async def conversation_of(owner: str, conversation_id: str) -> Conversation:
    """Return a conversation. `NotFound`."""
    try:
        return await conversations.of(owner).get(conversation_id)
    except tables.RecordNotFound:
        raise NotFound(f"There is no conversation {conversation_id[:100]}") from None


async def current_of(owner: str, partner: Partner) -> tuple[str | None, Conversation | None]:
    """Return the id to which the pointer leads, and the conversation if there is one. 1 or 2 point reads."""
    try:
        pointed = (await pointers.of(owner).get(partner.pointer_id)).conversation_id
    except tables.RecordNotFound:
        return None, None
    try:
        return pointed, await conversations.of(owner).get(pointed)
    except tables.RecordNotFound:  # its first message is being written at this moment
        return pointed, None


async def point(owner: str, partner: Partner, conversation_id: str) -> str:
    """Make a conversation the current one, unless another request has just made one; return the current one's id."""
    pointer = Pointer(
        id=partner.pointer_id, created_at=_ORIGIN, updated_at=datetime.now(UTC), user_id=owner,
        conversation_id=conversation_id, **partner._asdict(),
    )  # fmt: skip
    return (await pointers.of(owner).insert(pointer)).conversation_id  # that of another one, if one is stored already


async def begin(owner: str, conversation: Conversation, question: str) -> tuple[Conversation, ChatTurn]:
    """Store the user's message, and count it with the answer that is to come. `RecordNotFound`. 2 writes at once."""
    turn = ChatTurn(user_id=owner, messages=[ChatMessage(role="user", content=question)])
    counted, stored = await asyncio.gather(
        conversations.of(owner).update(conversation, lambda it: it.add(question, MESSAGES_OF_TURN)),
        turns.of(conversation.id).insert(turn),
        return_exceptions=True,
    )
    if isinstance(counted, BaseException):
        if isinstance(stored, ChatTurn):  # a message that is not counted must not be there
            await turns.of(conversation.id).delete(turn.id)
        raise counted
    if isinstance(stored, BaseException):
        await conversations.of(owner).update(counted, lambda it: it.add("", -MESSAGES_OF_TURN))
        raise stored
    return counted, stored


async def begin_conversation(
    owner: str,
    partner: Partner,
    pointed: str | None,
    question: str,
    seed: list[ChatMessage],
    *,
    agent_name: str | None,
    system_prompt: str,
    is_current: bool = True,
) -> tuple[Conversation, ChatTurn]:
    """Store a new conversation with the user's message. `seed` are messages before it.

    It becomes the current one, unless `is_current` is false; of two requests that do this at once, both get the same
    conversation. `pointed` is the id to which the pointer leads already. 2 or 3 writes.
    """
    made = Conversation.new_id()
    id_ = pointed or (await point(owner, partner, made) if is_current else made)
    before = [ChatTurn(user_id=owner, status=TurnStatus.SEED, messages=seed)] if seed and id_ == made else []
    turn = ChatTurn(user_id=owner, messages=[ChatMessage(role="user", content=question)])
    new = Conversation(
        id=id_, user_id=owner, agent_name=agent_name, system_prompt=system_prompt, **partner._asdict()
    )  # its time is that of its id: two requests store the same record
    count = MESSAGES_OF_TURN + sum(len(each.messages) for each in before)
    stored, _ = await asyncio.gather(
        _store(new, question, count), asyncio.gather(*(turns.of(id_).insert(each) for each in [*before, turn]))
    )
    return stored, turn


async def _store(new: Conversation, question: str, messages: int) -> Conversation:
    """Store a new conversation with its first messages, or count them in the one that another request has stored."""
    own = conversations.of(new.user_id)
    new.add(question, messages)
    stored = await own.insert(new)
    return stored if stored is new else await own.update(stored, lambda it: it.add(question, messages))


async def restart(owner: str, partner: Partner | None, new: Conversation) -> None:
    """Store a new conversation with an agent; it becomes the current one where a provider is known (`partner`)."""
    await pointers.of(owner).clear({"agent_id": new.agent_id})
    await conversations.of(owner).insert(new)
    if partner:
        await point(owner, partner, new.id)


async def delete_conversation(owner: str, conversation_id: str) -> None:
    """Delete a conversation with its turns, and what points to it. `NotFound`.

    Turns go first, so that a repeat finishes what was interrupted; then once more, those that were begun meanwhile.
    """
    await conversation_of(owner, conversation_id)
    await pointers.of(owner).clear({"conversation_id": conversation_id})
    await turns.of(conversation_id).clear()
    try:
        await conversations.of(owner).delete(conversation_id)
    except tables.RecordNotFound:
        raise NotFound(f"There is no conversation {conversation_id[:100]}") from None
    await turns.of(conversation_id).clear()
