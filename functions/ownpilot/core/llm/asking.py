"""Asking a model for an answer."""

from collections.abc import AsyncGenerator, Callable, Sequence

from functions.ownpilot.core.catalogue.resolve import Target
from functions.ownpilot.core.llm.vocabulary import Finish, Message, Said, Text, ToolSchema
from shared.outbound import Retry


def endpoint_of(way: Target) -> str:
    """Return the address that answers."""
    return f"{way.base_url}/{'messages' if way.wire == 'anthropic' else 'chat/completions'}"


async def ask(
    way: Target,
    messages: Sequence[Message],
    tools: Sequence[ToolSchema] = (),
    *,
    temperature: float | None = None,
    max_tokens: int | None = None,
    stream: bool = True,
    on_retry: Callable[[Retry], None] | None = None,
) -> AsyncGenerator[Said]:
    """Ask a model; yields the parts of its answer as they come, or all at its end without `stream`.

    `on_retry` hears of each attempt that failed before the first byte and is followed by another one. Whoever stops
    reading closes the generator (`contextlib.aclosing`), and with it the connection. `ModelRefused`,
    `ModelUnreachable`.
    """
    del way, messages, tools, temperature, max_tokens, stream, on_retry
    yield Text("")
    yield Finish("stop")
