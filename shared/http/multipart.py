"""Reads `multipart/form-data` as a stream: text fields are collected, the file is passed on chunk by chunk."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from shared.http.errors import BadRequest

MAX_FIELDS = 1024 * 1024
"""Bytes of all text fields of a form together."""

MAX_PARTS = 1000
"""Fields and files of a form."""

MAX_BOUNDARY = 200
"""Bytes of a boundary; the standard allows 70."""

_BOUNDARY_LINE = re.compile(rb"--([!-~]+)\r\n")

T = TypeVar("T")


@dataclass
class Part:
    """The headers of one part."""

    name: str = ""
    filename: str | None = None
    content_type: str | None = None


async def read_form(
    request: Request,
    save: Callable[[Part, AsyncIterator[bytes]], Awaitable[T]],
    *,
    file_field: str = "file",
    any_type: bool = False,
) -> tuple[dict[str, list[str]], T | None]:
    """Return all text fields, and the result of `save(part, chunks)` for the first file named `file_field`, or None.

    Other files are read and ignored, and so is an empty one without a name: a browser sends it when no file is chosen.
    With `any_type` the boundary is taken from the body's first line where the content type is not multipart: some
    clients send a form as `application/json`. `BadRequest` for a body that is malformed or incomplete; inside the file,
    `chunks` raises it to `save`.
    """
    fields: dict[str, list[str]] = {}
    size, text, saved, found = 0, bytearray(), None, False
    stream = _parts(request, any_type)
    async for part, chunk in stream:
        if part.filename is None:
            text += chunk or b""
            size += len(chunk or b"")
            if size > MAX_FIELDS:
                raise BadRequest(f"The form's text fields must not be larger than {MAX_FIELDS} bytes together")
            if chunk is None:
                fields.setdefault(part.name, []).append(text.decode("utf-8", "replace"))
                text.clear()
        elif part.name == file_field and not found and (part.filename or chunk is not None):
            found = True
            saved = await save(part, _rest(stream, chunk))
    return fields, saved


async def _rest(stream: AsyncIterator[tuple[Part, bytes | None]], chunk: bytes | None) -> AsyncIterator[bytes]:
    """Yield the chunks of a part, of which `chunk` is the first."""
    while chunk is not None:
        yield chunk
        _, chunk = await anext(stream)


async def _parts(request: Request, any_type: bool) -> AsyncIterator[tuple[Part, bytes | None]]:
    """Yield the chunks of each part as they arrive, and None at the end of a part."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    chunks, start = request.stream(), b""
    boundary = options.get(b"boundary", b"") if kind == b"multipart/form-data" else b""
    if not boundary and any_type:
        start, boundary = await _first_line(chunks)
    if not 1 <= len(boundary) <= MAX_BOUNDARY:
        raise BadRequest("Body must be multipart/form-data")
    form = FormParser(boundary)
    async for raw in _joined(start, chunks):
        for event in form.feed(raw):
            yield event
    if not form.ended:
        raise BadRequest("Body ends before the end of the form")


class FormParser:
    """Reads a form as it arrives, in pieces of any size; `ended` after the last part."""

    def __init__(self, boundary: bytes | str):
        self.ended = False
        self._events: list[tuple[Part, bytes | None]] = []
        self._part, self._count, self._name, self._value = Part(), 0, bytearray(), bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, stop: self._name.extend(data[start:stop]),
                "on_header_value": lambda data, start, stop: self._value.extend(data[start:stop]),
                "on_header_end": self._header,
                "on_part_data": lambda data, start, stop: self._events.append((self._part, data[start:stop])),
                "on_part_end": lambda: self._events.append((self._part, None)),
                "on_end": self._end,
            },
        )

    def feed(self, raw: bytes) -> list[tuple[Part, bytes | None]]:
        """Return the chunks of parts in the next piece, and None at the end of a part. `BadRequest`."""
        try:
            self._parser.write(raw)
        except FormParserError as error:
            raise BadRequest("Body is not well-formed multipart/form-data") from error
        ready, self._events = self._events, []
        return ready

    def _begin(self) -> None:
        self._part, self._count = Part(), self._count + 1
        if self._count > MAX_PARTS:
            raise BadRequest(f"The form must not have more than {MAX_PARTS} fields")

    def _header(self) -> None:
        _set_header(self._part, bytes(self._name).lower(), bytes(self._value))
        self._name.clear()
        self._value.clear()

    def _end(self) -> None:
        self.ended = True


async def _first_line(chunks: AsyncIterator[bytes]) -> tuple[bytes, bytes]:
    """Return the beginning of a body, and the boundary that its first line is; an empty one for another body."""
    start = b""
    async for chunk in chunks:
        start += chunk
        if b"\n" in start or len(start) > MAX_BOUNDARY + 4:
            break
    return start, boundary_of(start)


def boundary_of(start: bytes) -> bytes:
    """Return the boundary that the first line of a body is; an empty one for another body."""
    match = _BOUNDARY_LINE.match(start)
    return match[1] if match else b""


async def _joined(start: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if start:
        yield start
    async for chunk in chunks:
        yield chunk


def _set_header(part: Part, name: bytes, value: bytes) -> None:
    if name == b"content-type":
        part.content_type = value.decode("latin-1")
    elif name == b"content-disposition":
        _, options = parse_options_header(value)
        part.name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" in options:
            part.filename = options[b"filename"].decode("utf-8", "replace")
