"""Settings of a person as rows by key: values that clients set, the keys of providers (sealed), and the app's own."""

import unicodedata
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from functions.ownpilot.core.entry import Entry
from shared import sealing, tables
from shared.http.errors import BadRequest
from shared.recent import RecentValues
from shared.sealing import Context
from shared.tables import Collection

API_KEY = "api_key:"
INTERNAL = "internal:"
DEFAULT_PROVIDER = "default_provider"
DEFAULT_MODEL = "default_model"

MOST_SETTINGS = 1000
"""Rows that a person may add to, so that all of them can be read at once."""

_RESERVED = (API_KEY, INTERNAL, "oauth_state:", "gateway_", "google_oauth_client_secret")


class Setting(Entry):
    """One row: `value`, or a text that is sealed."""

    key: str
    value: Any = None
    sealed: str | None = None


stored_settings = Collection("OwnpilotSettings", Setting, plain=True, unique=["key"])
sealing.declare(stored_settings, "sealed")

_recent: RecentValues[str, dict[str, Setting]] = RecentValues(most=100)


def is_reserved(key: str) -> bool:
    """Whether a key, in any case and however often it is encoded, is one that `/settings/{key}` must not reach."""
    for _ in range(10):
        plain = unicodedata.normalize("NFKC", key).casefold().strip()
        if plain.startswith(_RESERVED):
            return True
        key, before = unquote(plain), plain
        if key == before:
            return False
    return True  # encoded ten times: nobody does that by accident


async def read(owner: str, key: str) -> Any:
    """Return the value of a key, None when there is none. 2 point reads."""
    try:
        return (await stored_settings.of(owner).find("key", key)).value
    except tables.RecordNotFound:
        return None


async def write(owner: str, key: str, value: Any) -> None:
    """Set the value of a key."""
    await change(owner, key, lambda setting: setattr(setting, "value", value))


async def change(owner: str, key: str, how: Callable[[Setting], None]) -> Setting:
    """Change the row of a key, which is made when there is none. 2 or 3 calls."""
    try:
        return await stored_settings.of(owner).put("key", key, how, lambda: Setting(user_id=owner, key=key))
    finally:
        forget(owner)


async def remove(owner: str, key: str) -> bool:
    """Delete the row of a key; return whether there was one."""
    own = stored_settings.of(owner)
    try:
        await own.delete((await own.find("key", key)).id)
    except tables.RecordNotFound:
        return False
    finally:
        forget(owner)
    return True


async def all_of(owner: str) -> dict[str, Setting]:
    """Return all rows of a person by key, the oldest first. 1 query for each 1,000."""
    found = [setting async for setting in stored_settings.of(owner).all()]
    return {setting.key: setting for setting in reversed(found)}


async def recent(owner: str) -> dict[str, Setting]:
    """Return what `all_of` returns; what another instance has changed may be missing for 5 s. 1 query, or none."""
    return await _recent.get(owner, lambda: all_of(owner))


async def check_room(owner: str, key: str) -> None:
    """`BadRequest` LIMIT_REACHED when a person may have no more rows, unless there is one of this key. As `recent`."""
    rows = await recent(owner)
    if key not in rows and len(rows) >= MOST_SETTINGS:
        raise BadRequest(f"There are {MOST_SETTINGS} settings already: delete some first", code="LIMIT_REACHED")


def forget(owner: str) -> None:
    """Read the recent rows of a person anew when they are needed next."""
    _recent.forget(owner)


async def key_holders(owner: str) -> list[str]:
    """Return the providers that have an API key, the oldest key first; may be 5 s old."""
    rows = await recent(owner)
    return [key.removeprefix(API_KEY) for key, row in rows.items() if key.startswith(API_KEY) and row.sealed]


def text(rows: dict[str, Setting], key: str) -> str | None:
    """Return the value of a key that is a text, None for another value and without one."""
    value = rows[key].value if key in rows else None
    return value if isinstance(value, str) else None


async def seal_key(owner: str, provider: str, api_key: str) -> None:
    """Store the API key of a provider, sealed."""
    await write_sealed(owner, API_KEY + provider, api_key)


async def write_sealed(owner: str, key: str, text: str, value: Any = None) -> None:
    """Store a text under a key, sealed, and a value beside it in clear."""

    def seal(setting: Setting) -> None:
        setting.sealed = sealing.seal(text, Context(stored_settings.table, setting.id, "sealed"))
        setting.value = value

    await change(owner, key, seal)


def unsealed(setting: Setting) -> str:
    """Return the text that is sealed in a row. `SealBroken`."""
    return sealing.unseal(setting.sealed or "", Context(stored_settings.table, setting.id, "sealed"))


async def has_key(owner: str, provider: str) -> bool:
    """Whether a provider has an API key. 2 point reads, 1 when there is none."""
    return await _sealed_key(owner, provider) is not None


async def api_key_of(owner: str, provider: str) -> str | None:
    """Return the API key of a provider, None when there is none. `SealBroken`."""
    found = await _sealed_key(owner, provider)
    return unsealed(found) if found else None


async def _sealed_key(owner: str, provider: str) -> Setting | None:
    try:
        found = await stored_settings.of(owner).find("key", API_KEY + provider)
    except tables.RecordNotFound:
        return None
    return found if found.sealed else None
