"""An emulator of Container Instances for the tests of this folder, and a client of it through the vendor's SDK."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.infra.emulator.containers.harness import IMAGES, EmulatorProcess, Groups


@pytest.fixture(scope="session")
async def emulator(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmulatorProcess]:
    """A running emulator, shared by all tests."""
    folder = tmp_path_factory.mktemp("containers")
    images = folder / "images.json"
    images.write_text(json.dumps(IMAGES))
    emulator = EmulatorProcess(folder / "state", images)
    await emulator.start()
    yield emulator
    await emulator.stop()


@pytest.fixture(scope="session")
async def groups(emulator: EmulatorProcess) -> AsyncIterator[Groups]:
    """A client of the shared emulator."""
    async with Groups(emulator.port) as groups:
        yield groups


@pytest.fixture
async def own_emulator(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[EmulatorProcess]:
    """A running emulator of the test's own, which it may kill; an indirect parameter is a tuple of its options."""
    images = tmp_path / "images.json"
    images.write_text(json.dumps(IMAGES))
    emulator = EmulatorProcess(tmp_path / "state", images, *getattr(request, "param", ()))
    await emulator.start()
    yield emulator
    await emulator.stop()
