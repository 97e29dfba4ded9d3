"""Serving an app while its code changes: the old process serves until the new one has loaded."""

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from importlib.util import cache_from_source
from pathlib import Path

# Imported here so that the forked processes do not have to load them again.
import azurefunctions.extensions.http.fastapi  # noqa: F401

import infra.emulator.host.durable  # noqa: F401
from infra.emulator.host.host import Options
from infra.emulator.host.process import GO, LOADED, STOP, serve
from infra.emulator.processes import NOTICE

POLL_SECONDS = 0.2
# Short, so that open streams do not delay the next version.
DRAIN_SECONDS = 2
# The pause before a process that crashed is started again, and how many such ends within how many seconds are too many.
RESTART_SECONDS = 1.0
CRASHES, WITHIN = 3, 60.0
IGNORED = {"tests", "node_modules", "__pycache__"}
WATCHED = {"host.json", "local.settings.json", "local.settings.sample.json"}

Files = dict[str, tuple[int, int]]


def watched_files(app: Path) -> Files:
    """Modification time and size of every file whose change means a new version: Python code, settings, host.json."""
    found: Files = {}
    for folder, folders, names in os.walk(app):
        folders[:] = [name for name in folders if name not in IGNORED and not name.startswith(".")]
        for name in names:
            if name.endswith(".py") or name in WATCHED:
                path = os.path.join(folder, name)  # noqa: PTH118 - faster, in a walk over the whole tree five times a second
                try:
                    status = os.stat(path)  # noqa: PTH116
                except FileNotFoundError:
                    continue
                found[path] = (status.st_mtime_ns, status.st_size)
    return found


def drop_compiled(sources: Iterable[str]) -> None:
    """Delete the compiled modules of these sources.

    Python takes a compiled module for current when the source has the same size, and the same time in whole seconds.
    """
    for source in sources:
        if source.endswith(".py"):
            Path(cache_from_source(source)).unlink(missing_ok=True)


class Version:
    """A forked process that serves the app in its present version; imported libraries are shared with it."""

    def __init__(self, options: Options, listener: socket.socket):
        self.control, supervisor = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            self.control.close()
            code = 1
            try:
                # The supervisor decides when to stop, but Ctrl-C reaches the whole process group. The signals get an
                # empty handler, because ignored signals would stay ignored in programs that the app starts.
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, lambda *_: None)
                code = serve(options, listener, supervisor)
            finally:
                sys.stdout.flush()
                os._exit(code)
        supervisor.close()

    def has_loaded(self) -> bool:
        """Wait for the process; returns True when it has imported the app, False when it has ended."""
        return self.control.recv(1) == LOADED

    def go(self) -> None:
        """Start serving."""
        self._send(GO)

    def stop(self) -> None:
        """Finish running requests, and end."""
        self._send(STOP)
        self.reap()

    def kill(self) -> None:
        """End the process with SIGKILL."""
        os.kill(self._pid, signal.SIGKILL)
        self.reap()

    def reap(self) -> int:
        """Wait until the process has ended; returns its exit code, or minus the number of the signal that ended it."""
        _, status = os.waitpid(self._pid, 0)
        self.control.close()
        return os.waitstatus_to_exitcode(status)

    def _send(self, message: bytes) -> None:
        with contextlib.suppress(OSError):  # the process has ended
            self.control.send(message)


def supervise(options: Options, listener: socket.socket) -> int:
    """Serve the app until SIGTERM or SIGINT, and its new version after every change; returns the exit code.

    When the first version does not load, the exit code is 1. When a new version does not load, an error is printed and
    the old one continues to serve. New connections during a
    change wait in the listening socket, which stays open. A process that ends by itself is started again; the third one
    within a minute ends this process too, with exit code 1.
    """
    options = replace(options, drain_seconds=DRAIN_SECONDS)
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stopping.append(number))
    files = watched_files(options.app)
    serving: Version | None = None
    loading: Version | None = Version(options, listener)
    has_served = False
    crashes: deque[float] = deque(maxlen=CRASHES)
    while not stopping:
        versions = [version for version in (serving, loading) if version]
        ready, _, _ = select.select([version.control for version in versions], [], [], POLL_SECONDS)
        if loading and loading.control in ready:
            if loading.has_loaded():
                if serving:
                    serving.stop()
                loading.go()
                serving, loading, has_served = loading, None, True
                continue
            code, loading = loading.reap(), None
            if code < 0:
                crashes.append(time.monotonic())
                _notice(f"The process that loaded the app was killed (signal {-code}); starting it again.")
                time.sleep(RESTART_SECONDS)
                loading = Version(options, listener)
            elif not has_served:
                break
            else:
                _notice("This version does not load" + ("; the previous one still serves." if serving else "."))
        if serving and serving.control in ready:
            code, serving = serving.reap(), None
            crashes.append(time.monotonic())
            how = f"was killed (signal {-code})" if code < 0 else f"ended with {code}"
            _notice(f"The process that served the app {how}; starting it again.")
            time.sleep(RESTART_SECONDS)
            loading = loading or Version(options, listener)
        if len(crashes) == CRASHES and crashes[-1] - crashes[0] < WITHIN:
            _notice("The processes of the app end again and again.")
            break
        present = watched_files(options.app)
        if present != files:
            _notice("A file changed; loading the app again.")
            if loading:
                loading.kill()
            drop_compiled(path for path in present if present[path] != files.get(path))
            files = present
            loading = Version(options, listener)
    if loading:
        loading.kill()
    if serving:
        serving.stop()
    return 0 if stopping else 1


def _notice(text: str) -> None:
    print(f"{NOTICE}{text}", flush=True)
