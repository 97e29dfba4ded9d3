"""A container service of its own for the tests of this folder, spoken to through the vendor's SDK."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.infra.emulator.containers.service import IMAGES, Groups, Machine


@pytest.fixture(scope="session")
async def machine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Machine]:
    """The stand-in, running."""
    folder = tmp_path_factory.mktemp("containers")
    images = folder / "images.json"
    images.write_text(json.dumps(IMAGES))
    machine = Machine(folder / "state", images)
    await machine.start()
    yield machine
    await machine.stop()


@pytest.fixture(scope="session")
async def groups(machine: Machine) -> AsyncIterator[Groups]:
    """A client of it, with short words for the long calls."""
    async with Groups(machine.port) as groups:
        yield groups


@pytest.fixture
async def own_machine(tmp_path: Path) -> AsyncIterator[Machine]:
    """A stand-in that the test may kill."""
    images = tmp_path / "images.json"
    images.write_text(json.dumps(IMAGES))
    machine = Machine(tmp_path / "state", images)
    await machine.start()
    yield machine
    await machine.stop()
