"""What clients send and see of providers."""

from functions.ownpilot.core.catalogue.facts import ProviderType
from functions.ownpilot.core.catalogue.shapes import Features, ProviderModel
from functions.ownpilot.core.entry import BaseUrl, Given, NotBlank, Shown
from shared.http.bodies import example


class ProviderOverride(Shown):
    """What a person changes of a provider; null leaves it as it is."""

    base_url: str | None
    provider_type: str | None
    is_enabled: bool
    api_key_env: str | None
    notes: str | None


class NamedOverride(ProviderOverride):
    """What a person changes of the provider with this id."""

    provider_id: str


class ProviderSummary(Shown):
    """A provider; `config_source` tells where its key is: `database`, or null without one."""

    id: str
    name: str
    type: str
    base_url: str | None
    api_key_env: str | None
    docs_url: str | None
    features: Features
    model_count: int
    is_configured: bool
    is_enabled: bool
    has_override: bool
    config_source: str | None
    color: str
    api_key_placeholder: str | None


class ProviderShown(ProviderSummary):
    """A provider with its models, and what the person changes of it."""

    models: list[ProviderModel]
    user_override: ProviderOverride | None


class Providers(Shown):
    """Providers, those with a key first; the ids in each category; `total` counts all providers."""

    providers: list[ProviderSummary]
    categories: dict[str, list[str]]
    total: int


class ProviderCategories(Shown):
    """The ids in each category, and those in none."""

    categories: dict[str, list[str]]
    uncategorized: list[str]


class ProviderOverrides(Shown):
    """All that a person changes of providers."""

    overrides: list[NamedOverride]
    total: int


class ProviderSettings(Shown):
    """How a provider is reached."""

    type: str
    base_url: str | None
    api_key_env: str | None
    docs_url: str | None
    is_enabled: bool


class ProviderConfig(Shown):
    """How a provider is reached: at first, what the person changes, and what results."""

    provider_id: str
    base_config: ProviderSettings
    user_override: ProviderOverride | None
    effective_config: ProviderSettings


class ConfigChange(Given):
    """The members that change; null makes one what it was at first."""

    model_config = example(baseUrl="https://my-proxy.example.com/v1", providerType="openai", notes="Using a proxy")

    base_url: BaseUrl | None = None
    provider_type: ProviderType | None = None
    is_enabled: bool = True
    api_key_env: NotBlank | None = None
    notes: NotBlank | None = None


class ConfigChanged(Shown):
    """What the person changes now."""

    provider_id: str
    user_override: ProviderOverride


class ConfigDeleted(Shown):
    """Whether there was something to delete."""

    provider_id: str
    deleted: bool


class ProviderSwitched(Shown):
    """Whether a provider is used."""

    provider_id: str
    is_enabled: bool
