"""The fixture with an emulator of providers."""

from collections.abc import AsyncIterator

import pytest

from infra.emulator.processes import free_ports
from infra.emulator.providers import wire


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """The address of an emulator that runs in this process."""
    [port] = free_ports(1)
    async with wire.serving(port):
        yield f"http://127.0.0.1:{port}"
