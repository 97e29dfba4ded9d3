"""Values as parts of row keys: text in `[A-Za-z0-9_.~-]`, different for different values, sorted as needed."""

import hashlib
import re
import struct
from datetime import UTC, datetime
from functools import lru_cache

LONGEST = 128
"""Characters of an encoded value. A longer one ends with its hash, so that a key of three values stays below 512."""

END = "~"
"""Sorts behind everything that may follow a prefix: `[prefix, prefix + END)` is the range of its keys."""

_plain = re.compile(r"[A-Za-z0-9_-]*").fullmatch
_escape = re.compile(r"[^A-Za-z0-9_-]").sub


def encode(value: object) -> str:
    """A value for an exact match. `.` and two digits stand for each byte of another character, `.n` for None."""
    if type(value) is str:
        return _encoded(value)
    if value is None:
        return ".n"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _encoded(value.isoformat() if isinstance(value, datetime) else str(value))


@lru_cache(1024)
def _encoded(text: str) -> str:
    """A text for an exact match. Each index of a record repeats it, so the last ones are kept."""
    if len(text) <= LONGEST and _plain(text):
        return text
    escaped = _escape(lambda match: "".join(f".{byte:02x}" for byte in match[0].encode()), text)
    if len(escaped) <= LONGEST:
        return escaped
    return f"{escaped[:48]}.h{hashlib.sha256(text.encode()).hexdigest()}"


def descending(value: object) -> str:
    """A value for sorting from high to low, None last. Texts are compared by 60 bytes, without regard to case."""
    if value is None:
        return "h"
    if isinstance(value, str):
        # "g" sorts behind the digits: if one text begins with the other, the longer one is the higher one.
        return bytes(255 - byte for byte in value.casefold().encode()[:60]).hex() + "g"
    return f"{(1 << 64) - 1 - _ordinal(value):016x}"


def _ordinal(value: object) -> int:
    """A number of 64 bits that sorts like the value."""
    if isinstance(value, datetime):
        return round(utc(value).timestamp() * 1_000_000) + (1 << 62)
    if isinstance(value, float):
        (bits,) = struct.unpack(">Q", struct.pack(">d", value))
        return bits ^ ((1 << 64) - 1 if bits >> 63 else 1 << 63)
    if isinstance(value, int):
        return min(max(value + (1 << 63), 0), (1 << 64) - 1)
    raise TypeError(f"{type(value).__name__} cannot be sorted")


def utc(moment: datetime) -> datetime:
    """The same moment in UTC; one without a zone is taken as UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
