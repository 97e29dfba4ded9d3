"""Writes on the wire: single operations, and transactions as one multipart request with its response."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from shared.tables.errors import ServiceRefused, Unstorable

MAX_OPERATIONS = 100
MAX_BYTES = 4 * 1024 * 1024
MAX_ROW = 1024 * 1024

_BOUNDARY = b"changeset_runyard"
_PART = b"--" + _BOUNDARY + b"\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
_HEAD = b"--batch_runyard\r\nContent-Type: multipart/mixed; boundary=" + _BOUNDARY + b"\r\n\r\n"
_TAIL = b"--" + _BOUNDARY + b"--\r\n--batch_runyard--\r\n"
_FIELDS = (
    "Accept: application/json;odata=nometadata\r\nContent-Type: application/json\r\nPrefer: return-no-content\r\n"
    "DataServiceVersion: 3.0"
)
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_SEPARATORS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))
"""Characters that end a line of a transaction for Azurite: inside JSON they can be escaped."""

_INDEX = re.compile(r"\s*(\d+):")

CONTENT_TYPE = "multipart/mixed; boundary=batch_runyard"
ROOM = MAX_BYTES - len(_HEAD) - len(_TAIL)
"""Bytes that the operations of one transaction may have together."""


@dataclass(slots=True)
class Operation:
    """One write of one row: POST inserts, PUT replaces (without `etag` it inserts too), PATCH merges, DELETE deletes.

    `etag` is the version that must be stored, "*" stands for any version. `columns` are JSON values; the type of a
    column may be given as `<column>@odata.type`.
    """

    verb: Literal["POST", "PUT", "PATCH", "DELETE"]
    row_key: str
    columns: dict[str, Any] | None = None
    etag: str | None = None

    def path(self, partition: str) -> str:
        """What follows the table's name in this operation's URL."""
        return "" if self.verb == "POST" else f"(PartitionKey='{partition}',RowKey='{self.row_key}')"

    def content(self, partition: str) -> bytes:
        """The row as JSON, empty for a DELETE; `Unstorable` when the service would not take it."""
        return b"" if self.columns is None else self._content(partition, _rest(self.columns))

    def _content(self, partition: str, rest: bytes) -> bytes:
        # Both keys are made of characters that need no escape.
        body = f'{{"PartitionKey":"{partition}","RowKey":"{self.row_key}"'.encode() + rest
        if len(body) > MAX_ROW:
            columns = self.columns or {}
            field = max(columns, key=lambda name: len(str(columns[name])))
            raise Unstorable(f"a row of {len(body)} bytes is over 1 MiB, most of it {field}", field)
        return body


def encode(operations: Iterable[Operation], url: str, partition: str) -> list[bytes]:
    """These operations as parts of a transaction; `url` is that of the table. `Unstorable`.

    Operations that share their columns one after the other, as index rows do, share the JSON of these.
    """
    parts: list[bytes] = []
    columns, rest = None, b""
    for operation in operations:
        content = b""
        if operation.columns is not None:
            if operation.columns is not columns:
                columns = operation.columns
                rest = _rest(columns)
            content = operation._content(partition, rest)  # pyright: ignore[reportPrivateUsage]
        condition = f"\r\nIf-Match: {operation.etag}" if operation.etag else ""
        head = f"{operation.verb} {url}{operation.path(partition)} HTTP/1.1\r\n{_FIELDS}{condition}\r\n\r\n"
        parts.append(b"".join((_PART, head.encode(), content, b"\r\n")))
    return parts


def _rest(columns: dict[str, Any]) -> bytes:
    """These columns as the end of a JSON object; `Unstorable`."""
    try:
        body = orjson.dumps(columns)
    except TypeError as error:  # half of a surrogate pair
        field = next((name for name, value in columns.items() if not _is_text(value)), "")
        raise Unstorable(f"{field}: {error}", field) from error
    for separator, escaped in _SEPARATORS:
        body = body.replace(separator, escaped)
    return b"," + body[1:] if columns else body[1:]


def _is_text(value: object) -> bool:
    return not isinstance(value, str) or not _HALF_PAIR.search(value)


def request(parts: list[bytes]) -> bytes:
    """The body of a transaction with these parts, in their order."""
    return b"".join((_HEAD, *parts, _TAIL))


def etags_of(body: bytes) -> list[str | None]:
    """The new ETag of each operation (None after a DELETE); raises `ServiceRefused` for an operation that failed."""
    etags: list[str | None] = []
    for part in body.split(b"HTTP/1.1 ")[1:]:
        status = int(part[:3])
        if status >= 400:
            raise refusal(status, part[part.find(b"{") : part.rfind(b"}") + 1])
        start = part.find(b"ETag: ")
        etags.append(part[start + 6 : part.index(b"\r", start)].decode() if start >= 0 else None)
    return etags


def refusal(status: int, body: bytes) -> ServiceRefused:
    """The error in the response of a request that failed."""
    try:
        error = orjson.loads(body)["odata.error"]
        code, message = str(error["code"]), str(error["message"]["value"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ServiceRefused(status, "", None, body[:200].decode(errors="replace"))
    place = _INDEX.match(message)
    return ServiceRefused(status, code, int(place[1]) if place else None, message.splitlines()[0] if message else "")
