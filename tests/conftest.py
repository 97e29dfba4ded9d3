"""Fixtures of the whole suite: real Azurite in memory, on free ports."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from infra.local import azurite
from infra.local.processes import free_ports


@pytest.fixture(scope="session")
async def storage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The connection string of a fresh storage account."""
    blob, queue, table = free_ports(3)
    log: Path = tmp_path_factory.mktemp("azurite") / "azurite.log"
    child = await azurite.start((blob, queue, table), folder=None, log=log)
    yield azurite.connection_string(blob, queue, table)
    await child.stop()
