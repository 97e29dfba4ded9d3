"""Serving an app through changes of its code: the old process serves until the new one has loaded."""

import contextlib
import os
import select
import signal
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

# Imported for the versions, which are forked: what is loaded here they need not load again.
import azurefunctions.extensions.http.fastapi  # noqa: F401

import infra.emulator.host.durable  # noqa: F401
from infra.emulator.host.host import Options
from infra.emulator.host.process import GO, LOADED, STOP, serve

POLL_SECONDS = 0.2
# Open streams must not hold up the next version.
DRAIN_SECONDS = 2
# A version that crashes while serving is started again, but not in a tight loop.
RESTART_SECONDS = 1.0
IGNORED = {"tests", "node_modules", "__pycache__"}
WATCHED = {"host.json", "local.settings.json", "local.settings.sample.json"}

Files = dict[str, tuple[int, int]]


def watched_files(app: Path) -> Files:
    """Time and size of every file whose change means a new version: Python code, settings and host.json."""
    found: Files = {}
    for folder, folders, names in os.walk(app):
        folders[:] = [name for name in folders if name not in IGNORED and not name.startswith(".")]
        for name in names:
            if name.endswith(".py") or name in WATCHED:
                path = os.path.join(folder, name)  # noqa: PTH118 - a walk over the whole tree, five times a second
                try:
                    status = os.stat(path)  # noqa: PTH116
                except FileNotFoundError:
                    continue
                found[path] = (status.st_mtime_ns, status.st_size)
    return found


class Version:
    """A process forked to serve the app as it is now; libraries that are imported already cost it nothing."""

    def __init__(self, options: Options, listener: socket.socket):
        self.control, supervisor = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            self.control.close()
            code = 1
            try:
                # The supervisor decides when to stop, but Ctrl-C reaches the whole process group. A handler, because
                # an ignored signal would stay ignored in programs that the app starts.
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, lambda *_: None)
                code = serve(options, listener, supervisor)
            finally:
                sys.stdout.flush()
                os._exit(code)
        supervisor.close()

    def has_loaded(self) -> bool:
        """Whether the app was imported; false when the process has ended instead. Waits for either."""
        return self.control.recv(1) == LOADED

    def go(self) -> None:
        """Let it serve."""
        self._tell(GO)

    def stop(self) -> None:
        """Let it finish its requests and end."""
        self._tell(STOP)
        self.reap()

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        self.reap()

    def reap(self) -> None:
        """Wait for its end."""
        os.waitpid(self._pid, 0)
        self.control.close()

    def _tell(self, word: bytes) -> None:
        # One that has ended by itself does not hear it.
        with contextlib.suppress(OSError):
            self.control.send(word)


def supervise(options: Options, listener: socket.socket) -> int:
    """Serve the app, after every saved change the new version of it, until SIGTERM or SIGINT; the exit code.

    A version that does not load is reported, and the one before it goes on serving. Connections made during the change
    wait in the listening socket, which stays open.
    """
    options = replace(options, drain_seconds=DRAIN_SECONDS)
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stopping.append(number))
    files = watched_files(options.app)
    serving: Version | None = None
    loading: Version | None = Version(options, listener)
    while not stopping:
        versions = [version for version in (serving, loading) if version]
        ready, _, _ = select.select([version.control for version in versions], [], [], POLL_SECONDS)
        if loading and loading.control in ready:
            if loading.has_loaded():
                if serving:
                    serving.stop()
                loading.go()
                serving, loading = loading, None
                continue
            loading.reap()
            loading = None
            print("This version does not load" + ("; the one before it still serves." if serving else "."), flush=True)
        if serving and serving.control in ready:
            serving.reap()
            serving = None
            print("The host process ended; starting it again.", flush=True)
            time.sleep(RESTART_SECONDS)
            loading = loading or Version(options, listener)
        changed = watched_files(options.app)
        if changed != files:
            files = changed
            print("A file changed; loading the app again.", flush=True)
            if loading:
                loading.kill()
            loading = Version(options, listener)
    if loading:
        loading.kill()
    if serving:
        serving.stop()
    return 0
