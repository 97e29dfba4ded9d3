"""Uploading files of the container to where the app says."""

import json
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from http11 import HttpConnection
from push import JobApi

MAX_FILES = 1000  # files that are uploaded
MAX_SKIPPED = 100  # files that were not kept and are named; the others are counted
MAX_NAME = 1024  # characters of a name; of a longer path the end is shown
MAX_TEXT = 8192  # characters of a message
REPORT_BYTES = 4 * 1024 * 1024  # bytes of the largest file that goes with the exit

UNREADABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")  # control characters, and bytes that are not UTF-8


class Kept:
    """What became of the files of a folder: the records of those kept, and name and reason of the others."""

    def __init__(self) -> None:
        self.files: list[dict[str, Any]] = []
        self.skipped: list[dict[str, str]] = []
        self._more = 0
        self._names: set[str] = set()

    def skip(self, path: str, reason: object) -> None:
        """Note that a file is not kept."""
        if len(self.skipped) < MAX_SKIPPED:
            self.skipped.append({"name": readable(path)[-MAX_NAME:], "reason": readable(str(reason))[:MAX_TEXT]})
        else:
            self._more += 1

    def name(self, path: str) -> str:
        """Return the name under which a file is kept, which no other file has."""
        name = readable(path)[-MAX_NAME:]
        number = 1
        while name in self._names:
            number += 1
            name = f"{readable(path)[8 - MAX_NAME :]}~{number}"
        self._names.add(name)
        return name

    @property
    def members(self) -> dict[str, Any]:
        """The members `files` and `skipped` of the exit."""
        more = [{"name": f"and {self._more} more", "reason": "Not listed"}] if self._more else []
        return {"files": self.files, "skipped": self.skipped + more}


def readable(text: str) -> str:
    """Return a text that any system can store: `%0A` for a newline, `%FF` for the byte 255 that is not UTF-8."""
    return UNREADABLE.sub(lambda found: f"%{ord(found[0]) & 0xFF:02X}", text)


def keep(folder: Path, api: JobApi) -> Kept:
    """Upload the regular files below `folder`. What cannot be uploaded is skipped; `Over` ends it."""
    kept = Kept()
    for path in regular_files(folder, kept):
        shown = os.path.relpath(path, folder)
        if len(kept.files) >= MAX_FILES:
            kept.skip(shown, f"more than {MAX_FILES} files")
            continue
        try:
            kept.files.append(put(path, kept.name(shown), api))
        except (OSError, ValueError) as error:
            kept.skip(shown, getattr(error, "strerror", None) or error)
    return kept


def regular_files(folder: Path, kept: Kept) -> Iterator[Path]:
    """Yield the files below a folder in the order of their names; links are neither followed nor kept.

    A folder that cannot be read is noted in `kept`.
    """

    def unread(error: OSError) -> None:
        if os.path.lexists(folder):  # otherwise the command has made no such folder
            kept.skip(os.path.relpath(error.filename, folder), error.strerror)

    try:
        if folder.is_symlink():
            kept.skip(folder.name, "The folder is a link")
            return
    except OSError as error:  # the command has closed the folder above it
        kept.skip(folder.name, error.strerror)
        return
    for root, folders, files in os.walk(folder, onerror=unread):
        folders.sort()
        for name in sorted(files):
            path = Path(root, name)
            try:
                regular = stat.S_ISREG(path.lstat().st_mode)
            except OSError:  # it has vanished
                continue
            if regular:
                yield path


def read_report(path: Path, name: str, kept: Kept) -> bytes | None:
    """Return the content of a file for the exit, None when there is none; one that cannot be read is skipped."""
    try:
        file, size = opened(path)
        with file:
            if size > REPORT_BYTES:
                raise OSError(f"File is over {REPORT_BYTES} bytes")
            return file.read(size)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        kept.skip(name, error.strerror or error)
        return None


def opened(path: Path) -> tuple[BinaryIO, int]:
    """Open a regular file; return it with its size. `OSError`, also for what has become a link, a pipe or a device."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb")
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        file.close()
        raise OSError("Not a regular file")
    return file, status.st_size


def put(path: Path, name: str, api: JobApi, kind: str | None = None) -> dict[str, Any]:
    """Upload one file and return its record. `ValueError` if the app refuses it, `OSError` if the upload fails."""
    import hashlib  # most jobs keep no file, and every start of a container waits for the imports
    import mimetypes

    kind = kind or mimetypes.guess_type(name)[0] or "application/octet-stream"
    file, size = opened(path)
    with file:
        status, place = api.post("/files", json.dumps({"name": name, "size": size}).encode(), "application/json")
        if status != 201:
            raise ValueError(place.get("error", f"refused with {status}"))
        target = urlsplit(place["url"])
        for pause in (0.2, 1, None):
            digest = hashlib.sha256()
            connection = HttpConnection(target.scheme, target.netloc)
            try:
                file.seek(0)
                response = connection.request(
                    "PUT", f"{target.path}?{target.query}", body(file, size, digest),
                    {"Content-Length": str(size), "Content-Type": kind, "x-ms-blob-type": "BlockBlob",
                     "x-ms-version": "2024-11-04"},
                )  # fmt: skip
                response.read()
                if response.status == 201:
                    break
                if pause is None:
                    raise OSError(f"storage answered {response.status}")
            except OSError:
                if pause is None:
                    raise
            finally:
                connection.close()
            time.sleep(pause or 0)
    return {"name": name, "size": size, "sha256": digest.hexdigest(), "content_type": kind, "blob": place["blob"]}


def body(file: Any, size: int, digest: Any) -> Iterator[bytes]:
    """Yield exactly `size` bytes of a file. `OSError` when it has become shorter."""
    while size:
        chunk = file.read(min(1 << 20, size))
        if not chunk:
            raise OSError("file became shorter while it was read")
        digest.update(chunk)
        size -= len(chunk)
        yield chunk
