"""The fixture with an emulator, an event handler that records, and clients."""

from collections.abc import AsyncIterator

import pytest

from tests.support.webpubsub import Bench, running


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """An emulator with the hubs `open` (anonymous), `closed` (token needed) and `quiet` (open, no handlers)."""
    async with running() as bench:
        yield bench
