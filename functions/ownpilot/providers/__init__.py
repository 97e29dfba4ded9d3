"""Providers of models: what they are, how a person uses them, and what the person changes of them."""

from collections.abc import Callable, Mapping

from functions.ownpilot.core.audit_log import record_change
from functions.ownpilot.core.catalogue import rows
from functions.ownpilot.core.catalogue.resolve import provider_of, view_of
from functions.ownpilot.core.catalogue.rows import ProviderRow
from functions.ownpilot.core.catalogue.shapes import ALL, Switch, features_of, provider_model
from functions.ownpilot.core.catalogue.table import CATEGORIES, COLOURS, OTHER_COLOUR, PLACEHOLDERS
from functions.ownpilot.core.catalogue.view import MergedProvider
from functions.ownpilot.core.owner import Owner, Person, routes_for
from functions.ownpilot.providers.bodies import (
    ConfigChange,
    ConfigChanged,
    ConfigDeleted,
    NamedOverride,
    ProviderCategories,
    ProviderConfig,
    ProviderOverride,
    ProviderOverrides,
    Providers,
    ProviderSettings,
    ProviderShown,
    ProviderSummary,
    ProviderSwitched,
)
from shared.http.errors import BadRequest
from shared.http.paging import Limit, Offset

routes = routes_for("providers")


def _members(provider: MergedProvider) -> dict[str, object]:
    return {
        "id": provider.id, "name": provider.name, "type": provider.type, "base_url": provider.base_url,
        "api_key_env": provider.key_name, "docs_url": provider.facts.docs_url, "features": features_of(provider),
        "model_count": len(provider.models), "is_configured": provider.is_configured,
        "is_enabled": provider.is_enabled, "has_override": provider.has_override,
        "config_source": "database" if provider.is_configured else None,
        "color": COLOURS.get(provider.id, OTHER_COLOUR), "api_key_placeholder": PLACEHOLDERS.get(provider.id),
    }  # fmt: skip


def _categories(known: Mapping[str, MergedProvider]) -> dict[str, list[str]]:
    return {name: [id_ for id_ in ids if id_ in known] for name, ids in CATEGORIES.items()}


def _override(row: ProviderRow) -> ProviderOverride:
    return ProviderOverride(
        base_url=row.base_url, provider_type=row.provider_type, is_enabled=row.is_enabled, api_key_env=row.key_name,
        notes=row.notes,
    )  # fmt: skip


@routes.get("")
async def list_providers(owner: Owner, limit: Limit = ALL, offset: Offset = 0) -> Providers:
    """All providers, those with a key first; all of them unless `limit` is given."""
    known = (await view_of(owner.id)).providers
    found = [*known.values()]
    part = found[offset : offset + limit]
    return Providers(
        providers=[ProviderSummary.model_validate(_members(each)) for each in part], categories=_categories(known),
        total=len(found),
    )  # fmt: skip


@routes.get("/categories")
async def list_categories(owner: Owner) -> ProviderCategories:
    """The categories of providers."""
    known = (await view_of(owner.id)).providers
    placed = {id_ for ids in CATEGORIES.values() for id_ in ids}
    return ProviderCategories(categories=_categories(known), uncategorized=[id_ for id_ in known if id_ not in placed])


@routes.get("/overrides/all")
async def list_overrides(owner: Owner) -> ProviderOverrides:
    """What the person changes of providers."""
    known = (await view_of(owner.id)).providers.values()
    found = [
        NamedOverride(provider_id=each.id, **_override(each.row).model_dump())
        for each in known
        if each.row and each.has_override
    ]
    return ProviderOverrides(overrides=found, total=len(found))


@routes.get("/{provider_id}")
async def get_provider(provider_id: str, owner: Owner) -> ProviderShown:
    """One provider with its models."""
    found = await provider_of(owner.id, provider_id)
    override = _override(found.row) if found.row and found.has_override else None
    models = [*map(provider_model, found.models.values())]
    return ProviderShown.model_validate({**_members(found), "models": models, "user_override": override})


@routes.get("/{provider_id}/config")
async def get_provider_config(provider_id: str, owner: Owner) -> ProviderConfig:
    """How a provider is reached, and what the person changes of that."""
    found = await provider_of(owner.id, provider_id)
    facts = found.facts
    base = ProviderSettings(
        type=facts.type, base_url=facts.base_url, api_key_env=facts.key_name, docs_url=facts.docs_url,
        is_enabled=found.source != "aggregator",
    )  # fmt: skip
    effective = ProviderSettings(
        type=found.type, base_url=found.base_url, api_key_env=found.key_name, docs_url=facts.docs_url,
        is_enabled=found.is_enabled,
    )  # fmt: skip
    override = _override(found.row) if found.row and found.has_override else None
    return ProviderConfig(provider_id=found.id, base_config=base, user_override=override, effective_config=effective)


@routes.put("/{provider_id}/config")
async def update_provider_config(provider_id: str, body: ConfigChange, owner: Owner) -> ConfigChanged:
    """Change the given members of how a provider is reached."""
    names = {"api_key_env": "key_name"}
    changes = {names.get(name, name): getattr(body, name) for name in body.model_fields_set}

    def change(row: ProviderRow) -> None:
        for name, value in changes.items():
            setattr(row, name, value)

    row = await _change(owner, provider_id, change, "change config")
    return ConfigChanged(provider_id=row.provider_id, user_override=_override(row))


@routes.delete("/{provider_id}/config")
async def delete_provider_config(provider_id: str, owner: Owner) -> ConfigDeleted:
    """Make a provider what it was at first."""
    found = await _overridable(owner.id, provider_id)
    deleted = await rows.delete_provider(owner.id, found.id)
    if deleted:
        await record_change(owner, "provider", found.id, "delete config")
    return ConfigDeleted(provider_id=found.id, deleted=deleted)


@routes.patch("/{provider_id}/toggle")
async def toggle_provider(provider_id: str, body: Switch, owner: Owner) -> ProviderSwitched:
    """Use a provider, or do not."""
    row = await _change(
        owner, provider_id, lambda row: setattr(row, "is_enabled", body.enabled), f"set enabled {body.enabled}"
    )
    return ProviderSwitched(provider_id=row.provider_id, is_enabled=row.is_enabled)


async def _change(owner: Person, provider_id: str, change: Callable[[ProviderRow], None], action: str) -> ProviderRow:
    found = await _overridable(owner.id, provider_id)
    row = await rows.change_provider(owner.id, found.id, change)
    await record_change(owner, "provider", found.id, action)
    return row


async def _overridable(owner: str, provider_id: str) -> MergedProvider:
    """Return a provider that is not the person's own. `NotFound`; `BadRequest` for others."""
    found = await provider_of(owner, provider_id)
    if found.source == "local":
        raise BadRequest("This is a local provider: change it at /local-providers")
    if found.source == "custom":
        raise BadRequest("This provider is your own: change it at /model-configs/providers")
    return found
