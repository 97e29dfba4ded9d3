"""What the runner talks to: the app and a storage service."""

import json
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


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


class Jobs(BaseHTTPRequestHandler):
    """An app that takes every push."""

    protocol_version = "HTTP/1.1"
    server: "JobsServer"  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        path, body = self.path.partition("?")[0], self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((path, json.loads(body) if path.endswith("/exit") else body))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None: ...


class JobsServer(ThreadingHTTPServer):
    """Notes each push with its path; that of an exit as JSON."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Jobs)
        self.posts: list[tuple[str, Any]] = []

    def output(self, job: str) -> str:
        """The whole output of a job that has ended."""
        pushed = b"".join(body for path, body in self.posts if path == f"/jobs/{job}/events")
        (end,) = [body for path, body in self.posts if path == f"/jobs/{job}/exit"]
        return (pushed + b64decode(end["output"])).decode()
