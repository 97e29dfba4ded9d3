"""All files of a workspace as one stream: their contents one after the other, or a ZIP file of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from functions.ownpilot.core.files import FileRow, FileStore

SMALL = 256 * 1024
"""Bytes of a file that is read whole, beside `AHEAD` others; a larger one is read in parts, alone."""

AHEAD = 8

PART = 64 * 1024
"""Bytes of an archive that are sent together, at least."""

Content = AsyncIterator[bytes]


async def contents(store: FileStore, rows: Sequence[FileRow]) -> AsyncIterator[tuple[FileRow, Content]]:
    """Yield each file with its content, which must be read before the next file is asked for.

    At most 4 MiB of contents are in memory.
    """
    for first in range(0, len(rows), AHEAD):
        group = rows[first : first + AHEAD]
        small = [row for row in group if row.size <= SMALL]
        found = await asyncio.gather(*map(store.content, small))
        read = {row.id: data for row, data in zip(small, found, strict=True)}
        for row in group:
            yield row, _once(read[row.id]) if row.id in read else store.stream(row)


async def zip_stream(store: FileStore, rows: Sequence[FileRow]) -> AsyncIterator[bytes]:
    """Yield a ZIP file of these files, uncompressed: so it is as fast as storage. Each has the time of its last write.

    A client that stops reading stops the reading of blobs too.
    """
    from zipfile import ZIP_STORED, ZipFile, ZipInfo

    sink = _Sink()
    with ZipFile(sink, "w", ZIP_STORED) as archive:
        async for row, content in contents(store, rows):
            member = ZipInfo(row.path, row.updated_at.timetuple()[:6])
            member.external_attr = 0o644 << 16
            with archive.open(member, "w", force_zip64=row.size >= 2**31) as file:
                async for chunk in content:
                    file.write(chunk)
                    if sink.size >= PART:
                        yield sink.taken()
    yield sink.taken()


class _Sink:
    """What the archive is written to: a file that only grows at its end, and whose bytes are taken away."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: the bytes are taken."""

    def close(self) -> None:
        """Do nothing: an archive does not close what it is given."""

    def taken(self) -> bytes:
        """Return what was written since the last call."""
        data = b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        return data


async def _once(data: bytes) -> Content:
    yield data
