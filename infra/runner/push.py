"""Pushing a job's output to the app: in order, each byte once, through restarts of either side."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

BATCH = 1024 * 1024  # bytes of one push
BUFFER = 8 * BATCH  # bytes not pushed yet; at that the program waits
PATIENCE = 900.0  # seconds without an answer, after which nobody is there any more
# Seconds between two pushes, by how many there were: a log blob holds at most 50,000 blocks.
INTERVALS = ((10_000, 0.1), (40_000, 1.0), (49_000, 60.0))


class Over(Exception):
    """The app wants no more of this job: it has ended, was cancelled, or nobody answers."""


class JobApi:
    """The app, as a job sees it: `url` is `https://app/jobs/<id>`, every call carries the job's token."""

    def __init__(self, url: str, token: str):
        self._url, self._token = urlsplit(url), token
        self._connection: http.client.HTTPConnection | None = None

    def post(self, path: str, body: bytes, kind: str = "application/octet-stream") -> tuple[int, dict[str, Any]]:
        """(status, answer), after as many tries as it takes. `Over` when the job is, or after `PATIENCE` seconds."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": kind}
        since, pause = time.monotonic(), 0.05
        while True:
            try:
                status, answer = self._once(path, body, headers)
            except (OSError, http.client.HTTPException, ValueError) as error:
                status, answer = 0, {"error": str(error)}
                self._connection = None
            if status in (401, 404, 410):
                raise Over(answer.get("error", status))
            if 200 <= status < 500 and status not in (408, 429):
                return status, answer
            if time.monotonic() - since > PATIENCE:
                raise Over(f"no answer for {PATIENCE:.0f} s: {status} {answer.get('error', '')}")
            time.sleep(pause)
            pause = min(pause * 2, 5.0)

    def _once(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if self._connection is None:
            self._connection = connect(self._url.scheme, self._url.netloc)
        self._connection.request("POST", self._url.path + path, body, headers)
        response = self._connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if text.startswith(b"{") else {}


def connect(scheme: str, netloc: str) -> http.client.HTTPConnection:
    """A connection on which no wait is endless."""
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    return kind(netloc, timeout=60)


class Pusher:
    """A bounded buffer between the program and the app, emptied by a thread of its own."""

    def __init__(self, api: JobApi):
        self._api = api
        self._buffer, self._offset, self._closed = bytearray(), 0, False
        self._changed = threading.Condition()
        self.over: str | None = None
        """Why the app wants no more; None as long as it does."""
        self.stop = False
        """Whether the app wants the command to end."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Hand over output; waits while too much is under way."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._buffer) < BUFFER or self.over)
            if not self.over:
                self._buffer += data
            self._changed.notify_all()

    def close(self) -> int:
        """Push what is left; answers the bytes pushed in all. `Over`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        if self.over:
            raise Over(self.over)
        return self._offset

    def _run(self) -> None:
        try:
            self._push(b"")  # says that the job has started
            for pause in _pauses():
                with self._changed:
                    self._changed.wait_for(lambda: self._buffer or self._closed)
                    batch = bytes(self._buffer[:BATCH])
                    if not batch:
                        return
                self._push(batch)
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or len(self._buffer) >= BATCH, pause)
        except Over as error:
            with self._changed:
                self.over = str(error) or "over"
                self._changed.notify_all()

    def _push(self, batch: bytes) -> None:
        status, answer = self._api.post(f"/events?offset={self._offset}", batch)
        if status != 200:
            # A gap could be filled only from the buffer, and the buffer begins at what was acknowledged last.
            raise Over(f"output refused: {status} {answer}")
        with self._changed:
            del self._buffer[: len(batch)]
            self._offset += len(batch)
            self.stop = self.stop or bool(answer.get("stop"))
            self._changed.notify_all()


def _pauses() -> Iterator[float]:
    count = 0
    for limit, pause in INTERVALS:
        while count < limit:
            count += 1
            yield pause
    raise Over("the log is full")
