"""What clients send and see of models and providers in the merged view."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from functions.ownpilot.core.catalogue.facts import Capability, ProviderType
from functions.ownpilot.core.catalogue.rows import ModelRow, ProviderRow
from functions.ownpilot.core.catalogue.table import RESERVED
from functions.ownpilot.core.catalogue.view import MergedModel, MergedProvider, Source
from functions.ownpilot.core.entry import BaseUrl, Config, Given, Moment, NotBlank, Shown
from shared.http.bodies import example


def _free(id_: str) -> str:
    if id_.lower() in RESERVED:
        raise ValueError("is a word of this API's paths, so it cannot be the id of a provider")
    return id_


ModelId = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")]
ProviderId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,99}$"), AfterValidator(_free)]
Price = Annotated[float, Field(ge=0, lt=1_000_000)]
Tokens = Annotated[int, Field(ge=1, lt=1_000_000_000)]


class ModelChange(Given):
    """The members of a model that change; null makes one what the catalogue says."""

    model_config = example(displayName="My favourite", pricingInput=1.5, isEnabled=True)

    display_name: NotBlank | None = None
    capabilities: list[Capability] | None = Field(None, max_length=20)
    pricing_input: Price | None = None
    pricing_output: Price | None = None
    context_window: Tokens | None = None
    max_output: Tokens | None = None
    is_enabled: bool = True
    config: Config = {}


class NewModel(ModelChange):
    """A model of the person's own, or changes of one that exists; prices in USD for a million tokens."""

    model_config = example(providerId="openai", modelId="my-model", capabilities=["chat", "streaming"])

    provider_id: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    model_id: ModelId


class ModelRowShown(Shown):
    """What a person says of a model."""

    id: str
    user_id: str
    provider_id: str
    model_id: str
    display_name: str | None = None
    capabilities: list[Capability]
    pricing_input: float | None = None
    pricing_output: float | None = None
    context_window: int | None = None
    max_output: int | None = None
    is_enabled: bool
    is_custom: bool
    config: dict[str, Any]
    created_at: Moment
    updated_at: Moment


class OwnProviderMembers(Given):
    """The members of a provider that need not be given."""

    api_base_url: BaseUrl | None = None
    provider_type: ProviderType | None = None
    api_key_env: NotBlank | None = None
    is_enabled: bool = True
    config: Config = {}

    def apply(self, row: ProviderRow) -> None:
        """Set the given members of a row."""
        names = {"api_base_url": "base_url", "api_key_env": "key_name"}
        for name in self.model_fields_set - {"provider_id"}:
            setattr(row, names.get(name, name), getattr(self, name))


class OwnProviderChange(OwnProviderMembers):
    """The members of a provider that change; null makes one what it was at first."""

    model_config = example(displayName="My server", apiBaseUrl="https://models.example.com/v1")

    display_name: NotBlank | None = None


class NewOwnProvider(OwnProviderMembers):
    """A provider of the person's own; with the id of an aggregator, that is enabled."""

    model_config = example(providerId="my-server", displayName="My server", apiBaseUrl="https://models.example.com/v1")

    provider_id: ProviderId
    display_name: NotBlank


class ProviderRowShown(Shown):
    """What a person says of a provider."""

    id: str
    user_id: str
    provider_id: str
    display_name: str
    api_base_url: str | None = None
    provider_type: str
    is_enabled: bool
    config: dict[str, Any]
    created_at: Moment
    updated_at: Moment


class ListedProvider(Shown):
    """A provider, and where it is from."""

    id: str
    name: str
    type: Source
    api_base: str | None = None
    api_key_env: str | None = None
    docs_url: str | None = None
    is_enabled: bool
    is_configured: bool
    model_count: int


class ProviderWithModels(ListedProvider):
    """A provider with its models."""

    models: list[MergedModel]


class DeletedConfig(Shown):
    """What was deleted."""

    message: str
    deleted: Literal[True] = True


class SwitchedConfig(Shown):
    """Whether it is enabled now."""

    enabled: bool
    message: str


class CapabilityShown(Shown):
    """Something that models can do."""

    id: Capability
    name: str
    description: str


class DiscoveredModel(Shown):
    """A model that a provider has listed; `is_new`: it was not known."""

    model_id: str
    display_name: str
    is_new: bool


class Discovery(Shown):
    """The models that a provider has listed, and the address that did."""

    provider: str
    provider_name: str
    source_url: str
    models: list[DiscoveredModel]
    new_models: int
    existing_models: int


def switched(what: str, enabled: bool) -> SwitchedConfig:
    """Return the answer to a toggle."""
    return SwitchedConfig(enabled=enabled, message=f"The {what} is {'enabled' if enabled else 'disabled'} now")


def model_row(row: ModelRow, model: MergedModel) -> ModelRowShown:
    """Return what a person says of a model, with the capabilities and the switch that result."""
    return ModelRowShown.model_validate(
        {**row.model_dump(), "capabilities": model["capabilities"], "is_enabled": model["isEnabled"]}
    )


def provider_row(row: ProviderRow, provider: MergedProvider) -> ProviderRowShown:
    """Return what a person says of a provider, with the name and type that result."""
    return ProviderRowShown.model_validate(
        {
            **row.model_dump(), "display_name": row.display_name or provider.facts.name,
            "api_base_url": row.base_url or provider.facts.base_url,
            "provider_type": row.provider_type or provider.facts.type,
        }
    )  # fmt: skip


def listed(provider: MergedProvider) -> ListedProvider:
    """Return a provider as a list shows it."""
    return ListedProvider(
        id=provider.id, name=provider.name, type=provider.source, api_base=provider.base_url,
        api_key_env=provider.key_name, docs_url=provider.facts.docs_url, is_enabled=provider.is_enabled,
        is_configured=provider.is_configured, model_count=len(provider.models),
    )  # fmt: skip
