"""HTTP requests of orchestrators (`call_http`), including the polling of asynchronous answers (202)."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import aiohttp

POLL_SECONDS = 30.0  # when a 202 has no Retry-After


class HttpFailed(Exception):
    """The request got no answer, or is not supported."""


@dataclass(frozen=True)
class Later:
    """The answer was a 202: poll with this request (JSON text) after this many seconds."""

    request: str
    seconds: float


async def call_http(request: str) -> str | Later:
    """Make a request, given as JSON text with method, uri, content and headers.

    Returns the answer as JSON text with statusCode, headers and content, or when to poll. Raises HttpFailed.
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
