"""How many environments a user, and all users together, may have: each takes a numbered place, exact at any rush."""

import asyncio
import random
from datetime import UTC, datetime

from functions.dev8.records import Environment, Place
from functions.dev8.store import places
from shared.http.errors import BadRequest
from shared.settings import settings
from shared.tables.ids import derived_id

EVERYONE = "everyone"
_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


async def claim(environment: Environment) -> None:
    """Take a place among all environments and one among its user's; `BadRequest` when there is none.

    An environment that has places keeps them. Cost: 2 queries and 2 inserts, more when others take a place meanwhile.
    """
    config, user = settings(), environment.user_id
    in_all, in_own = await asyncio.gather(
        _claim(EVERYONE, config.dev8_environments, environment),
        _claim(_scope(user), config.dev8_user_environments, environment),
    )
    if in_all and in_own:
        return
    await release(environment.id, user)
    if not in_own:
        limit = config.dev8_user_environments
        raise BadRequest(f"user {user} has {limit} environments, and may have no more: delete one")
    raise BadRequest(f"there are {config.dev8_environments} environments, and may be no more: try again later")


async def release(environment_id: str, user_id: str) -> None:
    """Give its places back; without any this does nothing."""
    mine = {"environment_id": environment_id}
    await asyncio.gather(places.of(EVERYONE).clear(mine), places.of(_scope(user_id)).clear(mine))


async def taken() -> list[Place]:
    """Return the places that are taken among all environments."""
    return [place async for place in places.of(EVERYONE).all()]


def _scope(user_id: str) -> str:
    return f"user {user_id}"


async def _claim(scope: str, limit: int, environment: Environment) -> bool:
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
        place = Place(
            id=chosen,
            created_at=_EPOCH,
            environment_id=environment.id,
            user_id=environment.user_id,
            since=datetime.now(UTC),
        )
        if (await own.insert(place)).environment_id == environment.id:
            return True


def _place_id(number: int) -> str:
    return derived_id(_EPOCH, f"place {number}")
