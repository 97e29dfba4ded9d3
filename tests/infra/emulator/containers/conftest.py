"""A container service of its own for the tests of this folder, spoken to through the vendor's SDK."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.infra.emulator.containers.harness import IMAGES, EmulatorProcess, Groups


@pytest.fixture(scope="session")
async def emulator(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmulatorProcess]:
    """The stand-in, running."""
    folder = tmp_path_factory.mktemp("containers")
    images = folder / "images.json"
    images.write_text(json.dumps(IMAGES))
    emulator = EmulatorProcess(folder / "state", images)
    await emulator.start()
    yield emulator
    await emulator.stop()


@pytest.fixture(scope="session")
async def groups(emulator: EmulatorProcess) -> AsyncIterator[Groups]:
    """A client of it, with short words for the long calls."""
    async with Groups(emulator.port) as groups:
        yield groups


@pytest.fixture
async def own_emulator(tmp_path: Path) -> AsyncIterator[EmulatorProcess]:
    """A stand-in that the test may kill."""
    images = tmp_path / "images.json"
    images.write_text(json.dumps(IMAGES))
    emulator = EmulatorProcess(tmp_path / "state", images)
    await emulator.start()
    yield emulator
    await emulator.stop()
