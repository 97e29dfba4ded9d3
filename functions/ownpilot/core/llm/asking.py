"""Asking a model for an answer."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from functions.ownpilot.core.catalogue.resolve import Target
from functions.ownpilot.core.llm import anthropic, completions
from functions.ownpilot.core.llm.json_parts import members
from functions.ownpilot.core.llm.sending import sent
from functions.ownpilot.core.llm.vocabulary import Message, ModelUnreachable, Said, ToolSchema
from shared.outbound import Answer, NoAnswer, Retry, ServerEvent
from shared.settings import settings

MOST_OUTPUT = 16_384
"""Tokens of an answer at most where the protocol asks for a limit and the caller gives none."""

AnswerReader = anthropic.MessageReader | completions.CompletionReader

_PATHS = {"openai": "chat/completions", "anthropic": "messages"}


def endpoint_of(way: Target) -> str:
    """Return the address that answers."""
    return f"{way.base_url}/{_PATHS[way.wire]}"


async def ask(
    way: Target,
    messages: Sequence[Message],
    tools: Sequence[ToolSchema] = (),
    *,
    temperature: float | None = None,
    max_tokens: int | None = None,
    stream: bool = True,
    silence: float | None = None,
    on_retry: Callable[[Retry], None] | None = None,
) -> AsyncGenerator[Said]:
    """Ask a model; yields the parts of its answer as they come, or all at its end without `stream`.

    `max_tokens` of the answer; `silence`: seconds in which the server must send something, by default those of the
    setting. `on_retry` is called for each attempt that failed before the first byte and is repeated. Whoever stops
    reading closes the generator (`contextlib.aclosing`), and with it the connection. `ModelRefused`,
    `ModelUnreachable`.
    """
    body = _body(way, messages, tools, temperature, max_tokens, stream)
    reader = anthropic.MessageReader() if way.wire == "anthropic" else completions.CompletionReader()
    silence = silence or settings().ownpilot_model_silence
    async with sent(way, _PATHS[way.wire], body, silence=silence, on_retry=on_retry) as answer:
        # Some servers answer as a whole though they were asked for a stream.
        is_whole = "json" in answer.headers.get("Content-Type", "").lower()
        async for part in whole(answer, reader) if is_whole else streamed(answer, reader):
            yield part


def _body(
    way: Target,
    messages: Sequence[Message],
    tools: Sequence[ToolSchema],
    temperature: float | None,
    max_tokens: int | None,
    stream: bool,
) -> dict[str, Any]:
    model = way.model["modelId"]
    if way.wire == "openai":
        return completions.body(
            model, messages, tools, temperature=temperature, max_tokens=max_tokens, stream=stream
        )  # fmt: skip
    most = max_tokens or min(way.model.get("maxOutput", 4096), MOST_OUTPUT)
    return anthropic.body(model, messages, tools, temperature=temperature, max_tokens=most, stream=stream)


async def whole(answer: Answer, reader: AnswerReader) -> AsyncGenerator[Said]:
    """Read an answer that comes as one object."""
    found = members(await answer.json())
    for part in reader.whole(found):
        yield part
    if not reader.is_complete:
        raise ModelUnreachable("The provider's answer holds no message of a model")
    for part in reader.end():
        yield part


async def streamed(answer: Answer, reader: AnswerReader) -> AsyncGenerator[Said]:
    """Read an answer that comes as server-sent events."""
    try:
        async for event in answer.events():
            for part in _parts(reader, event):
                yield part
    except NoAnswer:
        if not reader.is_complete:  # some servers drop the connection behind their last word
            raise
    if not reader.is_complete:
        raise ModelUnreachable("The provider's stream broke off before its end")
    for part in reader.end():
        yield part


def _parts(reader: AnswerReader, event: ServerEvent) -> list[Said]:
    try:
        return [*reader.chunk(event.event, event.data)]
    except ValueError as error:
        raise ModelUnreachable("The provider's stream cannot be read") from error
