"""Who calls, and what they own: users known by an API key or a token, and their records."""

from typing import Annotated

from fastapi import Depends, Path, Request

from functions.anymind import tokens
from functions.anymind.records import Agent, AgentVersion, ApiKey, Execution, User
from functions.anymind.store import agents, api_keys, executions, users, versions
from shared import tables
from shared.api_keys import key_hash
from shared.caller_cache import CallerCache
from shared.http.admission import Guard
from shared.http.errors import Forbidden, NotFound, Unauthorized
from shared.http.paging import Digits

RecordId = Annotated[int, Digits, Path(description="A whole number")]
"""Parameter type of an id in a path; anything but digits gets 400."""

_keys = CallerCache(api_keys, "key_hash", used="last_used_at")
_users = CallerCache(users, "id")

_BEARER = {"bearerToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
_KEY = {"apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}


def forget_key(key: ApiKey) -> None:
    """Look a key up again when it is shown next: it has changed."""
    _keys.forget(key.key_hash)


async def current_user(request: Request) -> User:
    """Return the caller. The header `X-API-Key` decides when it is there, also when it is wrong; else the token.

    `Unauthorized` without a valid key or token, `Forbidden` for an inactive user.
    """
    key = request.headers.get("x-api-key")
    if key is None:
        return await token_user(request)
    known: User | None = getattr(request.state, "user", None)
    if known is not None:
        return known
    found = await _keys.find(key_hash(key))
    return await _user(request, found.user_id if found and found.is_active else None, "Invalid API key")


async def token_user(request: Request) -> User:
    """Return the caller by the token in `Authorization: Bearer <token>`; an API key does not count.

    `Unauthorized` without a valid token, `Forbidden` for an inactive user.
    """
    known: User | None = getattr(request.state, "user", None)
    if known is not None:
        return known
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Not authenticated", headers={"WWW-Authenticate": "Bearer"})
    return await _user(request, tokens.user_of(token.strip()), "Invalid or expired token")


async def _user(request: Request, user_id: str | None, refusal: str) -> User:
    """Return the user, who is then known for the rest of the request; `Unauthorized` when there is none."""
    user = await _users.find(user_id) if user_id else None
    if user is None:
        raise Unauthorized(refusal, headers={"WWW-Authenticate": "Bearer"})
    if not user.is_active:
        raise Forbidden("Inactive user")
    request.state.user = user
    return user


CurrentUser = Annotated[User, Depends(current_user)]
"""Parameter type of a route whose callers show an API key or a token."""

TokenUser = Annotated[User, Depends(token_user)]
"""Parameter type of a route whose callers show a token."""

GUARDS = [Guard(current_user, _KEY | _BEARER), Guard(token_user, _BEARER)]


async def owned_agent(user: User, agent_id: int | str) -> Agent:
    """Return an agent of this user; `NotFound` when it is another's, or deleted."""
    agent = await agents.get(str(agent_id))
    if agent.user_id != user.id or agent.deleted:
        raise NotFound("Agent not found")
    return agent


async def owned_version(user: User, version_id: int | str) -> AgentVersion:
    """Return a version of one of this user's agents; otherwise `NotFound`."""
    try:
        version = await versions.get(str(version_id))
        await owned_agent(user, version.agent_id)
    except (NotFound, tables.RecordNotFound):
        raise NotFound("Agent version not found") from None
    return version


async def owned_execution(user: User, execution_id: int | str) -> Execution:
    """Return an execution of this user; otherwise `NotFound`."""
    execution = await executions.get(str(execution_id))
    if execution.user_id != user.id:
        raise NotFound("Execution not found")
    return execution
