"""Pushing a job's output to the app: in order, each byte counted once, also when the app restarts."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from http11 import HttpConnection
from order import AGES  # pyright: ignore[reportMissingImports] - see runner

BATCH = 1024 * 1024  # bytes of one push
REST = 32 * 1024  # bytes that are left for the report of the exit
QUIET = 0.1  # seconds without output, after which an empty push says that the command runs
TOGETHER = 0.01  # seconds from the first output to its push, in which the command may end
BUFFER = 8 * BATCH  # bytes not pushed yet; when there are more, the command waits
PATIENCE = 900.0  # seconds without an answer, after which the runner gives up
# (number of pushes, seconds between two of them up to that number): a log blob holds at most 50,000 blocks.
INTERVALS = ((10_000, 0.1), (40_000, 1.0), (49_000, 60.0))
APART = 0.01  # seconds between two moments of output that are told apart
MOMENTS = 200  # moments in one push


class Over(Exception):
    """The app accepts no more from this job: it has ended, was cancelled, or the app does not answer."""


class JobApi:
    """The app's endpoint for one job: `url` is `https://app/jobs/<id>`, every request carries the job's token.

    It has one connection, so each thread needs an instance of its own.
    """

    def __init__(self, url: str, token: str):
        self._url, self._token = urlsplit(url), token
        self._connection = HttpConnection(self._url.scheme, self._url.netloc)

    def post(
        self,
        path: str,
        body: bytes,
        kind: str = "application/octet-stream",
        headers: Callable[[], dict[str, str]] = dict,
    ) -> tuple[int, dict[str, Any]]:
        """Send a request, again and again while the app does not answer; return (status, body).

        `headers` are made for each attempt. `Over` when the job has ended or the token is unknown, and after `PATIENCE`
        seconds without an answer.
        """
        own = {"Authorization": f"Bearer {self._token}", "Content-Type": kind}
        since, pause = time.monotonic(), 0.05
        while True:
            try:
                status, answer = self._once(path, body, {**own, **headers()})
            except (OSError, ValueError) as error:
                status, answer = 0, {"error": str(error)}
            # The platform refuses too, in words of its own, while the app starts or its settings change.
            passing = status in (408, 429) or (status in (401, 403, 404) and "error" not in answer)
            if status in (401, 404, 410) and not passing:
                raise Over(answer.get("error", status))
            if 200 <= status < 500 and not passing:
                return status, answer
            if time.monotonic() - since > PATIENCE:
                raise Over(f"no answer for {PATIENCE:.0f} s: {status} {answer.get('error', '')}")
            time.sleep(pause)
            pause = min(pause * 2, 5.0)

    def _once(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        response = self._connection.request("POST", self._url.path + path, body, headers)
        text = response.read()
        return response.status, json.loads(text) if text.startswith(b"{") else {}


class Pusher:
    """A bounded buffer between the command and the app; a thread of its own pushes what is in it.

    `together` is how many seconds the first output waits for the end of the command.
    """

    def __init__(self, api: JobApi, together: float = TOGETHER):
        self._api, self._together = api, together
        self._buffer, self._offset, self._closed = bytearray(), 0, False
        self._moments: list[tuple[int, float]] = []  # offset of output, and the time at which it was written
        self._changed = threading.Condition()
        self.over: str | None = None
        """Why the app accepts no more output; None while it does."""
        self.in_line = False
        """Whether the output does not end with a newline."""
        self.stop = False
        """Whether the app has asked to end the command."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def write(self, data: bytes, came: float | None = None) -> None:
        """Add output, which came now or at this time of the monotonic clock; waits while the buffer is full."""
        if not data:
            return
        self.in_line = not data.endswith(b"\n")
        now = time.monotonic() if came is None else came
        with self._changed:
            self._changed.wait_for(lambda: len(self._buffer) < BUFFER or self.over)
            if not self.over:
                if not self._moments or now - self._moments[-1][1] >= APART:
                    self._moments.append((self._offset + len(self._buffer), now))
                self._buffer += data
            self._changed.notify_all()

    def close(self) -> tuple[int, bytes, str]:
        """Push all but the last bytes; return the number of bytes in all, the last ones, and their ages.

        `Over` if the app does not accept a push.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        if self.over:
            raise Over(self.over)
        rest = bytes(self._buffer)
        return self._offset + len(rest), rest, ages(self._next()[1])

    def _run(self) -> None:
        try:
            self._wait_for_short_command()
            for number, pause in enumerate(_pauses()):
                with self._changed:
                    self._changed.wait_for(lambda number=number: self._buffer or self._closed or number == 0)
                    if self._closed and len(self._buffer) <= REST:
                        return
                    batch, moments = self._next()
                self._push(batch, moments)  # the first one, which may be empty, marks the job as running
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or len(self._buffer) >= BATCH, pause)
        except Over as error:
            with self._changed:
                self.over = str(error) or "the job is over"
                self._changed.notify_all()

    def _wait_for_short_command(self) -> None:
        """Wait for a moment, because a command that ends within it needs no push but that of its exit."""
        with self._changed:
            if self._changed.wait_for(lambda: self._buffer or self._closed, QUIET):
                self._changed.wait_for(lambda: self._closed, self._together)

    def _next(self) -> tuple[bytes, list[tuple[int, float]]]:
        """Return the next bytes to push and moments at which parts of them were written, evenly at most `MOMENTS`."""
        passed = sum(offset <= self._offset for offset, _ in self._moments)
        del self._moments[: max(0, passed - 1)]  # the last of them is also the moment of what comes next
        batch = bytes(self._buffer[:BATCH])
        moments = [moment for moment in self._moments if moment[0] < self._offset + len(batch)]
        return batch, moments[:: max(1, -(-len(moments) // MOMENTS))]

    def _push(self, batch: bytes, moments: Sequence[tuple[int, float]] = ()) -> None:
        def headers() -> dict[str, str]:
            return {AGES: ages(moments)} if moments else {}

        status, answer = self._api.post(f"/events?offset={self._offset}", batch, headers=headers)
        if status != 200:
            # The buffer begins at the last acknowledged byte, so earlier output that the app misses cannot be repeated.
            raise Over(f"output refused: {status} {answer}")
        with self._changed:
            del self._buffer[: len(batch)]
            self._offset += len(batch)
            self.stop = self.stop or bool(answer.get("stop"))
            self._changed.notify_all()


def ages(moments: Sequence[tuple[int, float]]) -> str:
    """Return how long ago output was written; ages, because the clocks of the container and of the app may differ."""
    now = time.monotonic()
    return ",".join(f"{offset}:{now - written:.3f}" for offset, written in moments)


def _pauses() -> Iterator[float]:
    count = 0
    for limit, pause in INTERVALS:
        while count < limit:
            count += 1
            yield pause
    raise Over("the log is full")
