"""The runner's modules, imported as in its image, where they lie side by side."""

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from infra.emulator.processes import ROOT

sys.path += [str(ROOT / "infra/runner"), str(ROOT / "shared")]


class Storage(BaseHTTPRequestHandler):
    """Takes every upload."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


class App:
    """Answers what the app would; refuses files whose name contains `refused`, and the exits in `refusals`."""

    def __init__(self, uploads: str):
        self.uploads = uploads
        self.posts: list[tuple[str, bytes]] = []
        self.refusals = 0

    def post(self, path: str, body: bytes, kind: str = "") -> tuple[int, dict[str, Any]]:
        self.posts.append((path, body))
        if path == "/exit" and self.refusals:
            self.refusals -= 1
            return 400, {"error": "No"}
        if b"refused" in body:
            return 413, {"error": "File is over 5 bytes"}
        return 201, {"url": f"{self.uploads}/blob?sig=x", "blob": f"tests.kind/job/{len(self.posts)}"}


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
