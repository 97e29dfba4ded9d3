"""Local providers of models: servers of a person's own, such as LM Studio and Ollama."""

import asyncio
from collections import Counter
from typing import Annotated

from functions.ownpilot.core import local_store as store
from functions.ownpilot.core import settings_store
from functions.ownpilot.core.audit_log import Subject, record_event
from functions.ownpilot.core.local_store import LocalProvider, LocalType
from functions.ownpilot.core.owner import Owner, Person, routes_for
from functions.ownpilot.local_providers.bodies import (
    DiscoveredModels,
    LocalProviderChange,
    LocalProviderListed,
    LocalProviderShown,
    LocalProviderWhole,
    LocalSwitch,
    NewLocalProvider,
    Removed,
    Switched,
    Template,
    members_of,
    model_shown,
)
from shared.http.bodies import Done
from shared.http.errors import BadRequest
from shared.http.paging import MAX_LIMIT, Paging, paging

routes = routes_for("local-providers")

_TEMPLATES: dict[LocalType, tuple[str, int, str]] = {
    "lmstudio": ("LM Studio", 1234, "Models in the app LM Studio, after its server is switched on"),
    "ollama": ("Ollama", 11434, "Models that Ollama has pulled"),
    "localai": ("LocalAI", 8080, "A server for models of several kinds"),
    "vllm": ("vLLM", 8000, "A fast server for one model on graphics cards"),
    "custom": ("Custom Local Server", 8080, "Any other server that speaks OpenAI's protocol"),
}
"""The name of each kind, the port at which it usually listens, and what it is."""


async def audit(owner: Person, provider: LocalProvider, action: str) -> None:
    """Log a change of a provider."""
    await record_event(
        owner.id, "config.change", Subject("local_provider", provider.id, provider.name), details={"action": action},
        correlation_id=owner.request_id,
    )  # fmt: skip


async def _shown(owner: Person, provider: LocalProvider) -> LocalProviderShown:
    return LocalProviderShown(**members_of(provider, await store.default_of(owner.id)))


@routes.get("/templates")
async def list_templates(owner: Owner) -> list[Template]:
    """Where the usual local providers listen."""
    return [
        Template(
            id=kind, name=name, provider_type=kind, base_url=f"http://localhost:{port}",
            discovery_endpoint=store.ENDPOINTS[kind], description=about,
        )
        for kind, (name, port, about) in _TEMPLATES.items()
    ]  # fmt: skip


@routes.get("", response_model_exclude_none=True)
async def list_local_providers(owner: Owner, paging: Annotated[Paging, paging(MAX_LIMIT)]) -> list[LocalProviderListed]:
    """All local providers, by name. 2 queries and 2 point reads at once."""
    page, models, default = await asyncio.gather(
        store.local_providers.of(owner.id).page(
            order=("name",), limit=paging.limit, offset=paging.offset, cursor=paging.cursor
        ),
        store.models_of(owner.id),
        store.default_of(owner.id),
    )
    paging.link(page)
    counts = Counter(model.local_provider_id for model in models)
    return [LocalProviderListed(**members_of(each, default), model_count=counts[each.id]) for each in page.items]


@routes.post("", status_code=201, response_model_exclude_none=True)
async def create_local_provider(body: NewLocalProvider, owner: Owner) -> LocalProviderShown:
    """Add a local provider. Its name must not be taken, and its API key is sealed."""
    own = store.local_providers.of(owner.id)
    if await own.count() >= store.MOST_PROVIDERS:
        raise BadRequest(f"There are {store.MOST_PROVIDERS} local providers already", code="LIMIT_REACHED")
    provider = LocalProvider(user_id=owner.id, **body.model_dump(exclude={"api_key"}))
    provider.set_api_key(body.api_key)
    provider = await own.insert(provider)
    await audit(owner, provider, "create")
    return await _shown(owner, provider)


@routes.get("/{local_provider_id}", response_model_exclude_none=True)
async def get_local_provider(local_provider_id: str, owner: Owner) -> LocalProviderWhole:
    """A local provider with its models, those by name."""
    provider = await store.local_providers.of(owner.id).get(local_provider_id)
    models, default = await asyncio.gather(store.models_of(owner.id, provider.id), store.default_of(owner.id))
    return LocalProviderWhole(**members_of(provider, default), models=[*map(model_shown, models)])


@routes.put("/{local_provider_id}", response_model_exclude_none=True)
async def update_local_provider(local_provider_id: str, body: LocalProviderChange, owner: Owner) -> LocalProviderShown:
    """Change the given members of a local provider."""

    def change(provider: LocalProvider) -> None:
        for name in body.model_fields_set - {"api_key"}:
            setattr(provider, name, getattr(body, name))
        if "api_key" in body.model_fields_set:
            provider.set_api_key(body.api_key)

    provider = await store.local_providers.of(owner.id).update(local_provider_id, change)
    await audit(owner, provider, "update")
    return await _shown(owner, provider)


@routes.delete("/{local_provider_id}")
async def delete_local_provider(local_provider_id: str, owner: Owner) -> Removed:
    """Delete a local provider and its models."""
    provider = await store.delete_provider(owner.id, local_provider_id)
    await audit(owner, provider, "delete")
    return Removed(message="Local provider deleted")


@routes.patch("/{local_provider_id}/toggle")
async def toggle_local_provider(local_provider_id: str, body: LocalSwitch, owner: Owner) -> Switched:
    """Enable or disable a local provider."""

    def switch(provider: LocalProvider) -> None:
        provider.is_enabled = body.of(provider.is_enabled)

    provider = await store.local_providers.of(owner.id).update(local_provider_id, switch)
    return Switched(id=provider.id, name=provider.name, is_enabled=provider.is_enabled)


@routes.patch("/{local_provider_id}/set-default")
async def set_default_local_provider(local_provider_id: str, owner: Owner) -> Done:
    """Make a local provider the default one, in place of any other."""
    provider = await store.local_providers.of(owner.id).get(local_provider_id)
    await settings_store.write(owner.id, store.DEFAULT, provider.id)
    return Done(message=f"{provider.name} is the default local provider")


@routes.post("/{local_provider_id}/discover")
async def discover_local_models(local_provider_id: str, owner: Owner) -> DiscoveredModels:
    """Ask a local provider for its models, and add the new ones. A model that was switched off stays off."""
    found = await store.discover_models(owner.id, local_provider_id)
    return DiscoveredModels(
        source_url=found.url, total_models=len(found.models), new_models=found.new,
        existing_models=len(found.models) - found.new, models=[*map(model_shown, found.models)],
    )  # fmt: skip
