"""A question to the assistant, and a turn that is ready to begin."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from functions.ownpilot.chat.context import Block
from functions.ownpilot.chat.conversations import ChatTurn, Conversation, Partner
from functions.ownpilot.chat.trace import Trace
from functions.ownpilot.core.agent_store import MOST_TOOL_CALLS, MOST_TURNS, Agent
from functions.ownpilot.core.catalogue.resolve import Target
from functions.ownpilot.core.llm import Message, ToolSchema
from functions.ownpilot.core.owner import Person


class EarlierMessage(NamedTuple):
    """A message of a conversation that the client kept itself."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True)
class Origin:
    """Where a question comes from, for the log of requests."""

    endpoint: str = "/api/v1/chat"
    method: str = "POST"
    ip_address: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True)
class Question:
    """A message to the assistant. Without a conversation it goes into the current one, unless it is not from the chat:
    then it begins a new one.

    `history` is used when there is no current one. `direct_tools` are offered to the model by name; unknown names are
    left out. `source` is what asks.
    """

    message: str
    conversation_id: str | None = None
    agent_id: str | None = None
    provider: str = ""
    model: str = ""
    history: Sequence[EarlierMessage] = ()
    direct_tools: Sequence[str] = ()
    include_tool_list: bool = False
    workspace_id: str | None = None
    source: Literal["chat", "trigger", "plan", "channel"] = "chat"
    origin: Origin = Origin()


@dataclass
class Prepared:
    """A turn that can begin: everything was read, and the user's message is stored."""

    owner: Person
    question: Question
    target: Target
    agent: Agent | None
    conversation: Conversation
    turn: ChatTurn
    system: Message
    asked: Message
    past: Sequence[Block]
    tools: Sequence[ToolSchema]
    allowed: Collection[str] | None
    room: int
    answer_tokens: int
    trace: Trace

    @property
    def model(self) -> str:
        """The id of the model."""
        return self.target.model["modelId"]

    @property
    def max_turns(self) -> int:
        """How often the model is asked at most."""
        return self.agent.max_turns if self.agent else MOST_TURNS

    @property
    def max_tool_calls(self) -> int:
        """How many tools it may call."""
        return self.agent.max_tool_calls if self.agent else MOST_TOOL_CALLS


@dataclass
class Talk:
    """With whom the turn is, and in which conversation; `pointed` is the id to which the pointer leads."""

    agent: Agent | None
    target: Target
    partner: Partner
    pointed: str | None
    conversation: Conversation | None
    past: list[ChatTurn] = field(default_factory=list[ChatTurn])
