"""Services outside as tools use them: which is configured, what it answers, and why it does not."""

import asyncio
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import orjson

from functions.ownpilot.core.config_values import values_of
from functions.ownpilot.core.tool_context import ToolError
from shared import outbound

MAX_ANSWER = 1_000_000
"""Bytes of an answer."""

SILENCE = 10.0
"""Seconds in which a service must send something."""

_REFUSALS = {
    401: "refuses the API key", 403: "refuses the API key, or what was asked for",
    429: "has had too many requests: try again later",
}  # fmt: skip


async def configured(
    owner: str, names: Sequence[str], chosen: str = "automatic", *, needs: Sequence[str] = ("api_key",)
) -> tuple[str, dict[str, Any]]:
    """Return the first of these config services that has the values that are needed, or the chosen one; and its values.

    `ToolError` names the services of which one must be configured.
    """
    wanted = [chosen] if chosen in names else names
    found = await asyncio.gather(*(values_of(owner, name) for name in wanted))
    for name, values in zip(wanted, found, strict=True):
        if values and all(values.get(each) for each in needs):
            return name, values
    which = " or ".join(wanted)
    raise ToolError(f"This needs the config service {which}, which is not configured: the user can add an entry to it.")


async def ask(
    label: str,
    method: str,
    url: str,
    *,
    query: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
    refusals: Mapping[int, str] | None = None,
) -> Any:
    """Return the JSON that a service answers with success. `ToolError` without one.

    `label` is the service's name; `refusals` say what its own statuses mean, to follow the name.
    """
    sent = {"Accept": "application/json", **(headers or {})} | ({"Content-Type": "application/json"} if body else {})
    try:
        async with outbound.request(
            method,
            f"{url}?{urlencode(query)}" if query else url,
            limit=MAX_ANSWER,
            headers=sent,
            body=orjson.dumps(body) if body else None,
            user_given=True,
            silence=SILENCE,
        ) as answer:
            if answer.status == 200:
                return await answer.json()
            why = (refusals or {}).get(answer.status) or _REFUSALS.get(answer.status)
    except outbound.OutboundError as error:
        raise ToolError(f"{label} gives no usable answer: {error}.") from None
    raise ToolError(f"{label} {why or f'answers with the status {answer.status}'}.")


@contextmanager
def reading(label: str) -> Generator[None]:
    """Read what a service has answered: `ToolError` when its members are not those that it should have."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError):
        raise ToolError(f"{label} answers in a form that is not known.") from None


def base_of(values: Mapping[str, Any], default: str) -> str:
    """Return the address of a service: the one that is configured, or its usual one; without a slash at its end."""
    return str(values.get("base_url") or default).rstrip("/")
