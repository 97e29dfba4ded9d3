"""Uploading the files that lines of output name, at the moment when the line is read."""

import contextlib
import json
import os
import re
import stat
import threading
import time
from pathlib import Path
from typing import Any

from files import MAX_NAME, MAX_TEXT, put, readable
from push import APART, PATIENCE, JobApi, Over, Pusher

LONGEST = 64 * 1024  # bytes of a line; longer lines are passed on without a search
PACKED = 1 << 30  # bytes of the files in a folder that is uploaded as an archive
AHEAD = 4 << 20  # bytes of output that are read while a file is uploaded; when there are more, the command waits


class Capture:
    """Passes lines on to the pusher, each after the file that it names was uploaded or could not be.

    A thread of its own does that, so that output which comes during an upload is known with the time at which it came.
    Paths are relative to `directory`. A path that leads out of `root`, the container's file system, also through a
    link, is not uploaded.
    """

    def __init__(self, pattern: str, directory: Path, root: Path, api: JobApi, pusher: Pusher):
        self._pattern = re.compile(pattern.encode())
        self._directory, self._root, self._api, self._pusher = directory, root, api, pusher
        self._waiting: list[tuple[float, bytearray]] = []  # output that was not searched yet, and when it came
        self._ahead, self._closed = 0, False  # bytes that wait
        self._changed = threading.Condition()
        self._came = 0.0  # when the output that is searched came
        self._held = bytearray()  # an unfinished line
        self._offset = 0  # bytes passed on
        self._passing = False  # in the rest of a line that is too long
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Take output; waits while more than `AHEAD` bytes of it were not searched yet."""
        now = time.monotonic()
        with self._changed:
            self._changed.wait_for(lambda: self._ahead < AHEAD)
            if not self._waiting or now - self._waiting[-1][0] >= APART:
                self._waiting.append((now, bytearray()))
            self._waiting[-1][1].extend(data)
            self._ahead += len(data)
            self._changed.notify_all()

    def finish(self) -> None:
        """Wait until all output was passed on, also a last line without a newline."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    break
                self._came, data = self._waiting.pop(0)
                self._ahead -= len(data)
                self._changed.notify_all()
            self._search(data)
        if not self._passing:
            self._look(bytes(self._held))
        self._pass_on(len(self._held))

    def _search(self, data: bytearray) -> None:
        """Pass on whole lines, and hold the start of an unfinished one."""
        self._held += data
        if self._passing:
            end = self._held.find(b"\n") + 1
            self._passing = end == 0
            self._pass_on(end or len(self._held))
        end = self._held.rfind(b"\n") + 1
        if end:
            self._look(bytes(self._held[:end]))
        if len(self._held) > LONGEST:
            self._passing = True
            self._pass_on(len(self._held))

    def _pass_on(self, size: int) -> None:
        if size:
            self._pusher.write(bytes(self._held[:size]), self._came)
            self._offset += size
            del self._held[:size]

    def _look(self, lines: bytes) -> None:
        """Upload what these lines name and pass them on; `_held` begins with them."""
        done = 0
        for found in self._pattern.finditer(lines):
            start = lines.rfind(b"\n", 0, found.start("path")) + 1
            stop = (lines.find(b"\n", start) + 1) or len(lines) + 1
            self._pass_on(start - done)
            done = start
            if stop - start <= LONGEST and not self._pusher.over:
                self._keep(found["path"], self._offset + stop - start)
        self._pass_on(len(lines) - done)

    def _keep(self, raw: bytes, end: int) -> None:
        path = text_of(raw)
        report: dict[str, Any] = {"line": self._offset, "end": end, "path": path}
        try:
            try:
                report["file"] = self._put(os.fsdecode(raw.strip()), path)
            except (OSError, ValueError) as error:
                report["reason"] = readable(getattr(error, "strerror", None) or str(error))[:MAX_TEXT]
            self._api.post("/captures", json.dumps(report).encode(), "application/json")
        except Over:
            return  # the pusher's next push fails with the same

    def _put(self, path: str, shown: str) -> dict[str, Any]:
        """Upload a file, or a folder as an archive. `ValueError` or `OSError` with the reason when that fails."""
        import tempfile  # here, so that a start does not wait for it

        target = Path(os.path.realpath(self._directory / path))
        if not target.is_relative_to(self._root):
            raise ValueError("The path leads out of the container's file system")
        name = readable(Path(shown).name or target.name or "artifact")[-MAX_NAME:]
        if target.is_dir():
            with tempfile.NamedTemporaryFile(suffix=".tar.gz") as packed:
                pack(target, Path(packed.name).resolve())
                return put(
                    Path(packed.name), f"{readable(target.name) or 'root'}.tar.gz", self._api, "application/gzip"
                )
        if target.exists() and not target.is_file():
            raise ValueError("Not a regular file")
        return put(target, name, self._api)


def pack(folder: Path, target: Path) -> None:
    """Write a folder to a .tar.gz, links as links. `ValueError` when its files have more than `PACKED` bytes."""
    import tarfile

    left = PACKED

    def take(size: int) -> None:
        nonlocal left
        left -= size
        if left < 0:
            raise ValueError(f"Folder is over {PACKED} bytes")

    for root, _, files in os.walk(folder):  # to find that after the packing would take a minute
        for name in files:
            with contextlib.suppress(OSError):  # it has vanished
                status = Path(root, name).lstat()
                take(status.st_size if stat.S_ISREG(status.st_mode) else 0)
    left = PACKED

    def admit(item: tarfile.TarInfo) -> tarfile.TarInfo | None:
        take(item.size)  # a file may have grown since
        itself = folder.parent / item.name == target
        return item if not itself and (item.isreg() or item.isdir() or item.issym() or item.islnk()) else None

    with tarfile.open(target, "w:gz", compresslevel=6) as archive:
        archive.add(folder, folder.name or "root", filter=admit)


def text_of(raw: bytes) -> str:
    """Decode a path from UTF-8, or from Latin-1 when it is not UTF-8."""
    try:
        return raw.decode().strip()
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip()
