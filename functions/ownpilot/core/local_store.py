"""Local providers of models (LM Studio, Ollama and others), and their models."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from pydantic import Field

from functions.ownpilot.core import settings_store
from functions.ownpilot.core.discovery import PATHS, discover
from functions.ownpilot.core.entry import Entry, Moment
from shared import sealing
from shared.http.errors import BadRequest
from shared.sealing import Context, SealBroken
from shared.settings import settings
from shared.tables import Collection, RecordConflict, RecordNotFound

LocalType = Literal["lmstudio", "ollama", "localai", "vllm", "custom"]

ENDPOINTS: dict[LocalType, str] = {
    "lmstudio": "/v1/models", "ollama": "/api/tags", "localai": "/v1/models", "vllm": "/v1/models",
    "custom": "/v1/models",
}  # fmt: skip
"""Where each kind lists its models."""

MOST_PROVIDERS = 100
"""Local providers of one person."""

MOST_MODELS = 2000
"""Local models of one person."""

_AT_ONCE = 50

DEFAULT = f"{settings_store.INTERNAL}default_local_provider"
"""The setting that holds the id of the default local provider: one row, so there is one default at any moment."""


class LocalProvider(Entry):
    """A server that offers models; `base_url` has no slash at its end. `discovery_endpoint` is a path below it."""

    name: str
    provider_type: LocalType
    base_url: str
    discovery_endpoint: str | None = None
    is_enabled: bool = True
    last_discovered_at: Moment | None = None
    metadata: dict[str, Any] = {}
    sealed_key: str | None = Field(default=None, exclude=True)

    @property
    def api_key(self) -> str | None:
        """The API key. `SealBroken`."""
        return None if self.sealed_key is None else sealing.unseal(self.sealed_key, self._context)

    def set_api_key(self, api_key: str | None) -> None:
        """Seal an API key; None or an empty one removes it."""
        self.sealed_key = sealing.seal(api_key, self._context) if api_key else None

    @property
    def _context(self) -> Context:
        return Context(local_providers.table, self.id, "sealed_key")


class LocalModel(Entry):
    """A model of a local provider; `context_window` and `max_output` are tokens.

    Its id follows from the provider and the model id, so a provider has a model once.
    """

    local_provider_id: str
    model_id: str
    display_name: str
    capabilities: list[str] = ["chat", "streaming"]
    context_window: int = 4096
    max_output: int = 4096
    is_enabled: bool = True
    metadata: dict[str, Any] = {}


local_providers = Collection("OwnpilotLocalProviders", LocalProvider, plain=True, unique=["name"])
local_models = Collection("OwnpilotLocalModels", LocalModel, plain=True)
sealing.declare(local_providers, "sealed_key")


class LocalServer(NamedTuple):
    """A local provider with its models."""

    provider: LocalProvider
    models: list[LocalModel]


async def servers_of(owner: str) -> list[LocalServer]:
    """Return all local providers of a person with their models, both by name. 1 query without any, else 2."""
    providers = await providers_of(owner)
    models = await models_of(owner) if providers else []
    by_provider: defaultdict[str, list[LocalModel]] = defaultdict(list)
    for model in models:
        by_provider[model.local_provider_id].append(model)
    return [LocalServer(provider, by_provider[provider.id]) for provider in providers]


async def providers_of(owner: str) -> list[LocalProvider]:
    """Return all local providers of a person, by name. 1 query."""
    found = [provider async for provider in local_providers.of(owner).all()]
    return sorted(found, key=lambda provider: provider.name.casefold())


async def models_of(owner: str, provider_id: str | None = None) -> list[LocalModel]:
    """Return the models of a local provider, or of all, by name. 1 query for each 1,000 models of the person."""
    where = {"local_provider_id": provider_id} if provider_id else None
    found = [model async for model in local_models.of(owner).all(where)]
    return sorted(found, key=lambda model: (model.display_name.casefold(), model.model_id))


def id_of_model(provider: LocalProvider, model_id: str) -> str:
    """Return the id of the record of a provider's model."""
    return LocalModel.derived_id(provider.created_at, f"{provider.id} {model_id}")


async def default_of(owner: str) -> str | None:
    """Return the id of the default local provider, which may be deleted; None when none was chosen. 2 point reads."""
    found = await settings_store.read(owner, DEFAULT)
    return found if isinstance(found, str) else None


