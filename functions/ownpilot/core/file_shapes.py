"""Files as clients see them: as rows of a tree, and as text."""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from functions.ownpilot.core.entry import iso
from functions.ownpilot.core.files import FileRow
from shared.http.errors import InvalidRequest, TooLarge

MAX_CONTENT = 10 * 1024 * 1024
"""Bytes of a file that is sent or received inside JSON."""

Encoding = Literal["utf-8", "base64"]


def content_of(data: bytes) -> tuple[str, Encoding]:
    """Return the content of a file as a text, and how it is one: bytes that are no UTF-8 become base64."""
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(data).decode(), "base64"


def bytes_of(content: str, encoding: Encoding) -> bytes:
    """Return the bytes that a client has sent as text. `InvalidRequest`; `TooLarge` above `MAX_CONTENT`."""
    try:
        data = content.encode() if encoding == "utf-8" else base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("content: is not base64") from None
    check_content(len(data))
    return data


def check_content(size: int) -> None:
    """`TooLarge` for a file of more than `MAX_CONTENT` bytes."""
    if size > MAX_CONTENT:
        raise TooLarge(f"A file inside JSON has at most {MAX_CONTENT} bytes, this one {size}")


def tree_of(
    rows: Sequence[FileRow], folder: str = "", extra: Sequence[tuple[str, datetime]] = (), *, recursive: bool = True
) -> list[dict[str, Any]]:
    """Return what is in a folder, by name: folders first, each with its `children`, which is empty unless `recursive`.

    `rows` are the files in the folder and below. `extra` are folders that are shown without a file, with their times.
    The size of a folder is that of its files, its time that of its newest one. Many files take seconds: use a thread.
    """
    prefix = f"{folder}/" if folder else ""
    below: dict[str, list[FileRow]] = {name: [] for name, _ in extra}
    files: list[dict[str, Any]] = []
    for row in rows:
        name, is_below, _ = row.path[len(prefix) :].partition("/")
        if is_below:
            below.setdefault(name, []).append(row)
        else:
            files.append(row_of(row))
    shown = dict(extra)
    folders: list[dict[str, Any]] = []
    for name, inside in below.items():
        times = [row.updated_at for row in inside] + ([shown[name]] if name in shown else [])
        node = _node(name, prefix + name, max(times), sum(row.size for row in inside), is_folder=True)
        node["children"] = tree_of(inside, prefix + name) if recursive else []
        folders.append(node)
    return [each for kind in (folders, files) for each in sorted(kind, key=lambda each: each["name"])]


def row_of(row: FileRow) -> dict[str, Any]:
    """Return the row of a file."""
    name = row.path.rpartition("/")[2]
    return _node(name, row.path, row.updated_at, row.size, is_folder=False)


def _node(name: str, path: str, at: datetime, size: int, *, is_folder: bool) -> dict[str, Any]:
    return {
        "name": name, "path": path, "relativePath": path, "size": size, "isDirectory": is_folder,
        "modifiedAt": iso(at),
    }  # fmt: skip
