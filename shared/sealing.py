"""Secrets at rest: texts sealed with AES-256-GCM for one place, and their renewal when the key changes.

A sealed text is `<key id>:<base64url of nonce and ciphertext>`. It opens only for the context it was sealed for, so a
value copied into another record cannot be opened there.
"""

import base64
import contextlib
import json
import logging
import re
import secrets
from dataclasses import dataclass
from typing import Any, NamedTuple

from shared.faults import Sweep
from shared.settings import LOCAL_SEALING_KEYS, settings
from shared.tables import Collection, RecordNotFound

log = logging.getLogger(__name__)

_ENTRY = re.compile(r"([A-Za-z0-9_-]{1,32}):([A-Za-z0-9+/]{43}=)")
_NONCE = 12
_TAG = 16

sealed_fields: dict[str, tuple[str, ...]] = {}
"""The sealed fields of each collection that has some, by table."""


class SealingNotConfigured(Exception):
    """The setting RUNYARD_SEALING_KEYS holds no keys that may be used here."""


class SealBroken(Exception):
    """A sealed text does not open: it was altered, belongs to another place, or its key is not in the settings."""


class Context(NamedTuple):
    """The place of a sealed text. The text does not open in any other place."""

    table: str
    record: str
    field: str


@dataclass(frozen=True)
class Resealed:
    """How many records were sealed anew, and how many hold a text that does not open."""

    records: int
    broken: int


def seal(text: str, context: Context) -> str:
    """`text` sealed for this place with the first key. `SealingNotConfigured`.

    Sealing a text twice gives two different results.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key_id, key = next(iter(_keys().items()))
    nonce = secrets.token_bytes(_NONCE)
    # A text may hold half a surrogate pair; an error of the encoder would carry the text.
    data = AESGCM(key).encrypt(nonce, text.encode("utf-8", "surrogatepass"), _associated(context))
    return f"{key_id}:{base64.urlsafe_b64encode(nonce + data).decode()}"


def unseal(sealed: str, context: Context) -> str:
    """The text that was sealed for this place. `SealBroken`, `SealingNotConfigured`."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key_id, _, encoded = sealed.partition(":")
    key = _keys().get(key_id)
    if key is None:
        raise SealBroken(f"{_name(context)} is not sealed with a key of RUNYARD_SEALING_KEYS")
    try:
        data = base64.b64decode(encoded, altchars=b"-_", validate=True)
        if len(data) < _NONCE + _TAG:
            raise ValueError("too short")
        text = AESGCM(key).decrypt(data[:_NONCE], data[_NONCE:], _associated(context))
    except (ValueError, InvalidTag):
        raise SealBroken(f"{_name(context)} was altered, or sealed for another place") from None
    return text.decode("utf-8", "surrogatepass")


def declare(collection: Collection[Any], *fields: str) -> None:
    """Name the fields of a collection that hold sealed texts or None, so that `reseal` finds them.

    Their context is the table, the record's id and the field.
    """
    if unknown := set(fields) - set(collection.columns.texts):
        raise ValueError(f"{collection.table} has no text field {', '.join(sorted(unknown))}")
    sealed_fields[collection.table] = fields


async def reseal(collection: Collection[Any]) -> Resealed:
    """Seal with the first key whatever is sealed with another one, in this partition of the collection.

    Safe beside writers, and to repeat: one that was interrupted finds fewer records the next time. A text that does not
    open stays as it is and is logged. Cost: `all`, and a read and a write for each record that is sealed anew; where
    the list view lacks a sealed field, a read for every record. `SealingNotConfigured`; ValueError when the collection
    declares no sealed fields; RuntimeError after all others when records could not be written, for a repeat.
    """
    fields = sealed_fields.get(collection.table)
    if fields is None:
        raise ValueError(f"{collection.table} declares no sealed fields")
    first = next(iter(_keys()))
    # Of a list with these fields alone, no record is left out because another field cannot be read.
    lean = collection.without(*set(collection.columns.view).difference(fields))
    listed = set(fields) <= set(collection.columns.view)
    records = broken = 0
    async with Sweep(f"sealing {collection.table} anew") as sweep:
        async for record in lean.all():
            if listed and not any(_is_old(getattr(record, field), first) for field in fields):
                continue
            renewal = _Renewal(collection.table, fields, first)
            with sweep.item(record.id), contextlib.suppress(RecordNotFound):  # deleted since it was listed
                await collection.update(record.id, renewal)
                records += renewal.changed
                broken += renewal.broken
    if sweep.failed:
        raise RuntimeError(f"{sweep.failed} records of {collection.table} could not be sealed anew")
    return Resealed(records, broken)


class _Renewal:
    """The change of one record; a repeated attempt starts its findings anew."""

    def __init__(self, table: str, fields: tuple[str, ...], first: str):
        self._table, self._fields, self._first = table, fields, first
        self.changed = self.broken = False

    def __call__(self, record: Any) -> None:
        self.changed = self.broken = False
        for field in self._fields:
            value = getattr(record, field)
            if not _is_old(value, self._first):
                continue
            context = Context(self._table, record.id, field)
            try:
                setattr(record, field, seal(unseal(value, context), context))
                self.changed = True
            except SealBroken as error:
                log.warning("not sealed anew: %s", error)
                self.broken = True


def _is_old(value: str | None, first: str) -> bool:
    return bool(value) and not value.startswith(f"{first}:")


def _keys() -> dict[str, bytes]:
    """The keys by id, the one that seals first. No error shows a part of the setting: it may be a key."""
    config = settings()
    keys: dict[str, bytes] = {}
    for number, entry in enumerate(config.sealing_keys.split(","), 1):
        parts = _ENTRY.fullmatch(entry.strip())
        if parts is None or parts[1] in keys:
            raise SealingNotConfigured(
                f"entry {number} of RUNYARD_SEALING_KEYS is not id:base64 of 32 bytes with an id of its own"
            )
        keys[parts[1]] = base64.b64decode(parts[2])
    published = base64.b64decode(LOCAL_SEALING_KEYS.partition(":")[2])
    if config.is_deployed and published in keys.values():
        raise SealingNotConfigured("RUNYARD_SEALING_KEYS holds the published key, which is good for laptops only")
    return keys


def _associated(context: Context) -> bytes:
    return json.dumps(context).encode()


def _name(context: Context) -> str:
    return f"{context.field} of {context.record} in {context.table}"
