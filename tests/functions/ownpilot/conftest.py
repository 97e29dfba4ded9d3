"""What the tests of OwnPilot share."""

from collections.abc import AsyncIterator

import httpx
import pytest

from infra.local.environment import Environment
from tests.support.outside import Outside, serving_outside
from tests.support.ownpilot import OwnPilot


@pytest.fixture
def me(http: httpx.AsyncClient) -> OwnPilot:
    """A person who keeps nothing yet."""
    return OwnPilot(http)


@pytest.fixture(scope="module")
async def module_outside(stack: Environment) -> AsyncIterator[Outside]:
    """What lies outside, for the tests of a module, which this process is connected for."""
    async with serving_outside(stack) as world:
        yield world


@pytest.fixture
async def world(module_outside: Outside) -> AsyncIterator[Outside]:
    """What lies outside; it answers as it does by default."""
    yield module_outside
    await module_outside.reset()
