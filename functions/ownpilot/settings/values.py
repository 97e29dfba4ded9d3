"""Values by key, which clients choose."""

from typing import Annotated, Any

from fastapi import Path

from functions.ownpilot.core import settings_store as store
from functions.ownpilot.core.audit_log import record_change
from functions.ownpilot.core.entry import Given, Shown, json_within
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.bodies import example
from shared.http.errors import Forbidden, NotFound

routes = routes_for("settings")

Key = Annotated[str, Path(max_length=200)]


LONGEST = 100_000
"""Characters of a value as JSON."""


class NewValue(Given):
    """Any JSON value."""

    model_config = example(value={"theme": "dark"})

    value: Annotated[Any, json_within(LONGEST)]


class ValueShown(Shown):
    """A value by its key."""

    key: str
    value: Any


class ValueDeleted(Shown):
    """The value was deleted."""

    key: str
    deleted: bool = True


def _open(key: str) -> str:
    """Return the key. `Forbidden` for one that holds secrets or the app's own rows."""
    if store.is_reserved(key):
        raise Forbidden("Settings with this name cannot be read or written here")
    return key


@routes.get("/{key}")
async def get_setting(key: Key, owner: Owner) -> ValueShown:
    """A value by its key."""
    found = await store.stored_settings.of(owner.id).find("key", _open(key))
    return ValueShown(key=key, value=found.value)


@routes.post("/{key}")
async def set_setting(key: Key, body: NewValue, owner: Owner) -> ValueShown:
    """Set the value of a key."""
    await store.check_room(owner.id, _open(key))
    await store.write(owner.id, key, body.value)
    await record_change(owner, "setting", key, "set")
    return ValueShown(key=key, value=body.value)


@routes.delete("/{key}")
async def delete_setting(key: Key, owner: Owner) -> ValueDeleted:
    """Delete a value."""
    if not await store.remove(owner.id, _open(key)):
        raise NotFound("Setting not found")
    await record_change(owner, "setting", key, "delete")
    return ValueDeleted(key=key)
