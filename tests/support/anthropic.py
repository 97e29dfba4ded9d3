"""A stand-in of the Messages API, on loopback: its answers are scripted by words in the prompt.

`[text: ...]` answers with that text, `[bash: ...]` first calls the Bash tool with that command, `[refuse]` ends with
the stop reason refusal, `[overloaded]` answers 529 each time, `[busy once]` only the first time, `[break]` ends the
stream in the middle. A key that is not `KEY` gets 401.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

MODEL = "claude-sonnet-4-20250514"
KEY = "sk-ant-stand-in-0123456789abcdef"
INPUT_TOKENS, OUTPUT_TOKENS = 100, 7


class Anthropic:
    """Serves on a free port of the loopback interface; `key` is the key that it accepts.

    `requests` are the bodies that asked for a message; `was_busy`: whether a `[busy once]` has got its 529.
    """

    key = KEY

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.was_busy = False
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/messages", self._message)
        app.router.add_route("*", "/{path:.*}", self._nothing)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        assert self._runner
        await self._runner.cleanup()

    async def _nothing(self, request: web.Request) -> web.Response:
        return web.json_response(_error("not_found_error", request.path), status=404)

    async def _message(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        given = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if given != KEY:
            no = {"x-should-retry": "false"}
            return web.json_response(_error("authentication_error", "invalid x-api-key"), status=401, headers=no)
        prompt = json.dumps(body["messages"], ensure_ascii=False)
        if "[overloaded]" in prompt or ("[busy once]" in prompt and not self.was_busy):
            self.was_busy = self.was_busy or "[busy once]" in prompt
            soon = {"x-should-retry": "true", "retry-after": "0"}
            return web.json_response(_error("overloaded_error", "Overloaded"), status=529, headers=soon)
        if not body.get("stream"):
            return web.json_response(_message(body["model"], [{"type": "text", "text": "ok"}], "end_turn"))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        async for event in _events(body, prompt):
            if event is None:
                assert request.transport
                request.transport.abort()
                break
            await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        return response


async def _events(body: dict[str, Any], prompt: str) -> AsyncIterator[dict[str, Any] | None]:
    """The events of one answer; None where the connection breaks."""
    yield {"type": "message_start", "message": _message(body["model"], [], None)}
    reason, block, delta = "end_turn", {"type": "text", "text": ""}, {"type": "text_delta", "text": _text(prompt)}
    if (command := re.search(r"\[bash: (.*?)\]", prompt)) and '"tool_result"' not in prompt:
        arguments = json.dumps({"command": command[1].encode().decode("unicode_escape"), "description": "Do it"})
        block = {"type": "tool_use", "id": "toolu_01", "name": "Bash", "input": {}}
        reason, delta = "tool_use", {"type": "input_json_delta", "partial_json": arguments}
    elif "[refuse]" in prompt:
        reason, delta = "refusal", {"type": "text_delta", "text": ""}
    yield {"type": "content_block_start", "index": 0, "content_block": block}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}
    if "[break]" in prompt:
        await asyncio.sleep(0)
        yield None
        return
    yield {"type": "content_block_stop", "index": 0}
    usage = {"output_tokens": OUTPUT_TOKENS}
    yield {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}
    yield {"type": "message_stop"}


def _text(prompt: str) -> str:
    found = re.search(r"\[text: (.*?)\]", prompt)
    return found[1] if found else "Done."


def _message(model: str, content: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
    usage = {"input_tokens": INPUT_TOKENS, "output_tokens": 0 if reason is None else OUTPUT_TOKENS}
    return {
        "id": "msg_01", "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": reason, "stop_sequence": None, "usage": usage,
    }  # fmt: skip


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}
