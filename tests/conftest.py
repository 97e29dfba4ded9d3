"""Fixtures of the whole suite: real Azurite in memory, and the real app on the local host, on free ports."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from infra.emulator import azurite
from infra.emulator.processes import free_ports
from infra.local.environment import NODE_MODULES, Environment
from shared import blobs, containers, realtime, tables
from shared.settings import settings
from shared.storage import connect

T = TypeVar("T")

UNLIMITED = {"RUNYARD_RATE_MINUTE": "0", "RUNYARD_RATE_SECOND": "0"}
"""Settings under which nobody is told to wait."""


@pytest.fixture(scope="session")
async def storage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The connection string of a fresh storage account."""
    blob, queue, table = free_ports(3)
    log: Path = tmp_path_factory.mktemp("azurite") / "azurite.log"
    child = await azurite.start((blob, queue, table), node_modules=NODE_MODULES, folder=None, log=log)
    yield azurite.connection_string(blob, queue, table)
    await child.stop()


@contextlib.asynccontextmanager
async def connected(**values: str) -> AsyncIterator[None]:
    """This process as a part of the app that has these settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        await _forget_settings()
        connect()
        yield
    await _forget_settings()


async def _forget_settings() -> None:
    """Settings are read again, and connections made again, when they are needed next."""
    settings.cache_clear()
    for part in (tables, blobs, containers, realtime):
        await part.close()


@pytest.fixture(scope="module")
async def account(storage: str) -> AsyncIterator[None]:
    """The storage emulator is this process's storage account."""
    async with connected(AzureWebJobsStorage=storage):
        yield


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Environment]:
    """The whole local environment, shared by all tests that only talk to it."""
    environment = Environment.temporary(
        tmp_path_factory.mktemp("stack"),
        RUNYARD_ARTIFACT_LIMIT="100000000",
        **UNLIMITED,
        AzureFunctionsJobHost__extensions__queues__maxPollingInterval="00:00:01",
    )
    await environment.start()
    yield environment
    await environment.stop()


@pytest.fixture(scope="session")
async def http(stack: Environment) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app without any credential."""
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=stack.url, timeout=60, limits=limits, trust_env=False) as client:
        yield client


async def eventually(probe: Callable[[], Awaitable[T]], *, seconds: float = 30, until: Callable[[T], Any] = bool) -> T:
    """What `probe` answers as soon as `until` holds for it; fails with its last answer after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = await probe()
        if until(value):
            return value
        assert time.monotonic() < deadline, f"still {value!r} after {seconds} s"
        await asyncio.sleep(0.05)
