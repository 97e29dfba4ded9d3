"""Ending all processes that a job has left, and removing its files. Linux only."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

CLEAN = 10.0  # seconds within which all processes of a job must have ended
STEP = 0.01  # seconds between two looks at them


class Spoiled(Exception):
    """The container cannot be used for another job."""


def adopt_orphans() -> None:
    """Become the parent of processes below this one whose parent ends."""
    import ctypes

    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def children() -> list[int]:
    """Return the ids of this process's children, to which those of a job belong once their parents have ended."""
    found: list[int] = []
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += map(int, (thread / "children").read_text().split())
    return found


def kill_all() -> None:
    """Kill every process below this one; orphans become its children. `Spoiled` when some are left after `CLEAN`."""
    until = time.monotonic() + CLEAN
    while found := children():
        if time.monotonic() > until:
            raise Spoiled(f"{len(found)} processes of a job could not be ended")
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0 if reap() else STEP)


def reap() -> bool:
    """Collect children that have ended; return whether there were any."""
    count = 0
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            count += 1
    return count > 0


def clear(path: Path) -> None:
    """Remove a file, or a folder with everything in it. `Spoiled` when something is left."""
    remove = ["rm", "-rf", "--"]  # unlike shutil, it removes folders of any depth
    for command in (remove, ["chmod", "-R", "u+rwx", "--"], remove):  # the job may have closed some
        if not os.path.lexists(path):
            return
        subprocess.run([*command, path], stderr=subprocess.DEVNULL, check=False)
    if os.path.lexists(path):
        raise Spoiled(f"{path.name}, which a job has left, could not be removed")
