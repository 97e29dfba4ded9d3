"""How many environments a user, and all users together, may have: each takes a numbered place, exact at any rush."""

import asyncio
import random
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import cache

from functions.dev8.records import DevEnvironment, Slot
from functions.dev8.store import environments, places
from shared.http.errors import BadRequest
from shared.settings import settings
from shared.tables.ids import derived_id

EVERYONE = "everyone"
STALE = timedelta(hours=1)
"""How long an environment may have a place without a record, which it gets within seconds."""

_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


async def claim(environment: DevEnvironment) -> None:
    """Take a place among the environments of its user, then one among all; `BadRequest` when there is none.

    An environment that has places keeps them. Cost: 2 queries and 2 inserts, more when others take a place meanwhile.
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
    mine = {"environment_id": environment_id}
    await asyncio.gather(places.of(EVERYONE).clear(mine), places.of(_scope(user_id)).clear(mine))


async def stale(scope: str, known: Collection[str]) -> list[Slot]:
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


async def _claim(scope: str, limit: int, environment: DevEnvironment) -> bool:
    """Take a free place of a scope; False when it has none."""
    own = places.of(scope)
    while True:
        found = {place.id: place.environment_id async for place in own.all()}
        if environment.id in found.values():
            return True
        free = [number for number in map(_place_id, range(limit)) if number not in found]
        if not free or len(found) >= limit:
            return False
        # Two that choose the same place have the same id; the insert returns the one that was first.
        chosen = random.choice(free)  # noqa: S311 - it only keeps those who come together apart
        place = Slot(
            id=chosen,
            created_at=_EPOCH,
            environment_id=environment.id,
            user_id=environment.user_id,
            since=datetime.now(UTC),
        )
        if (await own.insert(place)).environment_id == environment.id:
            return True


@cache
def _place_id(number: int) -> str:
    return derived_id(_EPOCH, f"place {number}")
