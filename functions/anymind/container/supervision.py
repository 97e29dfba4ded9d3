"""Runs inside a container: watches over a forked process, its output, its time and its end.

Standard library only; a part of `boot.py`.
"""

import contextlib
import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import NoReturn

IMPORT_SECONDS = 30
CALL_SECONDS = 30
STEP = 0.25  # seconds between two checks whether the process has ended
LAST_OUTPUT_SECONDS = 0.5  # for output of processes that the agent has left behind
MAX_RESULT = 10_000_000  # bytes of JSON
MAX_PRINTED = 10_000_000  # bytes
MAX_LINE = 16 * 1024  # bytes; a longer line is divided
MAX_ERROR = 4000  # characters
NEWEST = 100  # lines that are remembered


class Refused(Exception):
    """Raised for what is wrong with an agent; the message is shown to its owner."""


def whole(text: str) -> str:
    """Return a text without halves of surrogate pairs, as some file names have: one becomes the text `\\udce9`."""
    return text.encode("utf-8", "backslashreplace").decode()


class Log:
    """Writes printed lines to standard output, each with its moment and its stream, and remembers the newest."""

    def __init__(self) -> None:
        self.newest: deque[bytes] = deque(maxlen=NEWEST)
        self.size = 0  # bytes that were printed
        self._rest = {"O": b"", "E": b""}

    def feed(self, stream: str, data: bytes) -> None:
        """Take printed bytes; an unfinished line waits for its end."""
        self.size += len(data)
        *lines, rest = (self._rest[stream] + data).split(b"\n")
        while len(rest) > MAX_LINE:
            lines.append(rest[:MAX_LINE])
            rest = rest[MAX_LINE:]
        self._rest[stream] = rest
        self.write(stream, lines)

    def finish(self) -> None:
        """Write unfinished lines."""
        for stream, rest in self._rest.items():
            self.write(stream, [rest] if rest else [])

    def write(self, stream: str, lines: list[bytes]) -> None:
        """Write whole lines."""
        seconds = time.time()
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f"{seconds % 1:.6f}"[1:]
        head, out = f"{moment} {stream} ".encode(), bytearray()
        for line in lines:
            for start in range(0, len(line) or 1, MAX_LINE):
                framed = head + line[start : start + MAX_LINE].rstrip(b"\r") + b"\n"
                self.newest.append(framed)
                out += framed
        while out:
            del out[: os.write(1, out)]


def supervise(work: Callable[[int], object], log: Log) -> bytes:
    """Do the work in a forked process, and return what it has written to the control pipe, whose number it is given.

    Its output goes to `log`. It has 30 s until its first byte of control, `C`, and 30 s from then on. `Refused` when it
    takes longer, prints or returns too much, or ends without an answer.
    """
    pipes = {name: os.pipe() for name in ("O", "E", "control")}
    child = os.fork()
    if child == 0:
        become(work, *(pipes[name][1] for name in ("O", "E", "control")))
    watched = selectors.DefaultSelector()
    for name, (read, write) in pipes.items():
        os.close(write)
        watched.register(read, selectors.EVENT_READ, name)
    control, over, called = bytearray(), False, False
    deadline = time.monotonic() + IMPORT_SECONDS
    try:
        while not control.endswith(b"\n"):  # a process that the agent leaves behind may hold the pipes open
            over = over or os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
            left = deadline - time.monotonic()
            if left <= 0:
                raise Refused(
                    f"Timed out after {CALL_SECONDS} seconds"
                    if called
                    else f"Importing the agent took longer than {IMPORT_SECONDS} seconds"
                )
            if not read_output(watched, 0 if over else min(left, STEP), log, control) and over:
                break
            if control and not called:
                called, deadline = True, time.monotonic() + CALL_SECONDS
            if log.size > MAX_PRINTED:
                log.write("E", [f"[output over {MAX_PRINTED} bytes was dropped]".encode()])
                raise Refused(f"The agent printed more than {MAX_PRINTED} bytes")
            if len(control) > MAX_RESULT + MAX_ERROR:
                raise Refused(f"The result is larger than {MAX_RESULT} bytes")
    finally:
        status = stop(child)
        until = time.monotonic() + LAST_OUTPUT_SECONDS
        while watched.get_map() and log.size <= MAX_PRINTED and (left := until - time.monotonic()) > 0:
            read_output(watched, left, log, bytearray())
        log.finish()
    if not control.endswith(b"\n"):
        raise Refused(why(status))
    return bytes(control[:-1])


def read_output(watched: selectors.BaseSelector, seconds: float, log: Log, control: bytearray) -> bool:
    """Read once from each pipe that has something; return whether one had, for which it waits so long at most."""
    ready = watched.select(seconds)
    for key, _ in ready:
        data = os.read(key.fd, 1 << 16)
        if not data:
            watched.unregister(key.fd)
        elif key.data == "control":
            control += data
        else:
            log.feed(key.data, data)
    return bool(ready)


def stop(child: int) -> int:
    """Kill the process with those that it has started; return its wait status, which is its own if it had ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)  # it may not have come to making its group
    return os.waitpid(child, 0)[1]


def why(status: int) -> str:
    """Return why a process with this wait status has ended without an answer."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"The agent's process exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"The agent's process was killed by {name}"


def become(work: Callable[[int], object], out: int, error: int, control: int) -> NoReturn:
    """In the forked process: print to these pipes, do the work and end."""
    try:
        os.setpgid(0, 0)
        os.dup2(out, 1)
        os.dup2(error, 2)
        work(control)
    finally:
        os._exit(1)  # reached when the work has not ended the process itself
