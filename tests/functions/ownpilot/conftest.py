"""What the tests of OwnPilot share."""

import httpx
import pytest

from tests.support.ownpilot import OwnPilot


@pytest.fixture
def me(http: httpx.AsyncClient) -> OwnPilot:
    """A person who keeps nothing yet."""
    return OwnPilot(http)