async def delete_provider(owner: str, provider_id: str) -> LocalProvider:
    """Delete a local provider and its models, and return it. `RecordNotFound`.

    The provider goes last, so that a repeat finishes what was interrupted.
    """
    provider = await local_providers.of(owner).get(provider_id)
    await local_models.of(owner).clear({"local_provider_id": provider.id})
    await local_providers.of(owner).delete(provider.id)
    return provider


async def find_model(owner: str, provider_id: str, model: str) -> LocalModel:
    """Return a model of a local provider, by its id there or by that of its record. `RecordNotFound`.

    2 point reads; by the id of the record 1 more.
    """
    provider, own = await local_providers.of(owner).get(provider_id), local_models.of(owner)
    try:
        return await own.get(id_of_model(provider, model))
    except RecordNotFound:
        found = await own.get(model)
    if found.local_provider_id != provider.id:
        raise RecordNotFound("LocalModel", model)
    return found


async def switch_model(owner: str, provider_id: str, model: str, change: Callable[[bool], bool]) -> LocalModel:
    """Enable or disable a model as `change` says of its state; `model` as in `find_model`. `RecordNotFound`."""

    def switch(record: LocalModel) -> None:
        record.is_enabled = change(record.is_enabled)

    return await local_models.of(owner).update(await find_model(owner, provider_id, model), switch)


async def add_model(provider: LocalProvider, *, model_id: str, **members: Any) -> LocalModel:
    """Store a new model of a provider. `RecordConflict` when there is one. 1 call."""
    record = LocalModel(
        id=id_of_model(provider, model_id), created_at=datetime.now(UTC), user_id=provider.user_id,
        local_provider_id=provider.id, model_id=model_id, **members,
    )  # fmt: skip
    return await local_models.of(provider.user_id).insert(record)


async def check_room(owner: str, more: int = 1) -> None:
    """`BadRequest` LIMIT_REACHED when a person may not have so many more models. 1 query for each 1,000."""
    if await local_models.of(owner).count() + more > MOST_MODELS:
        raise BadRequest(f"A person has at most {MOST_MODELS} local models: delete some first", code="LIMIT_REACHED")


class FoundModels(NamedTuple):
    """The address that listed models, those models in its order, and how many of them were new."""

    url: str
    models: list[LocalModel]
    new: int


async def discover_models(owner: str, provider_id: str) -> FoundModels:
    """Ask a local provider for its models, and store the new ones. `RecordNotFound`, `BadGateway`, `BadRequest`.

    Of two that do so at once, each counts the models as new that it has stored itself.
    """
    own = local_providers.of(owner)
    provider = await own.get(provider_id)
    try:
        api_key = provider.api_key
    except SealBroken as error:
        message = f"The API key of {provider.name} cannot be read: set it again"
        raise BadRequest(message, code="NO_API_KEY") from error
    endpoint = provider.discovery_endpoint or ENDPOINTS[provider.provider_type]
    found = await discover(provider.base_url, api_key, paths=(endpoint, *PATHS), user_given=is_guarded())
    known = {model.model_id: model for model in await models_of(owner, provider.id)}
    new = [model_id for model_id in found.models if model_id not in known]
    if new:
        await check_room(owner, len(new))
    stored = 0
    for first in range(0, len(new), _AT_ONCE):
        part = new[first : first + _AT_ONCE]
        made = await asyncio.gather(*(_add_if_new(provider, model_id) for model_id in part))
        stored += sum(is_new for _, is_new in made)
        known |= {model.model_id: model for model, _ in made}
    now = datetime.now(UTC)
    try:
        await own.update(provider.id, lambda it: setattr(it, "last_discovered_at", now))
    except RecordNotFound:  # deleted meanwhile: its models must not stay
        await local_models.of(owner).clear({"local_provider_id": provider.id})
        raise
    return FoundModels(found.url, [known[model_id] for model_id in found.models], stored)


async def _add_if_new(provider: LocalProvider, model_id: str) -> tuple[LocalModel, bool]:
    try:
        return await add_model(provider, model_id=model_id, display_name=model_id), True
    except RecordConflict:  # another discovery has stored it
        return await local_models.of(provider.user_id).get(id_of_model(provider, model_id)), False


def is_guarded() -> bool:
    """Whether the address of a local provider must be public, or named by RUNYARD_PRIVATE_HOSTS."""
    return not settings().ownpilot_private_providers
