"""Access tokens: JSON web tokens signed with the access key, each issued for one address (its audience)."""

import time
from typing import Any
from urllib.parse import unquote, urlsplit

import jwt


class InvalidToken(Exception):
    """The token is not valid for this address; the message says why."""


def claims(token: str, *, key: str, hosts: set[str], path: str) -> dict[str, Any]:
    """The claims of a token issued for `path` on one of `hosts`. Raises InvalidToken."""
    try:
        content: dict[str, Any] = jwt.decode(
            token, key, algorithms=["HS256"], options={"require": ["exp", "aud"], "verify_aud": False}, leeway=5
        )
    except jwt.InvalidTokenError as error:
        raise InvalidToken(str(error)) from None
    named = content["aud"]
    audiences: list[str] = named if isinstance(named, list) else [str(named)]
    for audience in audiences:
        url = urlsplit(audience)  # the audience of a REST token includes the query, which does not count
        if url.netloc.lower() in hosts and unquote(url.path) == path:
            return content
    raise InvalidToken(f"The token is for {named}")


def client_token(
    audience: str, *, key: str, user_id: str | None, roles: list[str], groups: list[str], minutes: int
) -> str:
    """A token with which a client can connect to the socket address `audience`."""
    now = int(time.time())
    content: dict[str, Any] = {"aud": audience, "iat": now, "exp": now + 60 * minutes}
    content |= {"sub": user_id} if user_id is not None else {}
    content |= {"role": roles} if roles else {}
    content |= {"webpubsub.group": groups} if groups else {}
    return jwt.encode(content, key, algorithm="HS256")


def listed(value: Any) -> list[str]:
    """The values of a claim, which may be absent, one value, or a list."""
    if value is None:
        return []
    items: list[Any] = value if isinstance(value, list) else [value]
    return [str(item) for item in items]
