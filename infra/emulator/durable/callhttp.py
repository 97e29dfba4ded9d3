"""HTTP requests made for orchestrators (`call_http`), with the polling of answers that come later."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import aiohttp

POLL_SECONDS = 30.0  # when a 202 does not say when to ask again


class HttpFailed(Exception):
    """The request got no answer, or cannot be made here."""


@dataclass(frozen=True)
class Later:
    """The server works on it: ask again with this request (JSON text) after so many seconds."""

    request: str
    seconds: float


async def call_http(request: str) -> str | Later:
    """Make a request (JSON text: method, uri, content, headers).

    The answer (JSON text: statusCode, headers, content), or when to poll. Raises HttpFailed.
    """
    wanted: dict[str, Any] = json.loads(request)
    if "tokenSource" in wanted:
        raise HttpFailed("a token source needs a managed identity, which the local engine does not have")
    headers = wanted.get("headers") or {}
    content = wanted.get("content")
    if content is not None and not any(name.lower() == "content-type" for name in headers):
        headers = {**headers, "Content-Type": "application/json"}
    body = None if content is None else content.encode()
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.request(wanted["method"], wanted["uri"], data=body, headers=headers) as answer,
        ):
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise HttpFailed(f"{wanted['method']} {wanted['uri']} failed: {error!r}") from error
    if answer.status == 202 and "Location" in answer.headers:
        uri = urljoin(wanted["uri"], answer.headers["Location"])
        poll = {"method": "GET", "uri": uri, "headers": wanted.get("headers") or {}}
        delay = answer.headers.get("Retry-After", "")
        return Later(json.dumps(poll), float(delay) if delay.isdecimal() else POLL_SECONDS)
    return json.dumps({"statusCode": answer.status, "headers": dict(answer.headers), "content": text})
