"""Places: how many environments there may be, exact however many come at once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from functions.dev8 import places
from functions.dev8.records import CloudProvider, DevEnvironment
from functions.dev8.store import environments
from shared.http.errors import BadRequest
from tests.support.dev8 import new_user
from tests.support.environments import connected


@pytest.fixture(autouse=True, scope="module")
async def limits(storage: str) -> AsyncIterator[None]:
    """Seven environments for all, five for a user."""
    async with connected(AzureWebJobsStorage=storage, DEV8_ENVIRONMENTS="7", DEV8_USER_ENVIRONMENTS="5"):
        yield


def environment(user: str) -> DevEnvironment:
    return DevEnvironment(
        user_id=user, name="x", cloud_provider=CloudProvider.AZURE, cloud_region="eastus", cpu_cores=1, memory_gb=1,
        storage_gb=10, base_image="x",
    )  # fmt: skip


async def claim(*wanted: DevEnvironment) -> tuple[list[DevEnvironment], set[str]]:
    """Those that got a place, and why the others did not."""
    results = await asyncio.gather(*map(places.claim, wanted), return_exceptions=True)
    assert all(result is None or isinstance(result, BadRequest) for result in results), results
    got = [each for each, result in zip(wanted, results, strict=True) if result is None]
    return got, {str(result) for result in results if result is not None}


async def taken() -> list[str]:
    """The environments that have a place among all."""
    return [place.environment_id async for place in places.places.of(places.EVERYONE).all()]


async def release(*taken: DevEnvironment) -> None:
    await asyncio.gather(*(places.release(each.id, each.user_id) for each in taken))


async def test_twenty_at_once_of_one_user_get_exactly_the_places_of_a_user():
    user = new_user()
    got, refusals = await claim(*(environment(user) for _ in range(20)))
    assert len(got) == 5
    assert refusals == {f"user {user} has 5 environments, and may have no more: delete one"}
    await release(got[0])
    assert len((await claim(environment(user)))[0]) == 1
    await places.places.of(places.EVERYONE).clear()


async def test_twenty_users_at_once_get_exactly_the_places_of_all():
    got, refusals = await claim(*(environment(new_user()) for _ in range(20)))
    assert len(got) == 7
    assert refusals == {"there are 7 environments, and may be no more: try again later"}
    assert set(await taken()) == {each.id for each in got}
    await release(*got)
    assert await taken() == []


async def test_an_environment_that_has_its_places_keeps_them():
    mine = environment(new_user())
    await claim(mine)
    await claim(mine)
    assert len(await taken()) == 1
    await release(mine)
    await release(mine)


async def test_a_refused_environment_leaves_no_place_behind():
    user = new_user()
    got, _ = await claim(*(environment(user) for _ in range(5)))
    assert (await claim(environment(user)))[0] == []
    assert len(await taken()) == 5
    await release(*got)


async def test_a_user_that_is_called_as_all_users_together_has_places_of_its_own():
    got, _ = await claim(environment(places.EVERYONE))
    assert len(await taken()) == 1
    await release(*got)


async def test_a_place_whose_creation_was_interrupted_long_ago_is_given_back_when_it_is_needed():
    user = new_user()
    interrupted, *others = (await claim(*(environment(user) for _ in range(5))))[0]
    for each in others:
        await environments.insert(each)
    assert (await claim(environment(user)))[0] == []
    scope = places.places.of(f"user {user}")
    [place] = [place async for place in scope.all() if place.environment_id == interrupted.id]
    await scope.update(place.id, lambda place: setattr(place, "since", place.since - timedelta(hours=2)))
    assert len((await claim(environment(user)))[0]) == 1
    assert interrupted.id not in await taken()
