"""The runner's modules, imported as in its image, where they lie side by side."""

import sys
import threading
from collections.abc import Iterator
from http.server import HTTPServer

import pytest

from infra.emulator.processes import ROOT
from tests.infra.runner.harness import App, Storage

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
