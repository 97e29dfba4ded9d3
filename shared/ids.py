"""Identifiers: UUIDv7 text, and the row keys that sort them newest first."""

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ALL = (1 << 128) - 1
_TAIL = 74  # random bits of a UUIDv7, besides the time in milliseconds, the version and the variant
_MS = 48
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLACES = [place for place in range(36) if place not in (8, 13, 18, 23)]  # of the digits in an id's text
_INVERSE = bytes.maketrans(b"0123456789abcdef", b"fedcba9876543210")

_lock = threading.Lock()
_last = 0


def new_id(at: datetime | None = None) -> str:
    """A UUIDv7 in lower-case text; those of one process only ever grow, also when its clock is set back.

    With `at` the id is of that moment (for records that are older than their row); it does not move the clock on.
    """
    global _last
    if at is not None:
        return _text(_milliseconds(at) << _TAIL | secrets.randbits(_TAIL))
    value = time.time_ns() // 1_000_000 << _TAIL | secrets.randbits(_TAIL - 1)
    with _lock:
        _last = value = value if value > _last else _last + 1 + secrets.randbits(32)
    return _text(value)


def derived_id(at: datetime, seed: str) -> str:
    """The one id that belongs to a moment and a text: what makes a repeated insert the same insert."""
    digest = int.from_bytes(hashlib.sha256(seed.encode()).digest())
    return _text(_milliseconds(at) << _TAIL | digest & (1 << _TAIL) - 1)


def _milliseconds(moment: datetime) -> int:
    """Whole ones since 1970, in exact arithmetic: a float would lose one now and then."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _text(value: int) -> str:
    """48 bits of time and 74 others, with version and variant put between them."""
    time_part, high, low = value >> _TAIL, value >> 62 & 0xFFF, value & (1 << 62) - 1
    digits = f"{time_part << 80 | 7 << 76 | high << 64 | 2 << 62 | low:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def time_of(record_id: str) -> datetime | None:
    """The moment (UTC, to the millisecond) that a UUIDv7 carries; None for any other text."""
    if len(record_id) != 36 or record_id[14] != "7":
        return None
    milliseconds = int(record_id[:8] + record_id[9:13], 16)
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError):
        return None


def row_key(record_id: str) -> str | None:
    """The 32 digits under which the record of this id sorts, newest first; None when it is no UUID text."""
    record_id = record_id.lower()
    if not _TEXT.fullmatch(record_id):
        return None
    return f"{_ALL ^ int(record_id.replace('-', ''), 16):032x}"


def ids_of(keys: Sequence[str]) -> list[str]:
    """The ids whose row keys end with these 32 digits, in their order: the inverse of `row_key`.

    All at once, a digit of every id at a time: a quarter of the time of one id after the other.
    """
    digits = "".join([key[-32:] for key in keys]).encode().translate(_INVERSE)
    text = bytearray(b"________-____-____-____-____________ " * len(keys))
    for source, place in enumerate(_PLACES):
        text[place::37] = digits[source::32]
    return text.decode().split()


def first_key(before: datetime) -> str:
    """The lowest 12 digits that begin the row keys of ids made before that moment (whole milliseconds)."""
    return f"{(1 << _MS) - _milliseconds(before):012x}"
