"""Fixtures: the stand-in on a free port, an event handler that records, and clients."""

from collections.abc import AsyncIterator

import pytest

from tests.infra.emulator.webpubsub.harness import Bench, running


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A stand-in with the hubs `open` (anonymous), `closed` (token needed) and `quiet` (open, no handlers)."""
    async with running() as bench:
        yield bench
