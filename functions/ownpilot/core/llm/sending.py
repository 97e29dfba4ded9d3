"""One call of a model's server: its headers, what it refuses, and its errors in our words."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson

from functions.ownpilot.core.catalogue.resolve import Target
from functions.ownpilot.core.llm.adapting import Adapted
from functions.ownpilot.core.llm.refusals import reason_of
from functions.ownpilot.core.llm.vocabulary import ModelRefused, ModelUnreachable
from functions.ownpilot.core.local_store import is_guarded
from functions.ownpilot.core.wires import key_headers
from shared import outbound
from shared.outbound import Answer, Retry
from shared.redaction import redact

LIMIT = 32_000_000
"""Bytes of an answer."""


@asynccontextmanager
async def sent(
    way: Target,
    path: str,
    body: Mapping[str, Any],
    *,
    silence: float,
    on_retry: Callable[[Retry], None] | None = None,
) -> AsyncGenerator[Answer]:
    """Send a request to a path below the address of a provider; at the end of the block the connection is closed.

    What the server refuses of the request is left out, and remembered. `silence`: seconds in which the server must send
    something. `ModelRefused`, `ModelUnreachable`, the latter also for what fails while the answer is read.
    """
    url = f"{way.base_url}/{path}"
    adapted = Adapted(url, body)
    try:
        while True:
            async with outbound.request(
                "POST", url, limit=LIMIT, headers=_headers(way), body=orjson.dumps(adapted.body),
                user_given=not way.is_local or is_guarded(), repeatable=True, silence=silence, on_retry=on_retry,
            ) as answer:  # fmt: skip
                if 200 <= answer.status < 300:
                    adapted.worked()
                    yield answer
                    return
                refusal = await answer.read()
            if not adapted.learn(answer.status, refusal):
                raise ModelRefused(answer.status, _reason(answer, refusal))
    except ModelRefused as error:  # before the answer, or in the middle of it
        raise ModelRefused(error.status, _safe(way, error.message)) from None
    except outbound.OutboundError as error:
        raise ModelUnreachable(_safe(way, str(error))) from error


def _headers(way: Target) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json"}
    return headers | key_headers(way.wire, way.api_key)


def _reason(answer: Answer, refusal: bytes) -> str:
    reason = reason_of(refusal) or f"The provider answers with the status {answer.status}"
    wait = answer.headers.get("Retry-After", "")
    return f"{reason} (it asks to wait {wait} seconds)" if wait.isdigit() else reason


def _safe(way: Target, message: str) -> str:
    """Return a message without the key, which some servers repeat."""
    return redact(message, *([way.api_key] if way.api_key else []), words=False)
