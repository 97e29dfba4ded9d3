"""Authentication: every caller is accepted unless the setting `STEPFLOW_AUTH_ENABLED` requires API keys."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from functions.stepflow.updates import HUB
from shared.api_keys import INVALID, NOT_OPENED, SCHEMES, client_of, current_client
from shared.http.admission import Guard
from shared.http.errors import Forbidden, Unauthorized
from shared.http.routes import router
from shared.settings import settings


@dataclass(frozen=True)
class Identity:
    """The caller; every caller is `anonymous` when no keys are required."""

    id: str = ""
    name: str = "anonymous"
    is_administrator: bool = False


async def current_caller(request: Request) -> Identity:
    """Return the caller, known by the request's API key when keys are required. `Unauthorized` without a valid key."""
    if not settings().stepflow_auth_enabled:
        return Identity()
    client = await current_client(request)
    return Identity(client.id, client.name, client.is_administrator)


async def authenticate_socket(opened: dict[str, Any]) -> None:
    """When keys are required, check the key in the query parameter `api_key` of a new socket.

    `Unauthorized` without a valid key, `Forbidden` when it does not open this API. `opened` is Web PubSub's connect
    event, whose `query` maps each name to a list of values. A bearer header cannot carry the key, because Web PubSub
    takes it for one of its own access tokens.
    """
    if not settings().stepflow_auth_enabled:
        return
    for key in opened.get("query", {}).get("api_key", []):
        if key and (client := await client_of(key)):
            if not client.opens(HUB):
                raise Forbidden(NOT_OPENED)
            return
    raise Unauthorized(INVALID)


CALLERS = Guard(current_caller, SCHEMES if settings().stepflow_auth_enabled else {})
"""The guard of all routes of this API, which describes keys only where they are asked for."""

Caller = Annotated[Identity, Depends(current_caller)]
"""Parameter type of a route that needs the caller."""


def routes_for(prefix: str, tag: str) -> APIRouter:
    """Return the router of one resource; all of its routes check the caller."""
    return router(prefix, tag, dependencies=[Depends(current_caller)])
