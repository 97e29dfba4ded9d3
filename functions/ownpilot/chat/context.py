"""What a model is sent: as much of a conversation as its window holds. Pure: the same texts give the same messages."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from functions.ownpilot.core.llm import Message, ToolCall, ToolSchema
from shared.http.errors import BadRequest

CHARACTERS = 4
"""Characters of a token, as an estimate."""

SPARE = 0.1
"""The part of a window that is left free, as the number of tokens is an estimate."""

WINDOW = 8192
"""Tokens of a model whose window is not known."""

PER_MESSAGE = 8
"""Tokens that a message takes besides its text."""

Block = Sequence[Message]
"""Messages that stay or leave together: a call of a tool and its result, or a whole turn of the past."""


def tokens_of(message: Message) -> int:
    """Estimate the tokens of a message."""
    called = sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
    return PER_MESSAGE + -(-(len(message.content) + called) // CHARACTERS)


def _size(messages: Iterable[Message]) -> int:
    return sum(map(tokens_of, messages))


def tokens_of_tools(tools: Iterable[ToolSchema]) -> int:
    """Estimate the tokens that the descriptions of tools take."""
    characters = sum(len(each.name) + len(each.description) + len(json.dumps(dict(each.parameters))) for each in tools)
    return -(-characters // CHARACTERS)


def room_of(window: int | None, answer: int, tools: Iterable[ToolSchema]) -> int:
    """Return the tokens that messages may take in a window, beside an answer of so many and the tools."""
    return int((window or WINDOW) * (1 - SPARE)) - answer - tokens_of_tools(tools)


def check_fits(system: Message, question: Message, room: int) -> None:
    """`BadRequest` MESSAGE_TOO_LONG when prompt and question alone are more than there is room for."""
    if _size([system, question]) > room:
        raise BadRequest(
            f"The message has about {tokens_of(question)} tokens, and the model has room for"
            f" {max(0, room - tokens_of(system))}",
            code="MESSAGE_TOO_LONG",
        )


def fitted(
    system: Message, past: Sequence[Block], question: Message, exchange: Sequence[Block], room: int
) -> list[Message]:
    """Return what is sent: the prompt, the newest turns of the past that fit, the question, what followed from it.

    The oldest leaves first: the turns of the past, then calls of tools with their results. Prompt and question stay,
    and so do the newest calls, which the model waits for.
    """
    left = room - _size([system, question])
    kept: list[Block] = []
    open_ = True
    for place, block in enumerate([*reversed(exchange), *reversed(past)]):
        left -= _size(block)
        open_ = open_ and (left >= 0 or (place == 0 and bool(exchange)))
        if not open_:
            break
        kept.append(block)
    ours = kept[: len(exchange)]
    return [
        system,
        *(message for block in reversed(kept[len(ours) :]) for message in block),
        question,
        *(message for block in reversed(ours) for message in block),
    ]


def packed(message: Message) -> dict[str, Any]:
    """Return a message as it is kept."""
    kept: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        kept["calls"] = [[call.id, call.name, call.arguments] for call in message.tool_calls]
    if message.tool_call_id is not None:
        kept["of"] = message.tool_call_id
    return kept


def unpacked(kept: dict[str, Any]) -> Message:
    """Return the message that `packed` was given."""
    calls = tuple(ToolCall(*call) for call in kept.get("calls", ()))
    return Message(kept["role"], kept["content"], calls, kept.get("of"))
