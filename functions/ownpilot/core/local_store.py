"""Local providers of models (LM Studio, Ollama and others), and their models."""

import asyncio
from collections import defaultdict
from typing import Any, Literal, NamedTuple

from pydantic import Field

from functions.ownpilot.core import settings_store
from functions.ownpilot.core.entry import Entry, Moment
from shared import sealing
from shared.sealing import Context
from shared.tables import Collection

LocalType = Literal["lmstudio", "ollama", "localai", "vllm", "custom"]

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
    """Return all local providers of a person with their models, both by name. 2 queries at once."""
    providers, models = await asyncio.gather(providers_of(owner), models_of(owner))
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


async def delete_provider(owner: str, provider_id: str) -> None:
    """Delete a local provider and its models. `RecordNotFound`.

    The provider goes last, so that a repeat finishes what was interrupted.
    """
    await local_providers.of(owner).get(provider_id)
    await local_models.of(owner).clear({"local_provider_id": provider_id})
    await local_providers.of(owner).delete(provider_id)


async def find_model(owner: str, provider_id: str, model_id: str) -> LocalModel:
    """Return a model of a local provider. `RecordNotFound` when there is no such provider or model. 2 point reads."""
    provider = await local_providers.of(owner).get(provider_id)
    return await local_models.of(owner).get(id_of_model(provider, model_id))
