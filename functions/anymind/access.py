"""Who calls, and what they own: users known by an API key or a token, and their records."""

from typing import Annotated

from fastapi import Depends, Path, Request

from functions.anymind.records import Agent, AgentVersion, Execution, User
from functions.anymind.store import agents, executions, versions
from shared import tables
from shared.http.errors import NotFound
from shared.http.paging import Digits

RecordId = Annotated[int, Digits, Path(description="A whole number")]
"""Parameter type of an id in a path; anything but digits gets 400."""


async def current_user(request: Request) -> User:
    """Return the caller. The header `X-API-Key` decides when it is there, also when it is wrong, else the token."""
    raise NotImplementedError


async def token_user(request: Request) -> User:
    """Return the caller by the token in `Authorization: Bearer <token>`; an API key does not count."""
    raise NotImplementedError


CurrentUser = Annotated[User, Depends(current_user)]
"""Parameter type of a route whose callers show an API key or a token."""

TokenUser = Annotated[User, Depends(token_user)]
"""Parameter type of a route whose callers show a token."""


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
