"""The log of one container: pieces of output, each preceded by a line with its time and its length in bytes."""

# The supervisor imports this module and must start fast, so pathlib is not used.
# ruff: noqa: PTH105, PTH123

import os
import time

KEPT = 4 * 1024 * 1024
"""Bytes of output that can be read back; older output is dropped."""
LARGEST = 8 * KEPT
"""Bytes of one file; the lines with times need more space than the output when it comes in small pieces."""


def now() -> str:
    """The present time in UTC, in the format of the service."""
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e6):06d}Z"


class LogWriter:
    """Appends output to `path`; a full file becomes `path`.1, so that both hold at least the newest `KEPT` bytes."""

    def __init__(self, path: str):
        self.path = path
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.size = self.stored = os.fstat(self.file).st_size

    def write(self, output: bytes) -> None:
        stored = f"{now()} {len(output)}\n".encode() + output
        os.write(self.file, stored)
        self.size += len(output)
        self.stored += len(stored)
        if self.size > KEPT or self.stored > LARGEST:
            self.close()
            os.replace(self.path, self.path + ".1")
            self.__init__(self.path)

    def close(self) -> None:
        os.close(self.file)


def read(path: str, *, tail: int | None = None, timestamps: bool = False) -> str:
    """The newest output: at most `KEPT` bytes and the last `tail` lines; empty before the first output."""
    pieces = [piece for part in (path + ".1", path) for piece in stored(part)]
    output = b"".join(output for _, output in pieces) if not timestamps else stamped(pieces)
    output = output[-KEPT:]
    if tail is not None:
        lines = split(output)
        output = b"".join(lines[len(lines) - min(tail, len(lines)) :])
    return output.decode(errors="replace")


def stored(path: str) -> list[tuple[bytes, bytes]]:
    """Times and pieces of output of one file."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return []
    pieces: list[tuple[bytes, bytes]] = []
    here = 0
    while (end := content.find(b"\n", here)) >= 0:
        moment, length = content[here:end].split()
        here = end + 1 + int(length)
        pieces.append((moment, content[end + 1 : here]))
    return pieces


def stamped(pieces: list[tuple[bytes, bytes]]) -> bytes:
    """The output with the time at which each line began before it."""
    lines: list[bytes] = []
    for moment, output in pieces:
        for line in split(output):
            if lines and not lines[-1].endswith(b"\n"):
                lines[-1] += line
            else:
                lines.append(moment + b" " + line)
    return b"".join(lines)


def split(output: bytes) -> list[bytes]:
    """The lines with their newlines; a carriage return does not end a line."""
    *lines, rest = output.split(b"\n")
    return [*(line + b"\n" for line in lines), *([rest] if rest else [])]
