"""Bots, as Telegram's Bot API has them: `/telegram/bot<token>/<method>`."""

import re
from html.parser import HTMLParser
from typing import Any

from aiohttp import web

from infra.emulator.providers.state import STATE, ModelRequest

MOST = 4096
"""UTF-16 units of a message, without the elements of its HTML."""

_TOKEN = re.compile(r"[0-9]+:[A-Za-z0-9_-]{3,}")
_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")
_ELEMENTS = ("a", "b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "code", "pre", "blockquote", "tg-spoiler")


class BotsState:
    """What is remembered: the webhook of each token, and how many messages were sent."""

    def __init__(self) -> None:
        self.webhooks: dict[str, dict[str, Any]] = {}
        self.sent = 0


BOTS = web.AppKey("bots", BotsState)


class _Html(HTMLParser):
    """The text of Telegram's HTML. ValueError for an element that it does not know or that is not closed."""

    def __init__(self, source: str):
        super().__init__()
        self.text, self._open = "", list[str]()
        self.feed(source)
        self.close()
        if self._open:
            raise ValueError(f"Can't find end tag corresponding to start tag {self._open[-1]}")

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in _ELEMENTS:
            raise ValueError(f'Unsupported start tag "{tag}"')
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            raise ValueError(f'Unmatched end tag, found "</{tag}>"')

    def handle_data(self, data: str) -> None:
        self.text += data


def text_of(html: str) -> str:
    """Return the text of Telegram's HTML. ValueError when it cannot be read."""
    return _Html(html).text


async def call_method(request: web.Request) -> web.Response:
    """POST /telegram/bot{token}/{method}."""
    token, method = request.match_info["token"], request.match_info["method"]
    if not _TOKEN.fullmatch(token):
        return _error(404, "Not Found")
    try:
        body: dict[str, Any] = await request.json() if request.can_read_body else dict(request.query)
    except ValueError:
        return _error(400, "Bad Request: can't parse JSON")
    request.app[STATE].requests.append(ModelRequest(request.path, body, "whole"))
    state, number = request.app[BOTS], token.partition(":")[0]
    match method:
        case "getMe":
            return _result({"id": int(number), "is_bot": True, "first_name": "Stand-in", "username": f"bot_{number}"})
        case "setWebhook":
            if not str(body.get("url", "")).startswith(("https://", "http://127.0.0.1:")):  # Telegram wants https
                return _error(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
            if not _SECRET.fullmatch(str(body.get("secret_token", "-"))):
                return _error(400, "Bad Request: secret token contains unallowed characters")
            state.webhooks[token] = body
            return _result(True)
        case "deleteWebhook":
            state.webhooks.pop(token, None)
            return _result(True)
        case "getWebhookInfo":
            return _result({"url": state.webhooks.get(token, {}).get("url", ""), "pending_update_count": 0})
        case "sendMessage":
            return _send(state, body)
        case _:
            return _error(404, "Not Found")


def _send(state: BotsState, body: dict[str, Any]) -> web.Response:
    text = body.get("text")
    if not body.get("chat_id"):
        return _error(400, "Bad Request: chat_id is empty")
    if body.get("parse_mode") == "HTML":
        try:
            text = text_of(str(text))
        except ValueError as error:
            return _error(400, f"Bad Request: can't parse entities: {error}")
    if not isinstance(text, str) or not text.strip():
        return _error(400, "Bad Request: message text is empty")
    if len(text.encode("utf-16-le")) // 2 > MOST:
        return _error(400, "Bad Request: message is too long")
    state.sent += 1
    chat = {"id": body["chat_id"], "type": "private"}
    return _result({"message_id": state.sent, "date": 1_768_435_200, "chat": chat, "text": text})


def _result(result: Any) -> web.Response:
    return web.json_response({"ok": True, "result": result})


def _error(status: int, description: str) -> web.Response:
    return web.json_response({"ok": False, "error_code": status, "description": description}, status=status)
