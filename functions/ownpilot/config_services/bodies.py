"""What clients send and see of services and their entries."""

from typing import Annotated, Any

from pydantic import StringConstraints

from functions.ownpilot.core.config_records import (
    ConfigEntry,
    ConfigField,
    ConfigService,
    Requirer,
    Short,
    mask,
)
from functions.ownpilot.core.config_store import default_of
from functions.ownpilot.core.entry import Given, Moment, Shown
from shared.http.bodies import example

_EXAMPLE_SCHEMA = [{"name": "api_key", "label": "API key", "type": "secret", "required": True}]


class ServiceMembers(Given):
    """The members of a service that need not be given."""

    description: str | None = None
    docs_url: str | None = None
    config_schema: list[ConfigField] = []
    multi_entry: bool = False
    is_active: bool = True
    required_by: list[Requirer] = []


class ServiceChange(ServiceMembers):
    """The members of a service that change."""

    model_config = example(displayName="Another name", isActive=True)

    display_name: Short = ""
    category: Short = ""


class NewService(ServiceMembers):
    """A new service."""

    model_config = example(
        name="my_service", displayName="My service", category="other", configSchema=_EXAMPLE_SCHEMA, multiEntry=True
    )

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
    display_name: Short
    category: Short


class EntryChange(Given):
    """The members of an entry; values that `data` does not name stay as they are, and so do masks of secrets."""

    model_config = example(label="Default", data={"api_key": "an-example-only"})

    label: Short = "Default"
    data: dict[str, Any] = {}
    is_default: bool = False
    is_active: bool = True


class EntryShown(Shown):
    """One entry; secrets are masked."""

    id: str
    service_name: str
    label: str
    data: dict[str, Any]
    is_default: bool
    is_active: bool
    has_secrets: bool
    secret_fields: list[str]
    created_at: Moment
    updated_at: Moment


class ServiceShown(Shown):
    """A service with its entries. It is configured when an entry has a value."""

    name: str
    display_name: str
    category: str
    description: str | None = None
    docs_url: str | None = None
    config_schema: list[ConfigField]
    multi_entry: bool
    is_active: bool
    required_by: list[Requirer]
    entry_count: int
    is_configured: bool
    entries: list[EntryShown]


class Services(Shown):
    """All services."""

    services: list[ServiceShown]
    count: int


class Entries(Shown):
    """All entries of a service."""

    entries: list[EntryShown]
    count: int


class Categories(Shown):
    """The categories that services have."""

    categories: list[str]


class ConfigStats(Shown):
    """Services in numbers; `needed_by_tools` are those that a tool asks for."""

    total: int
    active: int
    configured: int
    categories: list[str]
    needed_by_tools: int
    needed_but_unconfigured: int


class EntryMember(Shown):
    """The entry that is the default now."""

    entry: EntryShown


def entry_shown(service: ConfigService, entry: ConfigEntry, default: str | None) -> EntryShown:
    """Return an entry as clients see it; what the schema calls secret is masked, wherever it is stored.

    Secrets that do not open are not shown.
    """
    data = {name: mask(value) if name in service.secret_names else value for name, value in entry.data.items()}
    secrets = {name: mask(value) for name, value in entry.readable_secrets().items()}
    names = [
        name
        for name, shown in {**data, **secrets}.items()
        if shown and (name in service.secret_names or name in secrets)
    ]
    return EntryShown(
        id=entry.id, service_name=service.name, label=entry.label, data={**data, **secrets},
        is_default=entry.id == default, is_active=entry.is_active, has_secrets=bool(names), secret_fields=names,
        created_at=entry.created_at, updated_at=entry.updated_at,
    )  # fmt: skip


def service_shown(service: ConfigService, entries: list[ConfigEntry]) -> ServiceShown:
    """Return a service with its entries as clients see it."""
    default = default_of(service, entries)
    return ServiceShown(
        name=service.name, display_name=service.display_name, category=service.category,
        description=service.description, docs_url=service.docs_url, config_schema=service.config_schema,
        multi_entry=service.multi_entry, is_active=service.is_active, required_by=service.required_by,
        entry_count=len(entries), is_configured=is_configured(entries),
        entries=[entry_shown(service, entry, default) for entry in entries],
    )  # fmt: skip


def is_configured(entries: list[ConfigEntry]) -> bool:
    """Whether an entry has a value."""
    return any(entry.has_values for entry in entries)
