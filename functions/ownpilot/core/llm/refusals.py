"""Why a server refuses a call, from whatever it answers."""

from collections.abc import Mapping
from typing import Any, cast

import orjson

from functions.ownpilot.core.llm.json_parts import members, text
from functions.ownpilot.core.llm.vocabulary import ModelRefused

LONGEST = 1000
"""Characters of a reason that are passed on."""

_STATUSES = {
    "invalid_request_error": 400, "authentication_error": 401, "permission_error": 403, "not_found_error": 404,
    "request_too_large": 413, "rate_limit_error": 429, "api_error": 500, "overloaded_error": 529,
}  # fmt: skip
"""The status that an error has which comes in the middle of an answer."""


def reason_of(body: bytes) -> str:
    """Return the reason that the body of a refusal gives; the body itself when it is not of a known shape."""
    try:
        answer: Any = orjson.loads(body)
    except ValueError:
        return body.decode(errors="replace").strip()[:LONGEST]
    if isinstance(answer, list) and answer:
        answer = cast("list[Any]", answer)[0]
    found = members(answer)
    error: Any = found.get("error") or found.get("message") or found.get("detail") or answer
    return _reason(error)


def in_an_answer(error: Any) -> ModelRefused:
    """Return the refusal for an error that comes in the middle of an answer."""
    named = members(error)
    code = named.get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else _STATUSES.get(text(named.get("type")), 500)
    return ModelRefused(status, _reason(error))


def _reason(error: Any) -> str:
    if isinstance(error, dict):
        named = cast("Mapping[str, Any]", error)
        error = named.get("message") or named.get("detail") or named.get("type") or error
    return (error if isinstance(error, str) else orjson.dumps(error).decode()).strip()[:LONGEST]
