"""Services that a person configures."""

import asyncio
from collections import defaultdict

from functions.ownpilot.config_services.bodies import (
    Categories,
    ConfigStats,
    NewService,
    ServiceChange,
    Services,
    ServiceShown,
    is_configured,
    service_shown,
)
from functions.ownpilot.core.audit_log import Subject, record_event
from functions.ownpilot.core.config_records import ConfigEntry, ConfigService, config_entries, config_services
from functions.ownpilot.core.config_seeds import SEEDS
from functions.ownpilot.core.config_store import (
    change_service,
    delete_service,
    entries_of,
    service_of,
    services_of,
    with_entries,
)
from functions.ownpilot.core.owner import Owner, Person, routes_for
from shared import tables
from shared.http.errors import BadRequest, Conflict
from shared.http.operations import check_size
from shared.http.shapes import Deleted

routes = routes_for("config-services")

MAX_SERVICES = 1000
"""Services of one person."""


async def audit(owner: Person, name: str, action: str) -> None:
    """Log a change of a service or of its entries."""
    await record_event(
        owner.id, "config.change", Subject("config_service", name), details={"action": action},
        correlation_id=owner.request_id,
    )  # fmt: skip


async def _all(owner: str) -> list[tuple[ConfigService, list[ConfigEntry]]]:
    """Return all services with their entries. 2 queries at once."""
    services, entries = await asyncio.gather(services_of(owner), entries_of(owner))
    by_service: defaultdict[str, list[ConfigEntry]] = defaultdict(list)
    for entry in entries:
        by_service[entry.service_name].append(entry)
    return [(service, by_service[service.name]) for service in services]


@routes.get("", response_model_exclude_none=True)
async def list_config_services(owner: Owner, category: str | None = None) -> Services:
    """All services, by category and name."""
    found = [service_shown(*each) for each in await _all(owner.id) if not category or each[0].category == category]
    return Services(services=found, count=len(found))


@routes.get("/categories")
async def list_config_categories(owner: Owner) -> Categories:
    """The categories that services have."""
    return Categories(categories=sorted({service.category for service in await services_of(owner.id)}))


@routes.get("/stats")
async def get_config_stats(owner: Owner) -> ConfigStats:
    """Services in numbers."""
    found = await _all(owner.id)
    needed = [each for each in found if any(requirer.type == "tool" for requirer in each[0].required_by)]
    return ConfigStats(
        total=len(found),
        active=sum(service.is_active for service, _ in found),
        configured=sum(is_configured(entries) for _, entries in found),
        categories=sorted({service.category for service, _ in found}),
        needed_by_tools=len(needed),
        needed_but_unconfigured=sum(not is_configured(entries) for _, entries in needed),
    )


@routes.post("", status_code=201, response_model_exclude_none=True)
async def create_config_service(body: NewService, owner: Owner) -> ServiceShown:
    """Create a service; its name must not be taken."""
    values = {name: getattr(body, name) for name in NewService.model_fields}
    taken = Conflict(f"The config service {body.name} exists already")
    own = config_services.of(owner.id)
    new = ConfigService(user_id=owner.id, **values)
    check_size(own, new, NewService.model_fields)

    def revive(stored: ConfigService) -> ConfigService:
        if not stored.is_deleted:
            raise taken
        return new

    if body.name in SEEDS:  # it exists, unless it was deleted
        try:
            deleted = await own.find("name", body.name)
        except tables.RecordNotFound:
            raise taken from None
        service = await own.update(deleted.id, revive)
    else:
        if await own.count() >= MAX_SERVICES:
            raise BadRequest(f"There are {MAX_SERVICES} config services: delete some first", code="LIMIT_REACHED")
        try:
            service = await own.insert(new)
        except tables.RecordConflict as error:
            raise taken from error
    await audit(owner, body.name, "create")
    return service_shown(service, [])


@routes.get("/{name}", response_model_exclude_none=True)
async def get_config_service(name: str, owner: Owner) -> ServiceShown:
    """A service with its entries."""
    return service_shown(*await with_entries(owner.id, name))


@routes.put("/{name}", response_model_exclude_none=True)
async def update_config_service(name: str, body: ServiceChange, owner: Owner) -> ServiceShown:
    """Change the given members of a service. Values of fields that become secret are sealed."""

    def change(service: ConfigService) -> None:
        for member in body.model_fields_set:
            setattr(service, member, getattr(body, member))
        check_size(config_services, service, NewService.model_fields)

    if "config_schema" in body.model_fields_set:  # first, so that a failure in between leaves nothing secret in clear
        planned = (await service_of(owner.id, name)).model_copy()
        change(planned)
        await _arranged_entries(owner.id, planned)
    service = await change_service(owner.id, name, change)
    entries = await _arranged_entries(owner.id, service)
    await audit(owner, name, "update")
    return service_shown(service, entries)


async def _arranged_entries(owner: str, service: ConfigService) -> list[ConfigEntry]:
    """Seal what is stored in clear of the fields that the service calls secret; return its entries."""
    entries = await entries_of(owner, service.name)
    for place, entry in enumerate(entries):
        if service.secret_names & entry.data.keys():
            entries[place] = await config_entries.of(owner).update(entry.id, lambda it: it.arrange(service))
    return entries


@routes.delete("/{name}")
async def delete_config_service(name: str, owner: Owner) -> Deleted:
    """Delete a service and all of its entries."""
    await delete_service(owner.id, name)
    await audit(owner, name, "delete")
    return Deleted()
