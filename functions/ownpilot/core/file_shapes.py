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
    rows: Sequence[FileRow], folder: str = "", extra: Sequence[tuple[str, datetime]] = ()
) -> list[dict[str, Any]]:
    """Return what is in a folder, as a tree: folders first, each with its `children`, by name.

    `rows` are the files in the folder and below. `extra` are folders that are shown without a file, with their times.
    The size of a folder is that of its files, its time that of its newest one.
    """
    root: dict[str, Any] = {"children": {}}
    prefix = f"{folder}/" if folder else ""
    for path, at in extra:
        _add(root, prefix, path, at)
    for row in rows:
        names = row.path[len(prefix) :].split("/")
        holder = root
        for depth in range(len(names) - 1):
            holder = _add(holder, prefix, "/".join(names[: depth + 1]), row.updated_at)
            holder["size"] += row.size
        holder["children"][f"{names[-1]}/"] = row_of(row)
    return _listed(root)


def row_of(row: FileRow) -> dict[str, Any]:
    """Return the row of a file."""
    name = row.path.rpartition("/")[2]
    return _node(name, row.path, row.updated_at, row.size, is_folder=False)


def _node(name: str, path: str, at: datetime, size: int, *, is_folder: bool) -> dict[str, Any]:
    return {
        "name": name, "path": path, "relativePath": path, "size": size, "isDirectory": is_folder,
        "modifiedAt": iso(at),
    }  # fmt: skip


def _add(holder: dict[str, Any], prefix: str, path: str, at: datetime) -> dict[str, Any]:
    """Return the folder of that path below the holder, which is made if it is not there."""
    name = path.rpartition("/")[2]
    made = holder["children"].setdefault(name, {**_node(name, prefix + path, at, 0, is_folder=True), "children": {}})
    made["modifiedAt"] = max(made["modifiedAt"], iso(at))
    return made


def _listed(holder: dict[str, Any]) -> list[dict[str, Any]]:
    found = [
        {**each, "children": _listed(each)} if each["isDirectory"] else each for each in holder["children"].values()
    ]
    return sorted(found, key=lambda each: (not each["isDirectory"], each["name"]))
