"""How many environments a user, and all users together, may have: each takes a place, exact at any rush."""

import asyncio
import contextlib
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from functions.dev8.records import DevEnvironment, TakenPlace
from functions.dev8.store import environments, places
from shared.http.errors import BadRequest
from shared.settings import settings
from shared.tables import BoundPassed, RecordNotFound
from shared.tables.ids import derived_id

EVERYONE = "everyone"
STALE = timedelta(hours=1)
"""How long an environment may have a place without a record, which it gets within seconds."""

_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


async def claim(environment: DevEnvironment) -> None:
    """Take a place among the environments of its user, then one among all; `BadRequest` when there is none.

    An environment that has places keeps them. 2 calls.
    """
    config, user = settings(), environment.user_id
    limit = config.dev8_user_environments
    if not await _claim(_scope(user), limit, environment):
        await _release_stale(user)
        if not await _claim(_scope(user), limit, environment):
            raise BadRequest(f"user {user} has {limit} environments, and may have no more: delete one")
    if not await _claim(EVERYONE, config.dev8_environments, environment):
        await release(environment.id, user)
        limit = config.dev8_environments
        raise BadRequest(f"there are {limit} environments, and may be no more: try again later")


async def release(environment_id: str, user_id: str) -> None:
    """Give its places back; without any this does nothing."""
    await asyncio.gather(*(_release(scope, environment_id) for scope in (EVERYONE, _scope(user_id))))


async def _release(scope: str, environment_id: str) -> None:
    with contextlib.suppress(RecordNotFound):
        await places.of(scope).delete(_place_id(environment_id))


async def stale(scope: str, known: Collection[str]) -> list[TakenPlace]:
    """Return the places of a scope whose environment is not `known`, because its creation was interrupted long ago."""
    before = datetime.now(UTC) - STALE
    return [
        place async for place in places.of(scope).all() if place.since < before and place.environment_id not in known
    ]


async def _release_stale(user_id: str) -> None:
    known = {each.id async for each in environments.all({"user_id": user_id})}
    for place in await stale(_scope(user_id), known):
        await release(place.environment_id, user_id)


def _scope(user_id: str) -> str:
    return f"user {user_id}"


def _place_id(environment_id: str) -> str:
    return derived_id(_EPOCH, environment_id)


async def _claim(scope: str, limit: int, environment: DevEnvironment) -> bool:
    """Take a place of a scope; False when it has none."""
    place = TakenPlace(
        id=_place_id(environment.id), created_at=_EPOCH, environment_id=environment.id, user_id=environment.user_id,
        since=datetime.now(UTC),
    )  # fmt: skip
    try:
        await places.of(scope).within(limit).insert(place)
    except BoundPassed:
        try:
            await places.of(scope).get(place.id)  # it is one of those that fill the scope
        except RecordNotFound:
            return False
    return True
