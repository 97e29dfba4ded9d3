"""The quotas of the service: groups, cores, and creations in a window, with the codes and headers of the service."""

from collections.abc import AsyncIterator

import pytest
from azure.core.exceptions import HttpResponseError

from tests.infra.emulator.containers.harness import EmulatorProcess, Groups, container, group


@pytest.fixture
async def own(own_emulator: EmulatorProcess) -> AsyncIterator[Groups]:
    """A client of an emulator without groups."""
    async with Groups(own_emulator.port) as groups:
        yield groups


async def refused(groups: Groups, status: int, code: str) -> HttpResponseError:
    """The error of a creation that is refused."""
    body = group(container("true"))
    with pytest.raises(HttpResponseError) as raised:
        await groups.sdk.begin_create_or_update("tests", "one-more", body, polling=False, retry_total=0)
    error = raised.value
    assert error.error
    assert (error.status_code, error.error.code) == (status, code)
    return error


async def test_the_cores_of_all_containers_in_a_location_are_limited(own: Groups):
    name = await own.create(group(container("sleep 600")))
    await own.call("PUT", "/local/limits", {"cores": 1.5})
    error = await refused(own, 409, "ContainerGroupQuotaReached")
    assert "quota 'StandardCores' exceeded in region 'westeurope'. Limit: '1.5', Usage: '1' Requested: '1'." in str(
        error
    )
    await own.delete(name)
    await own.create(group(container("true")))


async def test_creations_are_limited_and_the_answer_says_when_to_repeat(own: Groups):
    await own.call("PUT", "/local/limits", {"creates": 2, "window": 100})
    name = await own.create(group(container("true")))
    await own.delete(name)  # a deleted group still counts
    await own.create(group(container("true")))
    error = await refused(own, 429, "TooManyRequests")
    assert error.response is not None
    headers: dict[str, str] = vars(error.response)["headers"]
    assert 0 < int(headers["Retry-After"]) <= 100
    await own.call("PUT", "/local/limits", {"window": 0})
    await own.create(group(container("true")))


async def test_an_unknown_limit_is_refused(own: Groups):
    _, answer = await own.call("PUT", "/local/limits", {"grups": 3})
    assert answer["error"]["message"] == "There is no limit grups."
