"""Files of a workspace, of either kind: a row for each path, and the content in a blob that its hash names."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from functions.ownpilot.core.file_paths import AccessDenied, file_path, normalised, parents
from functions.ownpilot.core.file_rows import FileNotFound, FileRow, FileUsage, HeldFile, QuotaExceeded, files
from shared import blobs, tables
from shared.http.errors import Conflict, Unavailable
from shared.http.files import StoredFile

__all__ = ["AccessDenied", "FileNotFound", "FileRow", "FileStore", "FileUsage", "HeldFile", "QuotaExceeded", "files"]

CONTAINER = "workspaces"
"""The blob container; names are `<hash of the user>/<place>/<SHA-256 of the content>`."""

QUOTA = 1024 * 1024 * 1024
"""Bytes of a workspace that names no other quota."""

MAX_FILES = 10_000
"""Files of a workspace."""

Repeatable = Callable[[], AsyncIterator[bytes]]
"""A content that is read by calling this, more than once."""

_READ = 999
"""Rows of a query: a list without its total reads one row more, and a response has 1,000."""

_ATTEMPTS = 20


@dataclass(frozen=True)
class FileStore:
    """The files of one workspace. `place` is an id that no other workspace has, or had; `quota` is in bytes.

    Paths are given in any way that `normalised` understands; each method may raise `AccessDenied`.
    """

    owner: str
    place: str
    quota: int = QUOTA

    @property
    def folder(self) -> str:
        """What the names of its blobs begin with; the hash of the content follows."""
        return f"{hashlib.sha256(self.owner.encode()).hexdigest()[:32]}/{self.place}/"

    def blob(self, row: FileRow) -> str:
        """Return the name of the blob with a file's content, in `CONTAINER`."""
        return self.folder + row.sha256

    async def find(self, path: str) -> FileRow:
        """Return the row of a file. `FileNotFound`. 2 calls."""
        path = normalised(path)
        try:
            if path:
                return await files.of(self.place).find("path", path)
        except tables.RecordNotFound:
            pass
        raise FileNotFound(f"There is no file {path[:200] or '/'}")

    async def read(self, path: str, most: int | None = None) -> tuple[FileRow, bytes]:
        """Return a file, and its content: at most the first `most` bytes. `FileNotFound`. 3 calls for up to 4 MiB."""
        row = await self.find(path)
        return row, await self.content(row, most)

    async def content(self, row: FileRow, most: int | None = None) -> bytes:
        """Return the content of a file, or its first `most` bytes. `BlobNotFound`. 1 call for up to 4 MiB."""
        return b"".join([chunk async for chunk in self.stream(row, length=most)])

    async def stream(self, row: FileRow, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Yield the content of a file from `offset` on, in chunks of at most 4 MiB. `BlobNotFound`."""
        async for chunk in blobs.stream(CONTAINER, self.blob(row), offset, length):
            yield chunk

    def download(self, row: FileRow) -> StoredFile:
        """Return a file as `serve_file` takes it."""
        name = row.path.rpartition("/")[2]
        return StoredFile(name, row.size, "application/octet-stream", row.sha256, CONTAINER, self.blob(row))

    async def list(self, path: str = "", *, recursive: bool = True) -> Sequence[FileRow]:
        """Return the files in a folder, by path; `recursive`: those in its folders too. A query for each 1,000 files.

        A folder without files is one that does not exist: the list is empty.
        """
        prefix = f"{folder}/" if (folder := normalised(path)) else ""
        rows = [row async for row in self._below(prefix)]
        if not recursive:
            rows = [row for row in rows if "/" not in row.path[len(prefix) :]]
        return sorted(rows, key=lambda row: row.path)

    async def usage(self) -> FileUsage:
        """Return what it holds. 1 query."""
        totals = await files.of(self.place).totals()
        return FileUsage(int(totals.sum("size")), totals.count)

    async def write(self, path: str, data: bytes | Repeatable) -> FileRow:
        """Store a file in place of the one at this path, if there is one.

        `QuotaExceeded`: then all is as it was before, however many write at once. `Conflict` when the path, or a part
        of it, is a folder where a file is needed, or the other way round.

        4 calls for a new file in the root (look for a folder of its name, usage, blob, row), and a read for each folder
        in its path; 3 more for one that is replaced.
        """
        return await self._stored(await self.hold(path, data))

    async def hold(self, path: str, data: bytes | Repeatable) -> HeldFile:
        """Store a content, so that `add` can make it a file within a day. Errors as those of `write`."""
        path = file_path(path)
        _, usage = await asyncio.gather(self._check_place(path), self.usage())
        sha256, size = await self._put(path, data, usage)
        return HeldFile(path=path, size=size, sha256=sha256)

    async def add(self, held: HeldFile) -> FileRow:
        """Make what is held a file, in place of the one at its path. Errors as those of `write`."""
        await self._check_place(held.path)
        return await self._stored(held)

    async def _stored(self, held: HeldFile) -> FileRow:
        try:
            return await self._store(held.path, held.sha256, held.size)
        except tables.BoundPassed as error:
            if error.name == "size":
                self._refuse(error.amount)
            raise self._too_many() from None

    async def move(self, source: str, destination: str) -> FileRow:
        """Give a file another path, in one transaction. `FileNotFound`; `Conflict` when that path is taken."""
        path = file_path(destination)
        row = await self.find(source)
        if path == row.path:
            return row
        await self._check_place(path)

        def rename(it: FileRow) -> None:
            it.path = path

        try:
            return await files.of(self.place).update(row, rename)
        except tables.RecordConflict:
            raise Conflict(f"There is a file {path[:200]} already") from None
        except tables.RecordNotFound:
            raise FileNotFound(f"There is no file {row.path[:200]}") from None

    async def delete(self, path: str) -> int:
        """Delete a file, or all files in a folder; return how many. `FileNotFound`. 4 calls for a file.

        The content goes with the nightly sweep. A folder that is deleted halfway is finished by another call. The root
        is refused, as a path that names nothing must not delete everything.
        """
        path = file_path(path)
        try:
            rows = [await self.find(path)]
        except FileNotFound:
            rows = await self.list(path)
            if not rows:
                raise
        for first in range(0, len(rows), _ATTEMPTS):
            await asyncio.gather(*(self._delete_row(row) for row in rows[first : first + _ATTEMPTS]))
        return len(rows)

    async def check_folder(self, path: str) -> None:
        """`Conflict` when files cannot lie in this folder: it, or a part of its path, is a file."""
        path = normalised(path)
        folders = [*parents(path), path] if path else []
        taken = [folder for folder, is_file in zip(folders, await self._are_files(folders), strict=True) if is_file]
        if taken:
            raise Conflict(f"{taken[0][:200]} is a file, so nothing can lie below it")

    async def _delete_row(self, row: FileRow) -> None:
        try:
            await files.of(self.place).delete(row.id)
        except tables.RecordNotFound:
            pass

    async def _below(self, prefix: str, step: int = _READ) -> AsyncIterator[FileRow]:
        """Yield the rows whose paths begin with this text, `step` of them a query."""
        own, cursor = files.of(self.place), None
        # The table compares the first 60 bytes without regard to case: it may give more than what is wanted.
        start = prefix.casefold().encode()[:52].decode(errors="ignore")
        between = (start, f"{start}\U0010ffff") if prefix else None
        while True:
            page = await own.page(between=between, order="path", limit=step, total=False, cursor=cursor)
            for row in page.items:
                if row.path.startswith(prefix):
                    yield row
            cursor = page.cursor
            if not cursor:
                return

    async def _check_place(self, path: str) -> None:
        """`Conflict` when a file lies where this path has a folder, or a folder where it has the file."""
        folder, _, _ = path.rpartition("/")
        below = self._below(f"{path}/", step=1)
        inside, _ = await asyncio.gather(anext(below, None), self.check_folder(folder))
        if inside is not None:
            raise Conflict(f"{path[:200]} is a folder")

    async def _are_files(self, paths: Sequence[str]) -> Sequence[bool]:
        own = files.of(self.place)

        async def is_file(path: str) -> bool:
            try:
                return (await own.find("path", path)).path == path
            except tables.RecordNotFound:
                return False

        return await asyncio.gather(*map(is_file, paths))

    async def _put(self, path: str, data: bytes | Repeatable, usage: FileUsage) -> tuple[str, int]:
        """Write the blob of a content; return its SHA-256 in hex and its size. What passes the quota is not written.

        A stream is read twice, as its end must be known before the name of the blob.
        """
        found, size = hashlib.sha256(), 0
        async for part in _once(data) if isinstance(data, bytes) else data():
            size += len(part)
            await self._check_room(path, size, usage)
            found.update(part)
        await blobs.put(CONTAINER, self.folder + found.hexdigest(), data if isinstance(data, bytes) else data())
        return found.hexdigest(), size

    async def _check_room(self, path: str, size: int, usage: FileUsage) -> None:
        """`QuotaExceeded` when there is no room for a file of this size at this path. No call, or 2 when it is full.

        Others may write meanwhile: the row is refused then, and the content is left to the nightly sweep.
        """
        if usage.bytes + size <= self.quota and usage.count < MAX_FILES:
            return
        try:
            replaced = (await self.find(path)).size
        except FileNotFound:
            replaced = 0
            if usage.count >= MAX_FILES:
                raise self._too_many() from None
        if size > replaced and (total := usage.bytes + size - replaced) > self.quota:
            self._refuse(total)

    async def _store(self, path: str, sha256: str, size: int) -> FileRow:
        """Write the row of a content. `BoundPassed` when the workspace would hold too much."""
        own = files.of(self.place).within(MAX_FILES, size=self.quota)

        def replace(it: FileRow) -> None:
            if it.path != path:  # moved since it was found
                raise tables.RecordNotFound(FileRow.__name__, it.id)
            if it.sha256 != sha256:
                it.previous, it.sha256, it.size = it.sha256, sha256, size

        for _ in range(_ATTEMPTS):
            try:
                return await own.insert(FileRow(user_id=self.owner, path=path, sha256=sha256, size=size))
            except (tables.RecordConflict, tables.BoundPassed) as error:
                refusal = error
            try:
                return await own.update(await own.find("path", path), replace)
            except tables.RecordNotFound:
                if isinstance(refusal, tables.BoundPassed):
                    raise refusal from None
        raise Unavailable(f"{path[:200]} is written and deleted all the time", headers={"Retry-After": "5"})

    def _too_many(self) -> QuotaExceeded:
        return QuotaExceeded(f"A workspace holds at most {MAX_FILES} files")

    def _refuse(self, size: int) -> None:
        raise QuotaExceeded(f"The workspace would hold {size} bytes, and may hold {self.quota}")


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
