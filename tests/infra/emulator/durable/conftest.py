"""Fixtures: hubs that are stopped after the test, each on a file of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from azure.durable_functions.models.utils import http_utils

from tests.infra.emulator.durable.harness import EngineServer, Functions, TaskHub

# A notice of the SDK about a mode it may have one day, given once per process.
NOTICE = pytest.mark.filterwarnings("ignore:azure.functions df_loads was called without expected_type")
NewTaskHub = Callable[..., Awaitable[TaskHub]]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let the SDK's notice pass in the tests of this folder."""
    if item.path.is_relative_to(Path(__file__).parent):
        item.add_marker(NOTICE)


@pytest.fixture(scope="session", autouse=True)
async def _client_session() -> AsyncIterator[None]:
    """The SDK's client keeps one connection pool for ever; closed here, for warnings are errors."""
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
