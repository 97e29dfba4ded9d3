"""The sample app, served by the local host over real storage."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from infra.emulator.processes import Child, free_ports, listening, python

APP = Path(__file__).parent / "http/sample"


@pytest.fixture(scope="session")
async def sample_host(storage: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[str, Path]]:
    """The address of the host that serves the sample app, and the host's log."""
    (port,), state = free_ports(1), tmp_path_factory.mktemp("sample")
    options = ["--app", str(APP), "--port", str(port), "--state", str(state / "host")]
    command = python("infra.emulator.host", *options, "--allow-origin", "*")  # the app's own CORS is tested
    child = Child("sample", command, log=state / "host.log", env={"AzureWebJobsStorage": storage})
    await child.start(lambda: listening(port))
    yield f"http://127.0.0.1:{port}", state / "host.log"
    await child.kill()


@pytest.fixture
async def sample(sample_host: tuple[str, Path]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API with choices of its own."""
    async with httpx.AsyncClient(base_url=f"{sample_host[0]}/sample", timeout=20, trust_env=False) as client:
        yield client


@pytest.fixture
async def bare(sample_host: tuple[str, Path]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API with the defaults."""
    async with httpx.AsyncClient(base_url=f"{sample_host[0]}/bare", timeout=20, trust_env=False) as client:
        yield client
