"""The entries of a service."""

from functions.ownpilot.config_services import audit
from functions.ownpilot.config_services.bodies import Entries, EntryChange, EntryMember, EntryShown, entry_shown
from functions.ownpilot.core.config_records import ConfigEntry, ConfigService, checked, config_entries
from functions.ownpilot.core.config_store import change_service, default_of, entries_of, service_of, with_entries
from functions.ownpilot.core.owner import Owner, routes_for
from shared import tables
from shared.http.errors import BadRequest, Conflict, NotFound
from shared.http.operations import check_size
from shared.http.shapes import Deleted

routes = routes_for("config-services/{name}/entries")

MAX_ENTRIES = 100
"""Entries of one service."""

_VALUES = ("data", "sealed")
"""The fields that hold the values of an entry."""


@routes.get("")
async def list_config_entries(name: str, owner: Owner) -> Entries:
    """All entries of a service, the oldest first."""
    service, entries = await with_entries(owner.id, name)
    default = default_of(service, entries)
    return Entries(entries=[entry_shown(service, each, default) for each in entries], count=len(entries))


@routes.post("", status_code=201)
async def create_config_entry(name: str, body: EntryChange, owner: Owner) -> EntryShown:
    """Add an entry. A service that has one entry at most gets 409 for a second one."""
    service, entries = await with_entries(owner.id, name)
    taken = Conflict(f"{name} has an entry already, and takes one only")
    if entries and not service.multi_entry:
        raise taken
    if len(entries) >= MAX_ENTRIES:
        raise BadRequest(f"{name} has {MAX_ENTRIES} entries: delete some first", code="LIMIT_REACHED")
    entry = ConfigEntry(
        user_id=owner.id, service_name=name, label=body.label, is_active=body.is_active,
        only_of=None if service.multi_entry else name,
    )  # fmt: skip
    entry.fill(service, checked(service, body.data))
    check_size(config_entries, entry, _VALUES)
    try:
        entry = await config_entries.of(owner.id).insert(entry)
    except tables.RecordConflict as error:
        raise taken from error
    if body.is_default:
        service = await _make_default(owner.id, name, entry.id)
    await audit(owner, name, "create entry")
    return await _shown(owner.id, service, entry)


@routes.get("/{entry_id}")
async def get_config_entry(name: str, entry_id: str, owner: Owner) -> EntryShown:
    """One entry of a service."""
    service, entries = await with_entries(owner.id, name)
    for entry in entries:
        if entry.id == entry_id.lower():
            return entry_shown(service, entry, default_of(service, entries))
    raise NotFound("Config entry not found")


@routes.put("/{entry_id}")
async def update_config_entry(name: str, entry_id: str, body: EntryChange, owner: Owner) -> EntryShown:
    """Change the given members of an entry. A secret that comes back as it was shown stays as it is."""
    service = await service_of(owner.id, name)
    values = checked(service, body.data)

    def change(entry: ConfigEntry) -> None:
        _belongs(entry, name)
        for member in body.model_fields_set - {"data", "is_default"}:
            setattr(entry, member, getattr(body, member))
        if "data" in body.model_fields_set:
            entry.fill(service, values)
            check_size(config_entries, entry, _VALUES)

    entry = await config_entries.of(owner.id).update(entry_id, change)
    if body.is_default:
        service = await _make_default(owner.id, name, entry.id)
    await audit(owner, name, "update entry")
    return await _shown(owner.id, service, entry)


@routes.put("/{entry_id}/default")
async def set_default_config_entry(name: str, entry_id: str, owner: Owner) -> EntryMember:
    """Make an entry the default of its service."""
    await service_of(owner.id, name)
    entry = await config_entries.of(owner.id).get(entry_id)
    _belongs(entry, name)
    service = await _make_default(owner.id, name, entry.id)
    await audit(owner, name, "set default entry")
    return EntryMember(entry=await _shown(owner.id, service, entry))


@routes.delete("/{entry_id}")
async def delete_config_entry(name: str, entry_id: str, owner: Owner) -> Deleted:
    """Delete an entry. When it was the default, the oldest of the others is the default then."""
    await service_of(owner.id, name)
    own = config_entries.of(owner.id)
    _belongs(await own.get(entry_id), name)
    await own.delete(entry_id)
    await audit(owner, name, "delete entry")
    return Deleted()


def _belongs(entry: ConfigEntry, name: str) -> None:
    """`NotFound` for an entry of another service."""
    if entry.service_name != name:
        raise NotFound("Config entry not found")


async def _make_default(owner: str, name: str, entry_id: str) -> ConfigService:
    """Name the default entry in the service: one write, so there is one default at every moment."""
    return await change_service(owner, name, lambda service: setattr(service, "default_entry", entry_id))


async def _shown(owner: str, service: ConfigService, entry: ConfigEntry) -> EntryShown:
    return entry_shown(service, entry, default_of(service, await entries_of(owner, service.name)))
