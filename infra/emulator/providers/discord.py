"""Applications, as Discord's API has them, below `/discord/api/v10`."""

import itertools
from typing import Any

from aiohttp import web

from infra.emulator.providers.state import STATE, ModelRequest

MOST = 2000
"""Characters of a message."""

_ids = itertools.count(1_300_000_000_000_000_000)


class MessagesState:
    """The messages by their channel and nonce, and the interactions whose first answer was changed."""

    def __init__(self) -> None:
        self.by_nonce: dict[tuple[str, str], dict[str, Any]] = {}
        self.originals: dict[str, dict[str, Any]] = {}


MESSAGES = web.AppKey("messages", MessagesState)


def _refusal(request: web.Request) -> web.Response | None:
    """401 without the credential of a bot."""
    return None if request.headers.get("Authorization", "").startswith("Bot ") else _error(401, 0, "401: Unauthorized")


async def show_user(request: web.Request) -> web.Response:
    """GET /users/@me."""
    me = {"id": "1200000000000000001", "username": "stand-in", "discriminator": "0", "bot": True}
    return _refusal(request) or web.json_response(me)


async def create_message(request: web.Request) -> web.Response:
    """POST /channels/{channel}/messages: with `enforce_nonce`, two with one nonce are one message."""
    if refused := _refusal(request):
        return refused
    body = await _body(request)
    if isinstance(body, web.Response):
        return body
    channel, known = request.match_info["channel"], request.app[MESSAGES].by_nonce
    key = (channel, str(body.get("nonce")))
    if body.get("enforce_nonce") and key in known:
        return web.json_response(known[key])
    known[key] = made = {"id": str(next(_ids)), "channel_id": channel, "content": body["content"]}
    return web.json_response(made)


async def edit_original(request: web.Request) -> web.Response:
    """PATCH /webhooks/{application}/{token}/messages/@original: the first answer to an interaction.

    404 for a token that begins with `expired`.
    """
    body = await _body(request)
    if isinstance(body, web.Response):
        return body
    token = request.match_info["token"]
    if token.startswith("expired"):
        return _error(404, 10015, "Unknown Webhook")
    made = request.app[MESSAGES].originals.setdefault(token, {"id": str(next(_ids))})
    made["content"] = body["content"]
    return web.json_response(made)


async def follow_up(request: web.Request) -> web.Response:
    """POST /webhooks/{application}/{token}: a further answer to an interaction."""
    body = await _body(request)
    if isinstance(body, web.Response):
        return body
    if request.match_info["token"].startswith("expired"):
        return _error(404, 10015, "Unknown Webhook")
    return web.json_response({"id": str(next(_ids)), "content": body["content"]})


async def _body(request: web.Request) -> dict[str, Any] | web.Response:
    try:
        body: dict[str, Any] = await request.json()
    except ValueError:
        return _error(400, 50109, "The request body contains invalid JSON.")
    request.app[STATE].requests.append(ModelRequest(request.path, body, "whole"))
    content = body.get("content")
    if not isinstance(content, str) or not content.strip():
        return _error(400, 50006, "Cannot send an empty message")
    return _error(400, 50035, "Invalid Form Body") if len(content) > MOST else body


def _error(status: int, code: int, message: str) -> web.Response:
    return web.json_response({"message": message, "code": code}, status=status)
