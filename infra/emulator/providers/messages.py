"""Messages, as Anthropic's API has them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web

from infra.emulator.providers import KEY
from infra.emulator.providers.answering import Protocol, answer, pieces, text_of
from infra.emulator.providers.scripts import ScriptedTurn
from infra.emulator.providers.state import MODELS

_KINDS = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 529: "overloaded_error",
}  # fmt: skip

_FINISHES = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal", "tool_calls": "tool_use"}


class Messages(Protocol):
    """The protocol of messages."""

    def refusal(self, request: web.Request) -> web.Response | None:
        """401 for a missing or wrong key, 400 without the version of the protocol."""
        # The documentation asks for `x-api-key`; the vendor's package sends the other header.
        if KEY not in (
            request.headers.get("x-api-key"),
            request.headers.get("Authorization", "").removeprefix("Bearer "),
        ):
            return self.error(401, "invalid x-api-key")
        if "anthropic-version" not in request.headers:
            return self.error(400, "anthropic-version: header is required")
        return None

    def error(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
        body = {"type": "error", "error": {"type": _KINDS.get(status, "api_error"), "message": message}}
        return web.json_response(body, status=status, headers=headers)

    def whole(self, body: Mapping[str, Any], turn: ScriptedTurn) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": text_of(turn)}] if turn.steps else []
        content += [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)}
            for call in turn.calls
        ]
        return _message(body, content, _finish(turn), turn.usage)

    def begin(self, body: Mapping[str, Any], turn: ScriptedTurn) -> Iterator[str]:
        yield _event("message_start", message=_message(body, [], None, (turn.usage[0], 1)))
        yield _event("ping")
        if turn.steps:
            yield _event("content_block_start", index=0, content_block={"type": "text", "text": ""})

    def word(self, body: Mapping[str, Any], text: str) -> str:
        return _event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def end(self, body: Mapping[str, Any], turn: ScriptedTurn) -> Iterator[str]:
        if turn.steps:
            yield _event("content_block_stop", index=0)
        for index, call in enumerate(turn.calls, bool(turn.steps)):
            block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            yield _event("content_block_start", index=index, content_block=block)
            for piece in pieces(call.arguments):
                delta = {"type": "input_json_delta", "partial_json": piece}
                yield _event("content_block_delta", index=index, delta=delta)
            yield _event("content_block_stop", index=index)
        delta = {"stop_reason": _finish(turn), "stop_sequence": None}
        yield _event("message_delta", delta=delta, usage={"output_tokens": turn.usage[1]})
        yield _event("message_stop")


def _finish(turn: ScriptedTurn) -> str:
    return _FINISHES.get(turn.finish, turn.finish) or ("tool_use" if turn.calls else "end_turn")


def _message(
    body: Mapping[str, Any], content: list[dict[str, Any]], reason: str | None, usage: tuple[int, int]
) -> dict[str, Any]:
    return {
        "id": "msg_01", "type": "message", "role": "assistant", "model": body["model"], "content": content,
        "stop_reason": reason, "stop_sequence": None,
        "usage": {"input_tokens": usage[0], "output_tokens": usage[1]},
    }  # fmt: skip


def _event(kind: str, **members: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n"


async def list_models(request: web.Request) -> web.Response:
    """GET /v1/models of Anthropic."""
    if refused := Messages().refusal(request):
        return refused
    data = [
        {"type": "model", "id": model.id, "display_name": model.name, "created_at": f"{model.created}T00:00:00Z"}
        for model in MODELS
    ]
    return web.json_response({"data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]})


async def create_message(request: web.Request) -> web.StreamResponse:
    """POST /v1/messages."""
    return await answer(request, Messages())
