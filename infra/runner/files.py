"""Uploading files of the container to where the app says."""

import hashlib
import json
import mimetypes
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from push import JobApi, connect

MAX_FILES = 1000


def keep(folder: Path, api: JobApi) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Upload the regular files below `folder`; return the records of those kept, and name and reason of the others."""
    kept: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    for number, path in enumerate(regular_files(folder)):
        name = path.relative_to(folder).as_posix()
        try:
            if number >= MAX_FILES:
                raise ValueError(f"more than {MAX_FILES} files")
            kept.append(put(path, name, api))
        except (OSError, ValueError) as error:
            skipped.append({"name": name, "reason": str(error)})
    return kept, skipped


def regular_files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder in the order of their names; links are neither followed nor kept."""
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(root, name)
            if path.is_file() and not path.is_symlink():
                yield path


def put(path: Path, name: str, api: JobApi, kind: str | None = None) -> dict[str, Any]:
    """Upload one file and return its record. `ValueError` if the app refuses it, `OSError` if the upload fails."""
    size = path.stat().st_size
    kind = kind or mimetypes.guess_type(name)[0] or "application/octet-stream"
    status, place = api.post("/files", json.dumps({"name": name, "size": size}).encode(), "application/json")
    if status != 201:
        raise ValueError(place.get("error", f"refused with {status}"))
    target = urlsplit(place["url"])
    for pause in (0.2, 1, None):
        digest = hashlib.sha256()
        connection = connect(target.scheme, target.netloc)
        try:
            with path.open("rb") as file:
                connection.request(
                    "PUT", f"{target.path}?{target.query}", body(file, size, digest),
                    {"Content-Length": str(size), "Content-Type": kind, "x-ms-blob-type": "BlockBlob",
                     "x-ms-version": "2024-11-04"},
                )  # fmt: skip
                response = connection.getresponse()
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
