"""The command of a warm container: waits at a hub for orders, and runs each job as `runner.py` would.

Standard library only, and Linux only. The next interpreter is started ahead, so that a job need not wait for it. After
a job every process that it has left is killed and its folder is removed; when either fails, or the job could not be
prepared, this program ends, and with it the container. What stays is the tree of an order (tree.py), for the next job,
which is always of the same owner. The program also ends when its connection does, after `RUNYARD_WARM_IDLE` seconds
without a further job, and once it is `RUNYARD_WARM_AGE` seconds old; a job that it runs is ended first by itself.

It says `ready`, `accepted` or `refused` to an order, and `done` when it can take the next one, with `reported`: whether
the runner has reported the job's exit. It says `taken` once when it has an owner, after its first job or while that
goes on: then another container may start without slowing that job down. It obeys `order`, `stop` and `end`. All are
JSON objects with their `type`, and the job's id as `job`.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from hub import HubClient
from processes import Spoiled, adopt_orphans, clear, kill_all
from runner import GRACE, UNUSABLE, WAIT, hide

TICK = 1.0  # seconds between two looks at the clock
START = 60.0  # seconds within which an interpreter must be ready


class Ahead:
    """A runner that is started ahead of its job, in a process group of its own."""

    def __init__(self, root: Path, news: "queue.Queue[dict[str, Any]]"):
        program = [sys.executable, "-SEs", str(Path(__file__).with_name("runner.py")), WAIT]
        self.process = subprocess.Popen(
            program, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self.process.stdin and self.process.stdout
        self._input, ready = self.process.stdin, self.process.stdout
        timer = threading.Timer(START, self.process.kill)
        timer.start()
        answer = ready.read(1)
        timer.cancel()
        ready.close()
        if not answer:
            raise Spoiled("the interpreter for the next job could not be started")
        self._news = news

    def run(self, job: str, order: str) -> None:
        """Give it the order; the end of its process becomes news of the type `ended`."""
        self._input.write(order.encode() + b"\n")
        self._input.close()
        threading.Thread(target=self._watch, args=(job,), daemon=True).start()

    def _watch(self, job: str) -> None:
        os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        self._news.put({"type": "ended", "job": job})


class WarmContainer:
    """What is known of the container, and what it does with the news that it gets."""

    def __init__(self, hub: HubClient, news: "queue.Queue[dict[str, Any]]", root: Path):
        self._hub, self._news, self._root = hub, news, root
        self._folder = root / os.environ.pop("RUNYARD_WARM_FOLDER")
        self._idle, self._age = (float(os.environ.pop(f"RUNYARD_WARM_{name}")) for name in ("IDLE", "AGE"))
        self._born = self._used = time.monotonic()
        self._owner, self._job, self._ending, self._said_taken = "", "", False, False
        self._stop_by: float | None = None
        self._ahead = self._prepare()

    def serve(self) -> None:
        """Work until the container is not needed any more. `Spoiled` when it cannot be used any more."""
        self._say("ready")
        while self._job or not self._is_over():
            try:
                news = self._news.get(timeout=TICK)
            except queue.Empty:
                news = {}
                self._say_taken()
            match news.get("type"):
                case "order":
                    self._take(news)
                case "stop" if news.get("job") == self._job:
                    self._stop_by = time.monotonic() + GRACE + TICK
                    self._ahead.process.terminate()
                case "end" | "disconnected":
                    self._ending = True
                case "ended":
                    self._finish()
                case _:
                    pass
            if self._stop_by is not None and time.monotonic() >= self._stop_by:
                self._stop_by = None
                self._ahead.process.kill()

    def _is_over(self) -> bool:
        now = time.monotonic()
        return self._ending or now - self._born >= self._age or bool(self._owner and now - self._used >= self._idle)

    def _take(self, news: dict[str, Any]) -> None:
        """Run the job of an order, if it is the owner's and none runs."""
        job, owner = str(news["job"]), str(news["owner"])
        if self._job or self._is_over() or self._owner not in ("", owner):
            self._say("refused", job)
            return
        self._owner, self._job = owner, job
        self._ahead.run(job, str(news["order"]))
        self._say("accepted", job)

    def _finish(self) -> None:
        """Clean up after the job, and be ready for the next one."""
        self._stop_by = None
        code = self._ahead.process.wait()
        kill_all()
        if code == UNUSABLE:
            raise Spoiled("the last job could not be prepared, or its runner has failed")
        job, self._job = self._job, ""
        if not self._ending:
            self._ahead = self._prepare()
            self._used = time.monotonic()
            self._say("done", job, reported=code == 0)
            self._say_taken()

    def _prepare(self) -> Ahead:
        """Remove the folder of the last job, and start the interpreter for the next one."""
        clear(self._folder)
        return Ahead(self._root, self._news)

    def _say_taken(self) -> None:
        if self._owner and not self._said_taken:
            self._said_taken = True
            self._say("taken", self._job)

    def _say(self, kind: str, job: str = "", **members: Any) -> None:
        try:
            self._hub.send(json.dumps({"type": kind, "job": job, **members}))
        except OSError:
            self._ending = True


def main() -> int:
    """Serve the hub; return the exit code of the program."""
    hide()
    adopt_orphans()
    news: queue.Queue[dict[str, Any]] = queue.Queue()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        hub = HubClient(os.environ.pop("RUNYARD_WARM_URL"), os.environ.pop("RUNYARD_WARM_TOKEN"))
        threading.Thread(target=listen, args=(hub, news), daemon=True).start()
        WarmContainer(hub, news, Path.cwd().parent).serve()
    except (Spoiled, OSError) as error:
        print(f"worker: {error}", file=sys.stderr)
        return 1
    finally:
        with contextlib.suppress(Spoiled):
            kill_all()
    return 0


def listen(hub: HubClient, news: "queue.Queue[dict[str, Any]]") -> None:
    """Put what the hub sends among the news, and at last that the connection has ended."""
    with contextlib.suppress(OSError, ValueError):
        for text in hub:
            news.put(json.loads(text))
    news.put({"type": "disconnected"})


if __name__ == "__main__":
    sys.exit(main())
