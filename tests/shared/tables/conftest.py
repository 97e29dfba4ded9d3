"""Collections of runs on the storage emulator."""

from collections.abc import AsyncIterator

import pytest

from shared.tables import Collection
from shared.tables.client import client
from shared.tables.counted import CountedCollection
from tests.support.environments import connected
from tests.support.records import Run, collection, plain


@pytest.fixture(scope="module", autouse=True)
async def account(storage: str) -> AsyncIterator[None]:
    """The storage emulator is this process's storage account; lost requests are repeated at once."""
    async with connected(AzureWebJobsStorage=storage):
        client().wire.pause = 0.01
        yield


@pytest.fixture
def runs(account: None) -> CountedCollection[Run]:
    return collection()


@pytest.fixture(params=[{}, {"unique": ["name"]}, {"spread": 5}], ids=["simple", "unique", "spread"])
def plain_runs(request: pytest.FixtureRequest, account: None) -> Collection[Run]:
    """A plain collection of each kind."""
    return plain(**request.param)
