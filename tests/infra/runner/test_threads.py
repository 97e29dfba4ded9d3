"""The threads of the runner: output is pushed while files are uploaded, each over a connection of its own."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shared.order import VARIABLE, Order

WAIT = 10  # seconds; only a runner that does not do both at the same time waits so long


class Meeting(BaseHTTPRequestHandler):
    """An app and a storage service: the first push and the first file are answered once both have arrived."""

    protocol_version = "HTTP/1.1"
    server: "MeetingServer"  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        path = self.path.partition("?")[0]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((path, self.client_address[1], body))
        if path in ("/jobs/1/events", "/jobs/1/files"):
            self.server.arrived[path].set()
            for other in self.server.arrived.values():
                other.wait(WAIT)
        place = {"url": f"http://127.0.0.1:{self.server.server_port}/blob", "blob": "tests.kind/1/blob"}
        self._answer(201 if path == "/jobs/1/files" else 200, json.dumps(place).encode())

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(201, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None: ...


class MeetingServer(ThreadingHTTPServer):
    """Notes path, port of the client, and body of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Meeting)
        self.seen: list[tuple[str, int, bytes]] = []
        self.arrived = {path: threading.Event() for path in ("/jobs/1/events", "/jobs/1/files")}

    def ports(self, path: str) -> set[int]:
        return {port for seen, port, _ in self.seen if seen == path}


@pytest.fixture
def app() -> Iterator[MeetingServer]:
    server = MeetingServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_files_are_uploaded_while_output_is_pushed_and_no_connection_serves_both(
    image: Path, app: MeetingServer, tmp_path: Path
):
    # The output fits into the buffer, so that the command ends; it needs several pushes, so that some are left then.
    program = "import os; os.mkdir('kept')\nfor n in range(9): open(f'kept/{n}', 'w').close()\nprint('x' * 5_000_000)"
    order = Order(
        url=f"http://127.0.0.1:{app.server_port}/jobs/1",
        token="token",
        command=[sys.executable, "-c", program],
        directory="w",
        timeout=60,
        keep="kept",
    )
    variables = {VARIABLE: order.to_json()}
    subprocess.run([sys.executable, str(image / "runner.py")], cwd=tmp_path, env=variables, timeout=60, check=True)
    pushes, files = app.ports("/jobs/1/events"), app.ports("/jobs/1/files")
    assert len(pushes) == len(files) == 1
    assert pushes.isdisjoint(files)
    (exit_,) = [json.loads(body) for path, _, body in app.seen if path == "/jobs/1/exit"]
    assert (exit_["exit_code"], exit_["size"], len(exit_["files"])) == (0, 5_000_001, 9)
