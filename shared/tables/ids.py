"""Ids of records: the texts that clients see, made from UUIDv7, and the row keys that sort them newest first."""

import hashlib
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DIGITS = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"[1-9][0-9]{0,14}")  # below 2**53: exact as a JSON number
_PREFIX = re.compile(r"[a-z][a-z0-9]{0,15}[_-]")
_ALL = (1 << 128) - 1
_TAIL = 74  # random bits of a UUIDv7, besides the time in milliseconds, the version and the variant
_MS = 48
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLACES = [place for place in range(36) if place not in (8, 13, 18, 23)]  # of the digits in an id's text
_INVERSE = bytes.maketrans(b"0123456789abcdef", b"fedcba9876543210")

_lock = threading.Lock()
_last = 0


def new_id(at: datetime | None = None) -> str:
    """A UUIDv7 in lower-case text. The ids of one process only grow, even when its clock is set back.

    With `at` the id is of that moment, for a record that is older than its row; the other ids are not affected.
    """
    return _text(_new(at))


def derived_id(at: datetime, seed: str) -> str:
    """The one UUIDv7 for this moment and this text: what makes a repeated insert the same insert."""
    return _text(_derived(at, seed))


@dataclass
class _Origin:
    at: datetime
    seed: Callable[[], str]
    made: Counter[str] = field(default_factory=Counter[str])


_origin: ContextVar[_Origin | None] = ContextVar("origin of new ids", default=None)


@contextmanager
def repeatable(at: datetime, seed: Callable[[], str]) -> Generator[None]:
    """Let the new records of this block have derived ids: the same ones in a repeat with this moment and seed.

    So a repeat of work that was interrupted inserts the records that are stored already. The `seed` is asked for each
    record. A number cannot be derived; `Collection.insert` finds the record that the first one has stored.
    """
    token = _origin.set(_Origin(at, seed))
    try:
        yield
    finally:
        _origin.reset(token)


def repeating() -> bool:
    """Whether new records have derived ids here."""
    return _origin.get() is not None


def next_derived(kind: str) -> tuple[datetime, str] | None:
    """The moment and the text for the next new id of a kind of record in a `repeatable` block; None outside of one."""
    origin = _origin.get()
    if origin is None:
        return None
    origin.made[kind] += 1
    return origin.at, f"{origin.seed()} {kind} {origin.made[kind]}"


def _new(at: datetime | None) -> str:
    global _last
    if at is not None:
        return _digits(_milliseconds(at) << _TAIL | secrets.randbits(_TAIL))
    value = time.time_ns() // 1_000_000 << _TAIL | secrets.randbits(_TAIL - 1)
    with _lock:
        _last = value = value if value > _last else _last + 1 + secrets.randbits(32)
    return _digits(value)


def _derived(at: datetime, seed: str) -> str:
    digest = int.from_bytes(hashlib.sha256(seed.encode()).digest())
    return _digits(_milliseconds(at) << _TAIL | digest & (1 << _TAIL) - 1)


def _milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970, in exact arithmetic: a float is off by one now and then."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _digits(value: int) -> str:
    """The 32 digits of a UUIDv7: 48 bits of time and 74 others, with version and variant between them."""
    time_part, high, low = value >> _TAIL, value >> 62 & 0xFFF, value & (1 << 62) - 1
    return f"{time_part << 80 | 7 << 76 | high << 64 | 2 << 62 | low:032x}"


