"""Serving stored files: whole or in part, and not at all to those who have them already."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from shared import blobs
from shared.http.errors import RangeNotSatisfiable

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True)
class Found:
    """A file: the name it is saved under, its size in bytes, its content type, its ETag without quotes, its blob."""

    name: str
    size: int
    content_type: str
    tag: str
    container: str
    blob: str


async def serve_file(
    file: Found, *, wanted: str | None = None, if_none_match: str | None = None, if_range: str | None = None
) -> Response:
    """200, 206 (one range; several are answered with the whole), 304 or 416. Raises `blobs.BlobNotFound`."""
    tag = f'"{file.tag}"'
    if if_none_match is not None and {"*", tag} & {
        given.strip().removeprefix("W/") for given in if_none_match.split(",")
    }:
        return Response(status_code=304, headers={"ETag": tag})
    start, length, status = 0, file.size, 200
    headers = {
        "Content-Type": file.content_type,  # as it is: a media type would be given a charset
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Content-Disposition": _disposition(file.name),
        "X-Content-Type-Options": "nosniff",
    }
    if wanted and if_range in (None, tag) and (part := _part(wanted, file.size)):
        start, length = part
        status = 206
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{file.size}"
    headers["Content-Length"] = str(length)
    chunks = blobs.stream(file.container, file.blob, start, length or None)
    first = await anext(chunks, b"")  # tells of a lost blob while there is a status to say it with

    async def body() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return StreamingResponse(body(), status, headers)


def _part(wanted: str, size: int) -> tuple[int, int] | None:
    """(start, length) of a Range header; None when it is to be ignored. `RangeNotSatisfiable`."""
    match = _RANGE.fullmatch(wanted.strip())
    if match is None or not (match[1] or match[2]) or (match[1] and match[2] and int(match[1]) > int(match[2])):
        return None
    if match[1]:
        start, end = int(match[1]), min(int(match[2] or size - 1), size - 1)
    else:
        start, end = max(size - int(match[2]), 0), size - 1
    if start > end:
        raise RangeNotSatisfiable("The file has no such part", {"Content-Range": f"bytes */{size}"})
    return start, end - start + 1


def _disposition(name: str) -> str:
    if name.isascii() and name.isprintable() and '"' not in name:
        return f'attachment; filename="{name}"'
    return f"attachment; filename*=utf-8''{quote(name)}"
