"""The protocol of chat completions, which OpenAI's API and most others speak: what is sent, and how answers are read.

Without input and output, so that every way in which an answer may be cut into pieces can be tried.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from functions.ownpilot.core.llm.json_parts import entries, members, number, object_text, text
from functions.ownpilot.core.llm.refusals import in_an_answer
from functions.ownpilot.core.llm.sums import Sums
from functions.ownpilot.core.llm.vocabulary import Finish, Message, Said, Text, ToolCall, ToolSchema

_REASONS = {"function_call": "tool_calls", "eos": "stop", "max_tokens": "length"}


def body(
    model: str,
    messages: Sequence[Message],
    tools: Sequence[ToolSchema],
    *,
    temperature: float | None,
    max_tokens: int | None,
    stream: bool,
) -> dict[str, Any]:
    """Return the request."""
    made: dict[str, Any] = {"model": model, "messages": [*map(_message, messages)]}
    if tools:
        made["tools"] = [
            {
                "type": "function",
                "function": {"name": each.name, "description": each.description, "parameters": each.parameters},
            }
            for each in tools
        ]
    if temperature is not None:
        made["temperature"] = temperature
    if max_tokens is not None:
        made["max_tokens"] = max_tokens
    if stream:
        made |= {"stream": True, "stream_options": {"include_usage": True}}
    return made


def _message(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.role == "tool":
        made["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        made["content"] = message.content or None
        made["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                # Servers read the arguments of earlier calls too, and some refuse what is no object.
                "function": {"name": call.name, "arguments": object_text(call.arguments)},
            }
            for call in message.tool_calls
        ]
    return made


@dataclass
class _CallInParts:
    """A tool call as far as it has come."""

    id: str
    name: str = ""
    arguments: str = ""


class CompletionReader:
    """Reads an answer: whole (`whole`), or chunk by chunk (`chunk`), and then its `end`."""

    def __init__(self) -> None:
        self.is_complete = False
        self._calls: list[_CallInParts] = []
        self._by_index: dict[int, _CallInParts] = {}
        self._reason = ""
        self._sums = Sums()

    def whole(self, answer: Mapping[str, Any]) -> Iterator[Said]:
        """Read an answer that is not streamed."""
        for choice in entries(answer.get("choices"))[:1]:
            yield from self._part(members(choice.get("message")))
            self._finished(choice)
        yield from self._usage(answer)

    def chunk(self, kind: str, data: str) -> Iterator[Said]:
        """Read the data of a server-sent event. ValueError when it is not JSON; `ModelRefused` for an error."""
        del kind  # this protocol names no events
        if data.strip() == "[DONE]":
            self.is_complete = True
            return
        chunk = members(orjson.loads(data))
        if error := chunk.get("error"):
            raise in_an_answer(error)
        for choice in entries(chunk.get("choices"))[:1]:
            yield from self._part(members(choice.get("delta")))
            self._finished(choice)
        yield from self._usage(chunk)

    def end(self) -> Iterator[Said]:
        """Return the tool calls, and why the answer ends."""
        calls = [ToolCall(call.id, call.name, call.arguments or "{}") for call in self._calls if call.name]
        yield from calls
        reason = _REASONS.get(self._reason, self._reason) or "stop"
        yield Finish("tool_calls" if calls and reason == "stop" else reason)

    def _part(self, part: Mapping[str, Any]) -> Iterator[Said]:
        content = part.get("content")
        pieces = [content] if isinstance(content, str) else [text(each.get("text")) for each in entries(content)]
        for piece in pieces:
            if piece:
                yield Text(piece)
        for place, fragment in enumerate(entries(part.get("tool_calls"))):
            self._collect(fragment, place)

    def _collect(self, fragment: Mapping[str, Any], place: int) -> None:
        """Add a fragment to the call with its index. Some servers give all calls the same index, but each an id."""
        index, id_ = fragment.get("index"), text(fragment.get("id"))
        known = self._by_index.get(index) if isinstance(index, int) else None
        if index is None and not id_ and place == 0 and self._calls:
            known = self._calls[-1]
        if known is None or (id_ and id_ != known.id):
            known = _CallInParts(id_ or f"call_{secrets.token_hex(8)}")
            self._calls.append(known)
            if isinstance(index, int):
                self._by_index[index] = known
        function = members(fragment.get("function"))
        known.name = known.name or text(function.get("name"))
        arguments = function.get("arguments")
        known.arguments += orjson.dumps(arguments).decode() if isinstance(arguments, dict) else text(arguments)

    def _finished(self, choice: Mapping[str, Any]) -> None:
        if reason := text(choice.get("finish_reason")):
            self._reason, self.is_complete = reason, True

    def _usage(self, part: Mapping[str, Any]) -> Iterator[Said]:
        used = members(part.get("usage"))
        yield from self._sums.rise(number(used.get("prompt_tokens")), number(used.get("completion_tokens")))
