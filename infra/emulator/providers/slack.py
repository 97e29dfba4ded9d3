"""Apps, as Slack's Web API has them: `/slack/api/<method>`. Its errors have the status 200."""

import itertools
from typing import Any

from aiohttp import web

from infra.emulator.providers.state import STATE, ModelRequest

MOST = 40_000
"""Characters of a message that are kept."""

_numbers = itertools.count(1)


async def call_method(request: web.Request) -> web.Response:
    """POST /slack/api/{method}."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not token:
        return _error("not_authed")
    if not token.startswith("xoxb-"):
        return _error("invalid_auth")
    try:
        body: dict[str, Any] = await request.json()
    except ValueError:
        return _error("invalid_json")
    request.app[STATE].requests.append(ModelRequest(request.path, body, "whole"))
    match request.match_info["method"]:
        case "auth.test":
            return web.json_response({
                "ok": True, "url": "https://stand-in.slack.com/", "team": "Stand-in", "user": "bot",
                "team_id": "T0STANDIN", "user_id": "U0STANDIN", "bot_id": "B0STANDIN", "is_enterprise_install": False,
            })  # fmt: skip
        case "chat.postMessage":
            if not body.get("channel"):
                return _error("channel_not_found")
            if not str(body.get("text") or "").strip():
                return _error("no_text")
            stamp = f"1768435200.{next(_numbers):06}"
            message = {"type": "message", "bot_id": "B0STANDIN", "text": str(body["text"])[:MOST], "ts": stamp}
            return web.json_response({"ok": True, "channel": body["channel"], "ts": stamp, "message": message})
        case _:
            return _error("unknown_method")


def _error(word: str) -> web.Response:
    return web.json_response({"ok": False, "error": word})
