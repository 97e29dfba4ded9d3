"""Fixtures: task hubs that are stopped after the test, each with a database of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from azure.durable_functions.models.utils import http_utils

from tests.infra.emulator.durable.harness import EngineServer, Functions, TaskHub

# A warning of the SDK about a future mode, issued once in each process.
NOTICE = pytest.mark.filterwarnings("ignore:azure.functions df_loads was called without expected_type")
NewTaskHub = Callable[..., Awaitable[TaskHub]]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Ignore the SDK's warning in the tests of this folder."""
    if item.path.is_relative_to(Path(__file__).parent):
        item.add_marker(NOTICE)


@pytest.fixture(scope="session", autouse=True)
async def _client_session() -> AsyncIterator[None]:
    """Close the connection pool of the SDK's client, which would cause a warning at the end of the process."""
    yield
    await http_utils._close_session()


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[EngineServer]:
    server = EngineServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def new_hub(server: EngineServer, tmp_path: Path) -> AsyncIterator[NewTaskHub]:
    hubs: list[TaskHub] = []

    async def start(functions: Functions, **options: Any) -> TaskHub:
        hub = TaskHub(functions, server, tmp_path / f"durable-{len(hubs)}.db", **options)
        hubs.append(await hub.start())
        return hub

    yield start
    for hub in hubs:
        await hub.stop()
