"""File shares, against the local storage management, and what it does not answer."""

from collections.abc import AsyncIterator

import pytest

from infra.emulator.processes import free_ports
from infra.local.environment import Environment
from shared import containers, shares
from shared.tables.ids import new_id
from tests.support.environments import connected

ACCOUNT = "sharestest"


@pytest.fixture(scope="module", autouse=True)
async def app(stack: Environment) -> AsyncIterator[None]:
    """This process makes its shares where the running app does."""
    async with connected(**stack.app_settings):
        yield


@pytest.fixture
async def name() -> AsyncIterator[str]:
    """The name of a share that is deleted after the test."""
    name = f"test-{new_id()}"
    yield name
    await shares.delete(ACCOUNT, name)


async def names() -> list[str]:
    return [found async for found in shares.names(ACCOUNT)]


async def test_a_share_is_created_once_listed_and_deleted_with_its_files(stack: Environment, name: str):
    await shares.create(ACCOUNT, name, 20, {"owner": "me"})
    folder = stack.state / f"containers/shares/{ACCOUNT}/{name}"
    (folder / "file").write_text("x")
    await shares.create(ACCOUNT, name, 20, {"owner": "me"})
    assert (folder / "file").exists()
    assert name in await names()
    assert await shares.metadata(ACCOUNT, name) == {"owner": "me"}
    await shares.delete(ACCOUNT, name)
    assert (name in await names(), folder.exists()) == (False, False)
    assert await shares.metadata(ACCOUNT, name) is None
    await shares.delete(ACCOUNT, name)  # a repeat is no error


async def test_the_key_of_an_account_is_always_the_same():
    assert await shares.key(ACCOUNT) == await shares.key(ACCOUNT)
    assert await shares.key(ACCOUNT) != await shares.key("another")


async def test_a_name_that_no_share_may_have_is_refused():
    with pytest.raises(containers.ContainerRefused, match="share name"):
        await shares.create(ACCOUNT, "Not A Name", 20, {})


async def test_a_service_that_does_not_answer_is_unavailable(name: str):
    async with connected(RUNYARD_ARM_ENDPOINT=f"http://127.0.0.1:{free_ports(1)[0]}"):
        for call in (shares.create(ACCOUNT, name, 20, {}), shares.key(ACCOUNT), shares.delete(ACCOUNT, name), names()):
            with pytest.raises(containers.ContainersUnavailable, match="does not answer"):
                await call
