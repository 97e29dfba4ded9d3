"""Files over HTTP: uploads are streamed into a blob; downloads support ranges and conditions."""

import contextlib
import mimetypes
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Header, Request
from starlette.responses import Response, StreamingResponse

from shared import blobs
from shared.http.errors import RangeNotSatisfiable, TooLarge
from shared.http.multipart import Part, read_form

FORM_ROOM = 2 * 1024 * 1024
"""Bytes that an upload may have besides its file: text fields, headers and boundaries of the form."""

FILE = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
"""The schema of a form's file: `format` makes pages show a file chooser, the media type is what OpenAPI 3.1 reads."""

DOWNLOAD: dict[int | str, dict[str, Any]] = {
    200: {"content": {"*/*": {}}},
    206: {"description": "The requested range of the file"},
    304: {"description": "The file has not changed since the client received it"},
    416: {"description": "The requested range is outside the file"},
}
"""The responses of a route that serves a file, for OpenAPI."""

ANY_TYPE = "application/octet-stream"
_TYPE = re.compile(r"[\w.+-]{1,127}/[\w.+-]{1,127}(;[ -~]{0,200})?", re.ASCII)
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True)
class Upload:
    """A file that has been stored: its name and type as the client gave them, its size in bytes, its SHA-256 in hex."""

    name: str
    content_type: str | None
    size: int
    sha256: str

    def type_as(self, name: str) -> str:
        """Return the content type that the client gave; if that is not valid, the one of the extension of `name`."""
        if self.content_type and _TYPE.fullmatch(self.content_type):
            return self.content_type
        return mimetypes.guess_type(name)[0] or ANY_TYPE


async def receive_upload(
    request: Request,
    container: str,
    blob: str,
    *,
    limit: int,
    any_type: bool = False,
    check_name: Callable[[str], None] | None = None,
) -> tuple[dict[str, list[str]], Upload | None]:
    """Stream the form's `file` into a blob; return the text fields and the upload (None when the form has no file).

    `check_name` may raise for the file's name. `TooLarge` for a file over `limit` bytes, `BadRequest` for a malformed
    form; nothing is stored then.
    """

    async def save(part: Part, chunks: AsyncIterator[bytes]) -> Upload:
        digest, size = sha256(), 0
        if check_name:
            check_name(part.filename or "")

        async def measured() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise TooLarge("File too large")
                digest.update(chunk)
                yield chunk

        await blobs.put(container, blob, measured())
        return Upload(part.filename or "", part.content_type, size, digest.hexdigest())

    return await read_form(request, save, any_type=any_type)


async def read_upload(request: Request) -> tuple[dict[str, list[str]], bool]:
    """Return the form's text fields, and whether it has a `file`, which is not stored. `BadRequest` for a bad form."""

    async def read(_: Part, chunks: AsyncIterator[bytes]) -> bool:
        async for _chunk in chunks:
            pass
        return True

    fields, found = await read_form(request, read)
    return fields, found is not None


@contextlib.asynccontextmanager
async def deleted_on_error(container: str, blob: str) -> AsyncGenerator[None]:
    """Delete the blob when the block raises: nothing else would delete a blob without a record."""
    try:
        yield
    except BaseException:
        await blobs.delete(container, blob)
        raise


@dataclass(frozen=True)
class StoredFile:
    """A file to download: `name` for the client to save it under, `size` in bytes, `tag` its ETag without quotes."""

    name: str
    size: int
    content_type: str
    tag: str
    container: str
    blob: str


@dataclass(frozen=True)
class Conditions:
    """The values of the headers Range, If-None-Match and If-Range; None when absent."""

    range: str | None = None
    if_none_match: str | None = None
    if_range: str | None = None


async def _conditions(
    wanted: Annotated[str | None, Header(alias="Range")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
    if_range: Annotated[str | None, Header()] = None,
) -> Conditions:
    return Conditions(wanted, if_none_match, if_range)


FileConditions = Annotated[Conditions, Depends(_conditions)]
"""Parameter type of a route that serves a file."""


async def serve_file(file: StoredFile, conditions: Conditions) -> Response:
    """Return the response: 200, 206 (for one range; several get the whole file) or 304.

    Raises `RangeNotSatisfiable` (416) and `blobs.BlobNotFound`.
    """
    tag = f'"{file.tag}"'
    known = conditions.if_none_match
    if known is not None and {"*", tag} & {each.strip().removeprefix("W/") for each in known.split(",")}:
        return Response(status_code=304, headers={"ETag": tag})
    start, length, status = 0, file.size, 200
    headers = {
        # Not as `media_type`, to which Starlette may add a charset. What a container says of its files is not checked
        # before, and a line break in it would end the header.
        "Content-Type": file.content_type if _TYPE.fullmatch(file.content_type) else ANY_TYPE,
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Content-Disposition": disposition(file.name),
        "X-Content-Type-Options": "nosniff",
    }
    if conditions.range and conditions.if_range in (None, tag) and (part := _parse_range(conditions.range, file.size)):
        start, length = part
        status = 206
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{file.size}"
    headers["Content-Length"] = str(length)
    return StreamingResponse(await stream_blob(file.container, file.blob, start, length or None), status, headers)


async def stream_blob(container: str, blob: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
    """Return a blob's bytes once the first have arrived, so that `BlobNotFound` is raised before a response starts."""
    chunks = blobs.stream(container, blob, offset, length)
    first = await anext(chunks, b"")

    async def body() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return body()


def disposition(name: str) -> str:
    """Return a Content-Disposition; a name with other characters than ASCII is given a second time in `filename*`."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\' else "_" for c in name)
    header = f'attachment; filename="{plain}"'
    if plain == name:
        return header
    return f"{header}; filename*=utf-8''{quote(name.encode('utf-8', 'replace'), safe='')}"


def _parse_range(wanted: str, size: int) -> tuple[int, int] | None:
    """Return (start, length) of a Range header; None when it must be ignored. `RangeNotSatisfiable`."""
    match = _RANGE.fullmatch(wanted.strip())
    if match is None or not (match[1] or match[2]) or (match[1] and match[2] and int(match[1]) > int(match[2])):
        return None
    if match[1]:
        start, end = int(match[1]), min(int(match[2] or size - 1), size - 1)
    else:
        start, end = max(size - int(match[2]), 0), size - 1
    if start > end:
        raise RangeNotSatisfiable(
            "The requested range is outside the file", headers={"Content-Range": f"bytes */{size}"}
        )
    return start, end - start + 1
