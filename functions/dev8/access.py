"""Who calls: a user that the request names or, where `DEV8_AUTH_ENABLED` asks for keys, the client of the key."""

import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from functions.dev8.records import DEFAULT_USER, DevEnvironment
from functions.dev8.store import environments
from shared import tables
from shared.api_keys import SCHEMES, current_client, key_of
from shared.http.admission import Guard
from shared.http.errors import InvalidRequest, NotFound, Unauthorized
from shared.jobs import token_hash
from shared.settings import settings

USER_HEADER = "x-user-id"

MAX_USER = 128
"""Characters of a user's id."""


@dataclass(frozen=True)
class Identity:
    """The caller: `user` is whose environments it may use, None for everybody's; `own` is whose a new one is.

    `reported` is the environment that shows its own token, as it was read.
    """

    user: str | None = None
    own: str = DEFAULT_USER
    reported: DevEnvironment | None = None

    @property
    def id(self) -> str:
        """Tells callers apart."""
        return self.user or ""

    def check(self, environment: DevEnvironment) -> None:
        """`Unauthorized` when the environment is another user's."""
        if self.user not in (None, environment.user_id):
            raise Unauthorized(f"environment with ID '{environment.id}' belongs to another user")

    def owner(self, named: str | None) -> str:
        """Return whose a new environment is, `named` by the body; `Unauthorized` when that is another user's."""
        if named and self.user not in (None, named):
            raise Unauthorized("environments can only be created for oneself")
        return named or self.own


async def current_caller(request: Request) -> Identity:
    """Return the caller. `Unauthorized` without a valid key where keys are asked for, or when it names another user."""
    if not settings().dev8_auth_enabled:
        named = _named(request)
        return Identity(named, named or DEFAULT_USER)
    client = await current_client(request)
    named = _named(request)
    if client.is_administrator:
        return Identity(named, named or client.id)
    if named not in (None, client.id):
        raise Unauthorized("only an administrator's key names another user")
    return Identity(client.id, client.id)


def _named(request: Request) -> str | None:
    """Return the user whom the request names; `InvalidRequest` for a text that cannot be the id of a user."""
    named = _in_header(request) or request.query_params.get("userId") or None
    if named and (len(named) > MAX_USER or "\0" in named):
        raise InvalidRequest(f"userId must have at most {MAX_USER} characters, and no NUL character")
    return named


def _in_header(request: Request) -> str:
    """Return the user in the header, "" without one: programs send a name in UTF-8, browsers in Latin-1."""
    named = request.headers.get(USER_HEADER, "")  # read as Latin-1
    try:
        return named.encode("latin-1").decode()
    except UnicodeDecodeError:
        return named


async def current_reporter(request: Request) -> Identity:
    """Return the caller of an environment's activity route, which the environment's own token opens too."""
    if settings().dev8_auth_enabled:
        environment = await _environment_of(request.path_params["environment_id"], key_of(request))
        if environment is not None:
            return Identity(environment.user_id, environment.user_id, environment)
    return await current_caller(request)


async def _environment_of(environment_id: str, token: str) -> DevEnvironment | None:
    try:
        environment = await environments.get(environment_id)
    except tables.RecordNotFound:
        return None
    return environment if secrets.compare_digest(token_hash(token), environment.token_hash) else None


@contextmanager
def existing(environment_id: str) -> Generator[None]:
    """Raise `NotFound` in the API's words when the environment has no record."""
    try:
        yield
    except tables.RecordNotFound:
        raise NotFound(f"environment with ID '{environment_id}' not found") from None


_SCHEMES = SCHEMES if settings().dev8_auth_enabled else {}
CALLERS = Guard(current_caller, _SCHEMES)
REPORTERS = Guard(current_reporter, {name: SCHEMES[name] for name in _SCHEMES if name == "bearerKey"})

Caller = Annotated[Identity, Depends(current_caller)]
"""Parameter type of a route that needs the caller."""

Reporter = Annotated[Identity, Depends(current_reporter)]
"""Parameter type of the route to which an environment reports."""
