"""What is said to a model and what it answers, in the same words whatever protocol its server speaks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True)
class Text:
    """Part of the answer's text."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """A tool that the model calls. `arguments` is what the model wrote: it should be a JSON object, and may be none."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Usage:
    """Tokens that were used since the last `Usage` of the same answer: those of an answer are added up."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Finish:
    """The end of an answer: `stop`, `length`, `tool_calls`, `content_filter`, or another word of the server's."""

    reason: str


Said = Text | ToolCall | Usage | Finish
"""Part of an answer. Tool calls come whole, after all text; `Finish` comes last, exactly once."""


@dataclass(frozen=True)
class Message:
    """One message of a conversation. A result of a tool has the role `tool` and the id of its call."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True)
class ToolSchema:
    """A tool that the model may call; `parameters` is the JSON Schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


class ModelError(Exception):
    """A call of a model without a whole answer; the message is for the user, and holds no key."""

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message


class ModelRefused(ModelError):
    """The server refuses the call, or reports an error in the middle of its answer: its status and its reason."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class ModelUnreachable(ModelError):
    """The server cannot be reached, is silent, breaks off, or answers something that cannot be read."""
