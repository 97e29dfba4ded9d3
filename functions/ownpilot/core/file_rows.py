"""The rows of files as they are kept, and what is wrong with a request for a file."""

from dataclasses import dataclass

from pydantic import BaseModel

from functions.ownpilot.core.entry import Entry
from shared.http.errors import BadRequest, NotFound
from shared.tables.counted import CountedCollection


class FileNotFound(NotFound):
    """404: the workspace has no such file."""

    code = "FILE_NOT_FOUND"


class QuotaExceeded(BadRequest):
    """400: the workspace would hold more bytes, or more files, than it may."""

    code = "QUOTA_EXCEEDED"


class FileRow(Entry):
    """One file: `path` as `normalised` gives it, `size` in bytes, `sha256` in hex; `updated_at`: when it was written.

    `previous` is the hash of the content that the last write has replaced: the sweep leaves it for an hour.
    """

    path: str
    size: int
    sha256: str
    previous: str = ""


class HeldFile(BaseModel):
    """A file whose content is stored, and that is no file of the workspace yet."""

    path: str
    size: int
    sha256: str


files = CountedCollection("OwnpilotFiles", FileRow, bounded=True, unique=["path"], sums=["size"], orders=["path"])
"""The partition is the workspace's place."""


@dataclass(frozen=True)
class FileUsage:
    """What a workspace holds: bytes of all its files, and the number of files."""

    bytes: int
    count: int
