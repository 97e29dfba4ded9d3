"""What the runner talks to: the app and a storage service."""

from http.server import BaseHTTPRequestHandler
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
