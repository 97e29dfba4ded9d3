"""Chat completions, as OpenAI's API has them."""

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web

from infra.emulator.providers.answering import Protocol, answer, pieces, text_of
from infra.emulator.providers.operations import openai_error, refusal
from infra.emulator.providers.scripts import ScriptedCall, ScriptedTurn

_KINDS = {401: "invalid_request_error", 404: "invalid_request_error", 429: "rate_limit_error"}


class Completions(Protocol):
    """The protocol of chat completions."""

    def refusal(self, request: web.Request) -> web.Response | None:
        return refusal(request)

    def error(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
        kind = "server_error" if status >= 500 else _KINDS.get(status, "invalid_request_error")
        made = openai_error(status, message, kind, "model_not_found" if status == 404 else None)
        made.headers.update(headers or {})
        return made

    def whole(self, body: Mapping[str, Any], turn: ScriptedTurn) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text_of(turn) or None, "refusal": None}
        if turn.calls:
            message["tool_calls"] = [_call(call) for call in turn.calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(turn)}
        return {**_frame(body, "chat.completion"), "choices": [choice], "usage": _usage(turn)}

    def begin(self, body: Mapping[str, Any], turn: ScriptedTurn) -> Iterator[str]:
        yield _chunk(body, {"role": "assistant", "content": ""})

    def word(self, body: Mapping[str, Any], text: str) -> str:
        return _chunk(body, {"content": text})

    def end(self, body: Mapping[str, Any], turn: ScriptedTurn) -> Iterator[str]:
        for index, call in enumerate(turn.calls):
            empty = ScriptedCall(call.id, call.name, "")
            yield _chunk(body, {"tool_calls": [{"index": index, **_call(empty)}]})
        # The fragments of several calls come in turns: only their index says to which one they belong.
        for fragments in itertools.zip_longest(*(pieces(call.arguments) for call in turn.calls)):
            for index, piece in enumerate(fragments):
                if piece is not None:
                    yield _chunk(body, {"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        yield _chunk(body, {}, _finish(turn))
        if (body.get("stream_options") or {}).get("include_usage"):
            yield _data({**_frame(body, "chat.completion.chunk"), "choices": [], "usage": _usage(turn)})
        yield "data: [DONE]\n\n"


def _call(call: ScriptedCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _finish(turn: ScriptedTurn) -> str:
    return turn.finish or ("tool_calls" if turn.calls else "stop")


def _usage(turn: ScriptedTurn) -> dict[str, int]:
    given, taken = turn.usage
    return {"prompt_tokens": given, "completion_tokens": taken, "total_tokens": given + taken}


def _frame(body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1_768_435_200, "model": body["model"]}


def _chunk(body: Mapping[str, Any], delta: dict[str, Any], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _data({**_frame(body, "chat.completion.chunk"), "choices": [choice]})


def _data(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"


async def complete(request: web.Request) -> web.StreamResponse:
    """POST /v1/chat/completions."""
    return await answer(request, Completions())
