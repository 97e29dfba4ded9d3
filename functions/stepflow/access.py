"""Who calls: everybody, unless the setting `STEPFLOW_AUTH_ENABLED` asks for keys."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from shared.api_keys import INVALID, SCHEMES, client_of, current_client
from shared.http.admission import Guard
from shared.http.errors import Unauthorized
from shared.http.routes import router
from shared.settings import settings


@dataclass(frozen=True)
class Identity:
    """Who calls; without keys everybody is `anonymous`."""

    id: str = ""
    name: str = "anonymous"


async def current_caller(request: Request) -> Identity:
    """The caller, by the key of the request where keys are asked for. `Unauthorized`."""
    if not settings().stepflow_auth_enabled:
        return Identity()
    client = await current_client(request)
    return Identity(client.id, client.name)


async def admit_socket(opened: dict[str, Any]) -> None:
    """Let a socket open, by the query's `api_key` where keys are asked for. `Unauthorized`.

    `opened` is the service's connect event, whose `query` maps each name to a list of values. A bearer header would be
    taken for the service's own token.
    """
    if not settings().stepflow_auth_enabled:
        return
    for key in opened.get("query", {}).get("api_key", []):
        if key and await client_of(key):
            return
    raise Unauthorized(INVALID)


CALLERS = Guard(current_caller, SCHEMES)
"""The guard of this API."""

Caller = Annotated[Identity, Depends(current_caller)]
"""Parameter type of a route that wants to know who calls."""


def routes_for(prefix: str, tag: str) -> APIRouter:
    """The routes of one resource, none of them open to who may not call."""
    return router(prefix, tag, dependencies=[Depends(current_caller)])
