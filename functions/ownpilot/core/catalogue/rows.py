"""What a person changes of providers and models: overrides, and providers and models of the person's own."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from functions.ownpilot.core import local_store, settings_store
from functions.ownpilot.core.catalogue.facts import Capability, ProviderType
from functions.ownpilot.core.entry import Entry
from functions.ownpilot.core.local_store import LocalServer
from shared import tables
from shared.http.errors import BadRequest
from shared.recent import RecentValues
from shared.settings import settings
from shared.tables import Collection


class ModelRow(Entry):
    """What a person says of one model; None leaves a member as the catalogue has it.

    A row with `is_custom` is a model of the person's own where the catalogue does not have it. `is_enabled` does not
    count for a model that a local provider has.
    """

    key: str
    provider_id: str
    model_id: str
    display_name: str | None = None
    capabilities: list[Capability] | None = None
    pricing_input: float | None = None
    pricing_output: float | None = None
    context_window: int | None = None
    max_output: int | None = None
    is_enabled: bool = True
    is_custom: bool = False
    config: dict[str, Any] = {}


class ProviderRow(Entry):
    """What a person says of one provider; None leaves a member as the catalogue has it.

    A row with `is_custom` is a provider of the person's own where the catalogue does not have it. `is_removed` hides a
    provider of the catalogue from this person.
    """

    provider_id: str
    display_name: str | None = None
    base_url: str | None = None
    provider_type: ProviderType | None = None
    key_name: str | None = None
    is_enabled: bool = True
    is_custom: bool = False
    is_removed: bool = False
    notes: str | None = None
    config: dict[str, Any] = {}


model_rows = Collection("OwnpilotModels", ModelRow, plain=True, unique=["key"])
provider_rows = Collection("OwnpilotProviders", ProviderRow, plain=True, unique=["provider_id"])

_AT_ONCE = 16

CHANGED = f"{settings_store.INTERNAL}catalogue_rows"
"""The setting that gets another value after each change of a row, so that other instances read the rows again."""


class _Kept(NamedTuple):
    """The rows of a person, and the value of `CHANGED` before they were read."""

    changed: str | None
    models: list[ModelRow]
    providers: list[ProviderRow]


_kept: RecentValues[str, _Kept] = RecentValues(seconds=60, most=100)


class OwnRows(NamedTuple):
    """All that the merged view of a person is made of, besides the catalogue; `keys` are providers with an API key."""

    models: Sequence[ModelRow] = ()
    providers: Sequence[ProviderRow] = ()
    keys: Sequence[str] = ()
    local: Sequence[LocalServer] = ()


async def rows_of(owner: str, *, fresh: bool = False) -> OwnRows:
    """Return the rows of a person. All but the local ones may be 5 s old where another instance changed them.

    At most 2 queries, 3 with local providers; 2 more after a change, and once a minute: a change whose host dies before
    it is noted is seen then. `fresh` reads all.
    """
    if fresh:
        forget(owner)
        settings_store.forget(owner)
    kept, local = await asyncio.gather(_rows_of(owner), local_store.servers_of(owner))
    return OwnRows(kept.models, kept.providers, await settings_store.key_holders(owner), local)


async def _rows_of(owner: str) -> _Kept:
    changed = settings_store.text(await settings_store.recent(owner), CHANGED)

    async def read() -> _Kept:
        models, providers = await asyncio.gather(_all(model_rows, owner), _all(provider_rows, owner))
        return _Kept(changed, models, providers)

    kept = _kept.peek(owner)
    if kept and kept.changed != changed:
        forget(owner)
    return await _kept.get(owner, read)


async def _all(collection: Collection[Any], owner: str) -> list[Any]:
    return [row async for row in collection.of(owner).all()][::-1]


def forget(owner: str) -> None:
    """Read the rows of a person anew when they are needed next."""
    _kept.forget(owner)


@asynccontextmanager
async def _change(owner: str) -> AsyncIterator[None]:
    """Have all instances read the rows of a person anew after a change. 2 or 3 calls."""
    try:
        yield
    finally:
        forget(owner)
        await settings_store.write(owner, CHANGED, uuid.uuid4().hex)


def key_of(provider_id: str, model_id: str) -> str:
    """Return the unique key of a row about a model."""
    return f"{provider_id}\n{model_id}"


async def change_model(owner: str, provider_id: str, model_id: str, change: Callable[[ModelRow], None]) -> ModelRow:
    """Change the row about a model, or make the first one. `BadRequest` LIMIT_REACHED. 4 to 6 calls."""
    key = key_of(provider_id, model_id)
    number = len((await _rows_of(owner)).models)

    def make() -> ModelRow:
        _check(number)
        return ModelRow(user_id=owner, key=key, provider_id=provider_id, model_id=model_id)

    async with _change(owner):
        return await model_rows.of(owner).put("key", key, change, make)


async def add_models(owner: str, provider_id: str, model_ids: Sequence[str], members: Mapping[str, Any]) -> None:
    """Add models of the person's own, 16 at once; of one that has a row, that stays, but for `is_custom`.

    `BadRequest` LIMIT_REACHED before the first. Safe to repeat after an interruption.
    """
    _check(len((await _rows_of(owner)).models) + len(model_ids) - 1)
    async with _change(owner):
        for first in range(0, len(model_ids), _AT_ONCE):
            part = model_ids[first : first + _AT_ONCE]
            await asyncio.gather(*(_add(owner, provider_id, each, members) for each in part))


async def _add(owner: str, provider_id: str, model_id: str, members: Mapping[str, Any]) -> None:
    key = key_of(provider_id, model_id)

    def make() -> ModelRow:
        return ModelRow(user_id=owner, key=key, provider_id=provider_id, model_id=model_id, **members)

    await model_rows.of(owner).put("key", key, lambda row: setattr(row, "is_custom", True), make)


async def change_provider(owner: str, provider_id: str, change: Callable[[ProviderRow], None]) -> ProviderRow:
    """Change the row about a provider, or make the first one. `BadRequest` LIMIT_REACHED. 4 to 6 calls."""
    number = len((await _rows_of(owner)).providers)

    def make() -> ProviderRow:
        _check(number)
        return ProviderRow(user_id=owner, provider_id=provider_id)

    async with _change(owner):
        return await provider_rows.of(owner).put("provider_id", provider_id, change, make)


def _check(number: int) -> None:
    if number >= settings().max_records:
        raise BadRequest(f"There are {number} of these already: delete some first", code="LIMIT_REACHED")


async def delete_model(owner: str, provider_id: str, model_id: str) -> bool:
    """Delete the row about a model; return whether there was one."""
    return await _delete(owner, model_rows, "key", key_of(provider_id, model_id))


async def delete_provider(owner: str, provider_id: str, *, with_models: bool = False) -> bool:
    """Delete the row about a provider, after those about its models if wanted; return whether there was one."""
    if with_models:
        async with _change(owner):
            await model_rows.of(owner).clear({"provider_id": provider_id})
    return await _delete(owner, provider_rows, "provider_id", provider_id)


async def _delete(owner: str, collection: Collection[Any], field: str, value: str) -> bool:
    own = collection.of(owner)
    try:
        found = await own.find(field, value)
        async with _change(owner):
            await own.delete(found.id)
    except tables.RecordNotFound:
        return False
    return True


async def clear(owner: str) -> tuple[int, int]:
    """Delete all rows of a person; return how many about models and about providers."""
    async with _change(owner):
        return await model_rows.of(owner).clear(), await provider_rows.of(owner).clear()
