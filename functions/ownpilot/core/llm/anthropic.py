"""Anthropic's protocol of messages: what is sent, and how answers are read. Without input and output."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from functions.ownpilot.core.llm.json_parts import entries, members, number, parsed, text
from functions.ownpilot.core.llm.refusals import in_an_answer
from functions.ownpilot.core.llm.sums import Sums
from functions.ownpilot.core.llm.vocabulary import Finish, Message, Said, Text, ToolCall, ToolSchema

_REASONS = {
    "end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "max_tokens": "length",
    "model_context_window_exceeded": "length", "tool_use": "tool_calls", "refusal": "content_filter",
}  # fmt: skip


def body(
    model: str,
    messages: Sequence[Message],
    tools: Sequence[ToolSchema],
    *,
    temperature: float | None,
    max_tokens: int,
    stream: bool,
) -> dict[str, Any]:
    """Return the request. This protocol must be told how long an answer may be."""
    made: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "messages": _messages(messages)}
    if system := "\n\n".join(each.content for each in messages if each.role == "system" and each.content):
        made["system"] = system
    if tools:
        made["tools"] = [
            {"name": each.name, "description": each.description, "input_schema": each.parameters} for each in tools
        ]
    if temperature is not None:
        made["temperature"] = temperature
    if stream:
        made["stream"] = True
    return made


def _messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the messages by turns: all results of one turn's tools must be in one message of the user."""
    made: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [] if message.role == "system" else _blocks(message)
        if blocks and made and made[-1]["role"] == role:
            made[-1]["content"] += blocks
        elif blocks:
            made.append({"role": role, "content": blocks})
    return made


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}]
    said = [{"type": "text", "text": message.content}] if message.content.strip() else []
    calls = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": parsed(call.arguments)}
        for call in message.tool_calls
    ]
    return [*said, *calls]


class MessageReader:
    """Reads an answer: whole (`whole`), or event by event (`chunk`), and then its `end`."""

    def __init__(self) -> None:
        self.is_complete = False
        self._calls: dict[int, ToolCall] = {}
        self._reason = ""
        self._sums = Sums()

    def whole(self, answer: Mapping[str, Any]) -> Iterator[Said]:
        """Read an answer that is not streamed."""
        for place, block in enumerate(entries(answer.get("content"))):
            yield from self._begin(place, block)
        yield from self._usage(answer)
        self._finished(answer)

    def chunk(self, kind: str, data: str) -> Iterator[Said]:
        """Read a server-sent event. ValueError when its data is not JSON; `ModelRefused` for an error."""
        event = members(orjson.loads(data))
        index = number(event.get("index"))
        match text(event.get("type")) or kind:
            case "message_start":
                yield from self._usage(members(event.get("message")))
            case "content_block_start":
                yield from self._begin(index, members(event.get("content_block")))
            case "content_block_delta":
                yield from self._more(index, members(event.get("delta")))
            case "message_delta":
                yield from self._usage(event)
                self._finished(members(event.get("delta")))
            case "message_stop":
                self.is_complete = True
            case "error":
                raise in_an_answer(event.get("error"))
            case _:  # pings, ends of blocks, and what is not known yet
                pass

    def end(self) -> Iterator[Said]:
        """Return the tool calls, and why the answer ends."""
        for call in self._calls.values():
            yield call if call.arguments else ToolCall(call.id, call.name, "{}")
        yield Finish(_REASONS.get(self._reason, self._reason) or "stop")

    def _begin(self, index: int, block: Mapping[str, Any]) -> Iterator[Said]:
        if block.get("type") == "tool_use":
            given = members(block.get("input"))
            arguments = orjson.dumps(given).decode() if given else ""
            self._calls[index] = ToolCall(text(block.get("id")), text(block.get("name")), arguments)
        elif block.get("type") == "text" and (said := text(block.get("text"))):
            yield Text(said)

    def _more(self, index: int, delta: Mapping[str, Any]) -> Iterator[Said]:
        if (more := text(delta.get("partial_json"))) and (call := self._calls.get(index)):
            self._calls[index] = ToolCall(call.id, call.name, call.arguments + more)
        elif delta.get("type") == "text_delta" and (said := text(delta.get("text"))):
            yield Text(said)

    def _finished(self, part: Mapping[str, Any]) -> None:
        if reason := text(part.get("stop_reason")):
            self._reason, self.is_complete = reason, True

    def _usage(self, part: Mapping[str, Any]) -> Iterator[Said]:
        used = members(part.get("usage"))
        kinds = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        yield from self._sums.rise(sum(number(used.get(each)) for each in kinds), number(used.get("output_tokens")))
