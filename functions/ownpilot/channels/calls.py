"""Requests to the service behind a channel."""

import asyncio
import contextlib
from collections.abc import Generator
from typing import Any, NamedTuple

import orjson
from yarl import URL

from shared import outbound

LIMIT = 1_000_000
"""Bytes of an answer."""

SILENCE = 10.0
"""Seconds in which a service must begin to answer, and go on."""

PATIENCE = 15.0
"""Seconds in which its answer must be there."""

LONGEST = 300
"""Characters of a service's own words in an error."""


class ChannelFailed(Exception):
    """The service behind a channel refuses, or does not answer; the message holds no secret.

    `is_final`: asking again would change nothing.
    """

    def __init__(self, message: str, *, is_final: bool = False):
        super().__init__(message)
        self.is_final = is_final


class ServiceAnswer(NamedTuple):
    """What a service answers; `data` is JSON, None when the body is not JSON."""

    status: int
    data: Any


async def call(
    method: str,
    url: str,
    *,
    user_given: bool,
    body: dict[str, Any] | None = None,
    authorization: str = "",
    secret: str = "",
) -> ServiceAnswer:
    """Send a request, whose address holds `secret`. `ChannelFailed` when no answer comes; its words are the caller's.

    `user_given`: a person has given the address, so it must be a public one.
    """
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if authorization:
        headers["Authorization"] = authorization
    try:
        async with (
            asyncio.timeout(PATIENCE),
            outbound.request(
                method, url, limit=LIMIT, headers=headers, body=None if body is None else orjson.dumps(body),
                user_given=user_given, silence=SILENCE,
            ) as answer,
        ):  # fmt: skip
            content = await answer.read()
            status = answer.status
    except TimeoutError:
        reason, is_final = "The service takes too long to answer", False
    except outbound.OutboundError as error:
        reason, is_final = str(error), isinstance(error, outbound.AddressRefused)
    else:
        try:
            return ServiceAnswer(status, orjson.loads(content) if content else None)
        except ValueError:
            return ServiceAnswer(status, None)
    raise ChannelFailed(without(reason, secret), is_final=is_final)


@contextlib.contextmanager
def understood(service: str) -> Generator[None]:
    """`ChannelFailed`, which is final, when the answer that is read in the block is not what it should be."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ChannelFailed(f"{service}: its answer is not understood", is_final=True) from error


def without(text: str, secret: str) -> str:
    """Return a text without a secret, also where an address holds it in the spelling of yarl."""
    for spelling in filter(None, (secret, URL(f"/{secret}").raw_path[1:])):
        text = text.replace(spelling, "...")
    return text


def refused(service: str, status: int, reason: Any) -> ChannelFailed:
    """Return the error for a status that is no success: 429 and failures of the service may be tried again."""
    said = str(reason)[:LONGEST] if reason else f"status {status}"
    return ChannelFailed(f"{service}: {said}", is_final=400 <= status < 500 and status not in (408, 429))
