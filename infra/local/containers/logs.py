"""The log of one container: lines with their time, in the format of the container runtimes.

A stored line is `<time> F <text>` for a whole line, `<time> P <text>` for a piece of one that had no newline yet.
"""

# The supervisor loads this and must start fast, so: no pathlib.
# ruff: noqa: PTH105, PTH110, PTH123

import os
import time

KEPT = 4 * 1024 * 1024
"""Bytes of output that can be read back; older output is dropped."""


def now() -> str:
    """This moment in UTC, as the service writes it."""
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e6):06d}Z"


class Writer:
    """Appends output to `path`; `path`.1 holds what came before, so that together they hold at least `KEPT` bytes."""

    def __init__(self, path: str):
        self.path = path
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.size = os.fstat(self.file).st_size

    def write(self, output: bytes) -> None:
        stamp = now().encode()
        *lines, rest = output.split(b"\n")
        text = b"".join(b"%s F %s\n" % (stamp, line) for line in lines)
        if rest:
            text += b"%s P %s\n" % (stamp, rest)
        while text:
            written = os.write(self.file, text)
            self.size, text = self.size + written, text[written:]
        if self.size > 2 * KEPT:
            self.close()
            os.replace(self.path, self.path + ".1")
            self.__init__(self.path)

    def close(self) -> None:
        os.close(self.file)


def read(path: str, *, tail: int | None = None, timestamps: bool = False) -> str:
    """The newest output, at most `KEPT` bytes of it and at most the last `tail` lines; empty when there is none yet."""
    stored = b""
    for part in (path + ".1", path):
        if os.path.exists(part):
            with open(part, "rb") as file:
                stored += file.read()
    lines: list[bytes] = []
    whole = True
    for line in stored.split(b"\n")[:-1]:
        stamp, kind, text = line.split(b" ", 2)
        if whole:
            lines.append(stamp + b" " + text if timestamps else text)
        else:
            lines[-1] += text
        whole = kind == b"F"
        if whole:
            lines[-1] += b"\n"
    if tail is not None:
        lines = lines[len(lines) - min(tail, len(lines)) :]
    return b"".join(lines)[-KEPT:].decode(errors="replace")