def _text(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def time_of(record_id: str) -> datetime | None:
    """The moment (UTC, to the millisecond) in a UUIDv7, with or without a prefix; None for any other text."""
    digits = record_id.replace("-", "")[-32:]
    # Lists without a column of the time come here for each record: a regular expression takes three times as long.
    if len(digits) != 32 or digits[12] != "7" or not (digits.isascii() and digits.isalnum()):
        return None
    try:
        return datetime.fromtimestamp((int(digits, 16) >> 80) / 1000, UTC)
    except (OverflowError, ValueError):
        return None


def row_key(record_id: str) -> str | None:
    """The 32 digits under which the record of this UUID sorts, newest first; None when the text is not a UUID."""
    record_id = record_id.lower()
    return _inverse(record_id.replace("-", "")) if _TEXT.fullmatch(record_id) else None


def _inverse(digits: str) -> str:
    return f"{_ALL ^ int(digits, 16):032x}"


def ids_of(keys: Sequence[str]) -> list[str]:
    """The UUIDs whose row keys end with these 32 digits, in their order: the inverse of `row_key`.

    All at once, a digit of every id at a time, which takes a quarter of the time of one id after the other.
    """
    if len(keys) == 1:
        return [_text(_inverse(keys[0][-32:]))]
    digits = "".join([key[-32:] for key in keys]).encode().translate(_INVERSE)
    text = bytearray(b"________-____-____-____-____________ " * len(keys))
    for source, place in enumerate(_PLACES):
        text[place::37] = digits[source::32]
    return text.decode().split()


def first_key(before: datetime) -> str:
    """Where the row keys of ids begin that were made before that moment (whole milliseconds)."""
    milliseconds = _milliseconds(before.replace(tzinfo=UTC) if before.tzinfo is None else before)
    # No id is older than 1970: nothing is before that, and "g" sorts behind all digits.
    return f"{(1 << _MS) - milliseconds:012x}" if milliseconds > 0 else "g"


class IdForm(Protocol):
    """How the ids of one model are written. A new form is a class here, which `Record.__init_subclass__` chooses."""

    order: str
    """The field by which the row keys sort the records."""

    ascending: bool
    """Whether they sort the lowest value first; otherwise the highest, the newest."""

    def new(self, at: datetime | None = None) -> str:
        """A new id; with `at`, of that moment."""
        ...

    def derived(self, at: datetime, seed: str) -> str:
        """The one id for this moment and this text."""
        ...

    def row_key(self, record_id: str) -> str | None:
        """The 32 digits under which the record sorts; None when the text is not an id of this form."""
        ...

    def texts(self, keys: Sequence[str]) -> list[str]:
        """The ids whose row keys end with these 32 digits, in their order."""
        ...

    def first_key(self, before: Any) -> str:
        """Where the row keys of the records begin whose value of `order` is lower than this one.

        In an `ascending` form, of those whose value is this one or higher.
        """
        ...

    def time_of(self, record_id: str) -> datetime | None:
        """The moment of an id; None when the text does not carry one."""
        ...


class UuidForm:
    """The id is the text of a UUIDv7, in lower case; upper case is read too."""

    order, ascending = "created_at", False
    new = staticmethod(new_id)
    derived = staticmethod(derived_id)
    row_key = staticmethod(row_key)
    texts = staticmethod(ids_of)
    first_key = staticmethod(first_key)
    time_of = staticmethod(time_of)


class PrefixedForm:
    """The id is a prefix and the 32 lower-case digits of a UUIDv7: `goal_018f...`."""

    order, ascending = "created_at", False
    first_key = staticmethod(first_key)
    time_of = staticmethod(time_of)

    def __init__(self, prefix: str):
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(f"{prefix!r}: a prefix is 1 to 16 of a-z and 0-9, a letter first, then _ or -")
        self.prefix = prefix

    def new(self, at: datetime | None = None) -> str:
        return self.prefix + _new(at)

    def derived(self, at: datetime, seed: str) -> str:
        return self.prefix + _derived(at, seed)

    def row_key(self, record_id: str) -> str | None:
        digits = record_id.removeprefix(self.prefix)
        return _inverse(digits) if len(digits) < len(record_id) and _DIGITS.fullmatch(digits) else None

    def texts(self, keys: Sequence[str]) -> list[str]:
        digits = "".join([key[-32:] for key in keys]).encode().translate(_INVERSE).decode()
        return [self.prefix + digits[start : start + 32] for start in range(0, len(digits), 32)]


class NumberForm:
    """The id is a whole number from 1 on, as decimal text; "" until the collection has taken one at the insert."""

    order = "id"

    def __init__(self, *, ascending: bool = False):
        self.ascending = ascending
        self._inverted = 0 if ascending else _ALL

    def new(self, at: datetime | None = None) -> str:
        return ""

    def derived(self, at: datetime, seed: str) -> str:
        raise ValueError("a number follows from the records before it, not from a moment and a text")

    def row_key(self, record_id: str) -> str | None:
        return f"{self._inverted ^ int(record_id):032x}" if _NUMBER.fullmatch(record_id) else None

    def texts(self, keys: Sequence[str]) -> list[str]:
        return [str(self._inverted ^ int(key[-32:], 16)) for key in keys]

    def first_key(self, before: Any) -> str:
        key = f"{self._inverted ^ max(int(before), 0):032x}"
        return key if self.ascending else key + " "

    def time_of(self, record_id: str) -> datetime | None:
        return None
