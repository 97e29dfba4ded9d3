"""Ends the programs that failed tests leave running."""

from collections.abc import AsyncIterator

import pytest

from tests.infra.workspace.harness import killed, started


@pytest.fixture(scope="session", autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    """What a failed test leaves running is killed."""
    yield
    for process in started:
        await killed(process)
