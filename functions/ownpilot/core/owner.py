"""Who calls, and whose things a request is about: by API key, by JSON web token, or anyone, as `OWNPILOT_AUTH` says."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BeforeValidator, StringConstraints

from shared.api_keys import NOT_OPENED, Client, client_of, key_of
from shared.http.admission import Guard
from shared.http.errors import Forbidden, Unauthorized, Unavailable
from shared.http.routes import router
from shared.settings import settings

log = logging.getLogger(__name__)

DEFAULT = "default"
"""The user when no credential and no `userId` names one."""

ALGORITHMS = ("HS256", "HS384", "HS512")
MIN_SECRET = 32
"""Characters of the secret that signs tokens."""

MAX_TOKEN = 8192


@dataclass(frozen=True)
class Caller:
    """Who calls; `id` is empty when nobody is asked who they are."""

    id: str = ""
    is_administrator: bool = False


@dataclass(frozen=True)
class Person:
    """Whose things a request is about: `id` names the partition of all that is kept for a person."""

    id: str
    request_id: str | None = None


async def current_caller(request: Request) -> Caller:
    """Return who calls. `Unauthorized` without a credential; `Forbidden` with a wrong one, or for another's things."""
    known: Caller | None = getattr(request.state, "caller", None)
    if known is None:
        known = await _caller_of(key_of(request))
        _check_user(known, request.query_params.get("userId", ""))
        request.state.caller = known
    return known


def _check_user(caller: Caller, wanted: str) -> None:
    if wanted and caller.id not in ("", wanted) and not caller.is_administrator:
        raise Forbidden("Only an administrator's key may name another user in userId")


async def _caller_of(credential: str) -> Caller:
    mode = settings().ownpilot_auth
    if mode == "none":
        return Caller()
    if not credential:
        raise Unauthorized("Send an API key or a token: Authorization: Bearer <key>, or X-API-Key: <key>")
    return user_of_token(credential) if mode == "jwt" else await _client(credential)


async def _client(key: str) -> Caller:
    client: Client | None = await client_of(key)
    if client is None:
        raise Forbidden("This API key is not valid")
    if not client.opens("ownpilot"):
        raise Forbidden(NOT_OPENED)
    return Caller(client.id, client.is_administrator)


def user_of_token(token: str) -> Caller:
    """Return the caller whom a JSON web token names as `sub`. `Forbidden`; `Unavailable` without a usable secret."""
    import jwt  # 0.1 s

    secret = settings().ownpilot_jwt_secret
    if len(secret) < MIN_SECRET:
        log.error("OWNPILOT_JWT_SECRET must have at least %d characters", MIN_SECRET)
        raise Unavailable("Tokens cannot be checked: the secret of this app is not set or too short")
    try:
        if len(token) > MAX_TOKEN:
            raise jwt.InvalidTokenError
        claims: dict[str, Any] = jwt.decode(
            token, secret, algorithms=[*ALGORITHMS], options={"require": ["sub"], "verify_aud": False}
        )
    except (jwt.InvalidTokenError, ValueError):
        raise Forbidden("This token is not valid") from None
    if not claims["sub"]:
        raise Forbidden("This token names no user")
    return Caller(claims["sub"])


async def caller_of_socket(query: Mapping[str, list[str]]) -> Person:
    """Return whose messages a new socket gets, from its query: `api_key` or `token`, and `userId`.

    `Unauthorized`, `Forbidden`. A header cannot carry the credential, as Web PubSub takes it for one of its own.
    """
    names = ("token", "api_key") if settings().ownpilot_auth == "jwt" else ("api_key",)
    credential = next((value for name in names for value in query.get(name, []) if value), "")
    caller = await _caller_of(credential)
    wanted = next(iter(query.get("userId", [])), "")
    _check_user(caller, wanted)
    return Person(wanted or caller.id or DEFAULT)


Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
UserId = Annotated[
    Name | None,
    BeforeValidator(lambda given: given or None),
    Query(alias="userId", description="Whose things; by default those of the caller"),
]


async def current_owner(
    request: Request, caller: Annotated[Caller, Depends(current_caller)], user_id: UserId = None
) -> Person:
    """Return whose things the request is about: those of `userId`, else of the caller."""
    return Person(user_id or caller.id or DEFAULT, request.state.request_id)


_SCHEMES: dict[str, dict[str, Any]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "headerKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
CALLERS = Guard(current_caller, _SCHEMES if settings().ownpilot_auth != "none" else {})
"""The guard of all closed routes, which describes credentials only where they are asked for."""

Owner = Annotated[Person, Depends(current_owner)]
"""Parameter type of whose things a route is about."""


def routes_for(noun: str) -> APIRouter:
    """Return the router of a noun; its routes take an `Owner`, and so they check the caller."""
    return router(f"/api/v1/{noun}", noun)
