"""Reading and changing the services that a person configures, and what is stored under them."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from functions.ownpilot.core.config_records import (
    ConfigEntry,
    ConfigService,
    Requirer,
    config_entries,
    config_services,
)
from functions.ownpilot.core.config_seeds import SEEDS
from shared import tables
from shared.http.errors import NotFound


def _not_found(name: str) -> NotFound:
    return NotFound(f"Config service not found: {name[:100]}")


async def service_of(owner: str, name: str) -> ConfigService:
    """Return a service. `NotFound`. 2 point reads, 1 for a service of the start that was never changed."""
    try:
        found = await config_services.of(owner).find("name", name)
    except tables.RecordNotFound:
        if name not in SEEDS:
            raise _not_found(name) from None
        return SEEDS[name]
    if found.is_deleted:
        raise _not_found(name)
    return found


async def services_of(owner: str) -> list[ConfigService]:
    """Return all services, by category and name. 1 query."""
    stored = {each.name: each async for each in config_services.of(owner).all()}
    found = [each for each in {**SEEDS, **stored}.values() if not each.is_deleted]
    return sorted(found, key=lambda each: (each.category.casefold(), each.name))


async def entries_of(owner: str, name: str | None = None) -> list[ConfigEntry]:
    """Return the entries of a service, or of all, the oldest first. 1 query."""
    where = {"service_name": name} if name is not None else None
    return [entry async for entry in config_entries.of(owner).all(where)][::-1]


async def with_entries(owner: str, name: str) -> tuple[ConfigService, list[ConfigEntry]]:
    """Return a service and its entries. `NotFound`."""
    service, entries = await asyncio.gather(service_of(owner, name), entries_of(owner, name))
    return service, entries


async def change_service(owner: str, name: str, change: Callable[[ConfigService], None]) -> ConfigService:
    """Change a service; one of the start is stored by that. `NotFound`."""

    def existing(service: ConfigService) -> None:
        if service.is_deleted:
            raise _not_found(name)
        change(service)

    def seeded() -> ConfigService:
        if name not in SEEDS:
            raise _not_found(name)
        return ConfigService(**{**_values(SEEDS[name]), "user_id": owner})

    return await config_services.of(owner).put("name", name, existing, seeded)


async def require_service(owner: str, new: ConfigService, requirer: Requirer) -> None:
    """Note that something needs the service with the name of `new`, which is stored when there is none."""

    def note(service: ConfigService) -> None:
        service.is_deleted = False
        service.required_by = [*_others(service, requirer), requirer]

    def made() -> ConfigService:
        seed = SEEDS.get(new.name)
        service = ConfigService(**{**_values(seed), "user_id": owner}) if seed else new
        note(service)
        return service

    await config_services.of(owner).put("name", new.name, note, made)


async def release_service(owner: str, name: str, requirer: Requirer) -> None:
    """Note that something needs a service no more; one that does not exist is no error."""

    def note(service: ConfigService) -> None:
        service.required_by = _others(service, requirer)

    with contextlib.suppress(NotFound):
        await change_service(owner, name, note)


def _others(service: ConfigService, requirer: Requirer) -> list[Requirer]:
    return [each for each in service.required_by if (each.type, each.name) != (requirer.type, requirer.name)]


async def delete_service(owner: str, name: str) -> None:
    """Delete a service and its entries. `NotFound`.

    The entries go first, so that a delete that was interrupted can be repeated.
    """
    service = await service_of(owner, name)
    await config_entries.of(owner).clear({"service_name": name})
    if name not in SEEDS:
        await config_services.of(owner).delete(service.id)
        return

    def mark(each: ConfigService) -> None:
        each.is_deleted, each.default_entry = True, None

    await change_service(owner, name, mark)


def default_of(service: ConfigService, entries: list[ConfigEntry]) -> str | None:
    """Return the id of the default entry: the one that the service names, else the oldest."""
    ids = [entry.id for entry in entries]
    return service.default_entry if service.default_entry in ids else next(iter(ids), None)


def _values(service: ConfigService) -> dict[str, Any]:
    names = set(ConfigService.model_fields) - {"id", "created_at", "updated_at"}
    return {name: getattr(service, name) for name in names}
