"""Keeping the files that lines of output name, at the moment when their line is read."""

import json
import os
import re
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from files import put
from push import JobApi, Over, Pusher

LONGEST = 64 * 1024  # bytes of a line that is looked at; longer ones pass
PACKED = 1 << 30  # bytes of the files in a folder that is packed


class Capture:
    """A sink before the pusher: a line goes on when the file that it names has been kept, or cannot be.

    Paths are relative to `directory`. Nothing outside of `root`, the container's own file system, is kept, by whatever
    links it is named.
    """

    def __init__(self, pattern: str, directory: Path, root: Path, api: JobApi, pusher: Pusher):
        self._pattern = re.compile(pattern.encode())
        self._directory, self._root, self._api, self._pusher = directory, root, api, pusher
        self._held = bytearray()  # an unfinished line
        self._offset = 0  # bytes handed on
        self._passing = False  # the rest of a line that is too long

    def write(self, data: bytes) -> None:
        """Hand on whole lines."""
        self._held += data
        if self._passing:
            end = self._held.find(b"\n") + 1
            self._passing = end == 0
            self._hand_on(end or len(self._held))
        end = self._held.rfind(b"\n") + 1
        if end:
            self._look(bytes(self._held[:end]))
        if len(self._held) > LONGEST:
            self._passing = True
            self._hand_on(len(self._held))

    def finish(self) -> None:
        """Hand on a last line without a newline."""
        if not self._passing:
            self._look(bytes(self._held))
        self._hand_on(len(self._held))

    def _hand_on(self, size: int) -> None:
        if size:
            self._pusher.write(bytes(self._held[:size]))
            self._offset += size
            del self._held[:size]

    def _look(self, lines: bytes) -> None:
        """Hand on these lines, which `_held` begins with."""
        done = 0
        for found in self._pattern.finditer(lines):
            start = lines.rfind(b"\n", 0, found.start("path")) + 1
            stop = (lines.find(b"\n", start) + 1) or len(lines) + 1
            self._hand_on(start - done)
            done = start
            if stop - start <= LONGEST and not self._pusher.over:
                self._keep(found["path"], self._offset + stop - start)
        self._hand_on(len(lines) - done)

    def _keep(self, raw: bytes, end: int) -> None:
        path = text_of(raw)
        report: dict[str, Any] = {"line": self._offset, "end": end, "path": path}
        try:
            try:
                report["file"] = self._put(os.fsdecode(raw.strip()), path)
            except (OSError, ValueError) as error:
                report["reason"] = getattr(error, "strerror", None) or str(error)
            self._api.post("/captures", json.dumps(report).encode(), "application/json")
        except Over:
            return  # the pusher will hear of it

    def _put(self, path: str, shown: str) -> dict[str, Any]:
        """Upload a file, or a folder packed. `ValueError` and `OSError` with the reason when that cannot be."""
        target = Path(os.path.realpath(self._directory / path))
        if not target.is_relative_to(self._root):
            raise ValueError("Outside of the container's file system")
        name = Path(shown).name or target.name or "artifact"
        if target.is_dir():
            with tempfile.NamedTemporaryFile(suffix=".tar.gz") as packed:
                pack(target, Path(packed.name).resolve())
                return put(Path(packed.name), f"{target.name or 'root'}.tar.gz", self._api, "application/gzip")
        if target.exists() and not target.is_file():
            raise ValueError("No regular file")
        return put(target, name, self._api)


def pack(folder: Path, target: Path) -> None:
    """Write a folder's files, folders and links, as links, to a .tar.gz. `ValueError` when there is too much of it."""
    left = PACKED

    def admit(item: tarfile.TarInfo) -> tarfile.TarInfo | None:
        nonlocal left
        left -= item.size
        if left < 0:
            raise ValueError(f"Folder is over {PACKED} bytes")
        itself = folder.parent / item.name == target
        return item if not itself and (item.isreg() or item.isdir() or item.issym() or item.islnk()) else None

    with tarfile.open(target, "w:gz", compresslevel=6) as archive:
        archive.add(folder, folder.name or "root", filter=admit)


def text_of(raw: bytes) -> str:
    """As UTF-8, else as Latin-1."""
    try:
        return raw.decode().strip()
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip()
