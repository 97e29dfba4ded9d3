"""The merged view of providers: those of a person's own, aggregators, and which models a provider itself lists."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Query, Request

from functions.ownpilot.core import settings_store
from functions.ownpilot.core.audit_log import record_change
from functions.ownpilot.core.catalogue import rows
from functions.ownpilot.core.catalogue.resolve import api_key_of, provider_of, view_of
from functions.ownpilot.core.catalogue.rows import ProviderRow
from functions.ownpilot.core.catalogue.shapes import ALL, Switch
from functions.ownpilot.core.catalogue.view import MergedProvider, Source
from functions.ownpilot.core.discovery import discover
from functions.ownpilot.core.envelope import beside_data
from functions.ownpilot.core.owner import Owner, Person, routes_for
from functions.ownpilot.core.wires import wire_of
from functions.ownpilot.model_configs.bodies import (
    DeletedConfig,
    DiscoveredModel,
    Discovery,
    ListedProvider,
    NewOwnProvider,
    OwnProviderChange,
    ProviderRowShown,
    ProviderWithModels,
    SwitchedConfig,
    listed,
    provider_row,
    switched,
)
from shared.http.errors import BadRequest
from shared.http.paging import Limit, Offset
from shared.http.shapes import EMPTY_IS_ABSENT

routes = routes_for("model-configs/providers")

DISCOVERED = {"context_window": 32_768, "max_output": 4096, "pricing_input": 0, "pricing_output": 0}
"""What is assumed of a model that a provider has listed: windows in tokens, no price."""


@routes.get("/list", response_model_exclude_none=True)
async def list_merged_providers(
    request: Request,
    owner: Owner,
    type_: Annotated[Source | None, EMPTY_IS_ABSENT, Query(alias="type")] = None,
    limit: Limit = ALL,
    offset: Offset = 0,
) -> list[ListedProvider]:
    """All providers, those with a key first; all of them unless `limit` is given."""
    found = [each for each in (await view_of(owner.id)).providers.values() if type_ in (None, each.source)]
    beside_data(request, count=len(found))
    return [*map(listed, found[offset : offset + limit])]


@routes.get("/available", response_model_exclude_none=True)
async def list_available_providers(
    request: Request, owner: Owner, limit: Limit = ALL, offset: Offset = 0
) -> list[ListedProvider]:
    """The providers that can be added: they have no key yet, or are not enabled."""
    view = await view_of(owner.id)
    found = [
        each for each in view.providers.values() if each.source in ("builtin", "aggregator") and not each.is_usable
    ]
    counts = {kind: sum(each.source == kind for each in found) for kind in ("builtin", "aggregator")}
    beside_data(request, counts={**counts, "total": len(found)})
    return [*map(listed, found[offset : offset + limit])]


@routes.get("/{provider_id}", response_model_exclude_none=True)
async def get_merged_provider(provider_id: str, owner: Owner) -> ProviderWithModels:
    """One provider with its models."""
    found = await provider_of(owner.id, provider_id)
    return ProviderWithModels(**listed(found).model_dump(), models=[*found.models.values()])


@routes.post("", status_code=201, response_model_exclude_none=True)
async def create_own_provider(body: NewOwnProvider, owner: Owner) -> ProviderRowShown:
    """Add a provider of your own, or enable an aggregator."""
    known = (await view_of(owner.id)).providers.get(body.provider_id)
    _check_not_local(known)
    is_custom = known is None or known.source == "custom"

    def change(row: ProviderRow) -> None:
        body.apply(row)
        row.is_custom, row.is_enabled, row.is_removed = row.is_custom or is_custom, body.is_enabled, False

    return await _changed(owner, body.provider_id, change, "create")


@routes.put("/{provider_id}", response_model_exclude_none=True)
async def update_merged_provider(provider_id: str, body: OwnProviderChange, owner: Owner) -> ProviderRowShown:
    """Change the given members of a provider."""
    _check_not_local(await provider_of(owner.id, provider_id))
    return await _changed(owner, provider_id, body.apply, "update")


@routes.delete("/{provider_id}")
async def delete_own_provider(request: Request, provider_id: str, owner: Owner) -> DeletedConfig:
    """Delete a provider of your own with its models and its API key, or disable an aggregator."""
    found = await provider_of(owner.id, provider_id)
    _check_not_local(found)
    if found.source == "builtin":
        raise BadRequest(f"{found.name} is built in: it can be disabled, but not deleted")
    if found.source == "custom":  # the next one of this id may have another address, to which the key must not go
        await settings_store.remove(owner.id, settings_store.API_KEY + provider_id)
    await rows.delete_provider(owner.id, provider_id, with_models=True)
    await record_change(owner, "provider", provider_id, "delete")
    shown = DeletedConfig(message="The provider was deleted")
    beside_data(request, message=shown.message)
    return shown


@routes.patch("/{provider_id}/toggle")
async def toggle_merged_provider(request: Request, provider_id: str, body: Switch, owner: Owner) -> SwitchedConfig:
    """Use a provider, or do not."""
    _check_not_local(await provider_of(owner.id, provider_id))
    row = await rows.change_provider(owner.id, provider_id, lambda row: setattr(row, "is_enabled", body.enabled))
    await record_change(owner, "provider", provider_id, f"set enabled {row.is_enabled}")
    shown = switched("provider", body.enabled)
    beside_data(request, enabled=shown.enabled, message=shown.message)
    return shown


@routes.post("/{provider_id}/discover-models")
async def discover_models(provider_id: str, owner: Owner) -> Discovery:
    """Ask a provider which models it has, and add those that are not known. What was switched off stays so."""
    provider = await provider_of(owner.id, provider_id)
    _check_not_local(provider)
    if not provider.base_url:
        raise BadRequest(f"The provider {provider.name} needs a base URL: set it first", code="NO_BASE_URL")
    key = await api_key_of(owner.id, provider)
    found = await discover(provider.base_url, key, wire=wire_of(provider.type))
    new = [each for each in found.models if each not in provider.models]
    await rows.add_models(owner.id, provider_id, new, DISCOVERED)
    shown = [
        DiscoveredModel(model_id=each, display_name=each, is_new=each not in provider.models) for each in found.models
    ]
    return Discovery(
        provider=provider.id, provider_name=provider.name, source_url=found.url, models=shown, new_models=len(new),
        existing_models=len(shown) - len(new),
    )  # fmt: skip


async def _changed(
    owner: Person, provider_id: str, change: Callable[[ProviderRow], None], action: str
) -> ProviderRowShown:
    row = await rows.change_provider(owner.id, provider_id, change)
    await record_change(owner, "provider", provider_id, action)
    return provider_row(row, await provider_of(owner.id, provider_id))


def _check_not_local(provider: MergedProvider | None) -> None:
    if provider and provider.source == "local":
        raise BadRequest("This is a local provider: its place is /local-providers")
