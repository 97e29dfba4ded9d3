"""The runner's modules, imported as in its image, where they lie side by side."""

import re
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import HTTPServer
from pathlib import Path

import pytest

from infra.emulator.processes import ROOT
from tests.infra.runner.harness import App, JobsServer, Storage

sys.path += [str(ROOT / "infra/runner"), str(ROOT / "shared")]


@pytest.fixture(scope="session")
def uploads() -> Iterator[str]:
    """The address of a storage service."""
    server = HTTPServer(("127.0.0.1", 0), Storage)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def api(uploads: str) -> App:
    """The app as the runner sees it."""
    return App(uploads)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the Dockerfile copies to `/runner/`."""
    folder = tmp_path_factory.mktemp("image")
    copied = re.search(r"^COPY (.+) /runner/$", (ROOT / "infra/runner/Dockerfile").read_text(), re.MULTILINE)
    assert copied
    for pattern in copied[1].split():
        for path in ROOT.glob(pattern):
            shutil.copy(path, folder)
    return folder


@pytest.fixture
def jobs_server() -> Iterator[JobsServer]:
    """An app that takes every push."""
    server = JobsServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
