"""What clients send and see of local providers and their models."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from functions.ownpilot.core.entry import BaseUrl, Config, Given, Moment, NotBlank, Shown
from functions.ownpilot.core.local_store import LocalModel, LocalProvider, LocalType
from shared.http.bodies import example

Path = Annotated[str, StringConstraints(pattern=r'^/[!"$->@-~]*$', max_length=500)]
Tokens = Annotated[int, Field(ge=1, le=10**9)]


class ProviderMembers(Given):
    """The members of a provider that need not be given; without a discovery endpoint the usual ones are asked."""

    # A line end that was copied along would make the header of each call invalid.
    api_key: Annotated[str, StringConstraints(max_length=10_000, strip_whitespace=True)] | None = None
    discovery_endpoint: Path | None = None
    is_enabled: bool = True
    metadata: Config = {}


class NewLocalProvider(ProviderMembers):
    """A new provider."""

    model_config = example(name="My Ollama", providerType="ollama", baseUrl="http://127.0.0.1:11434")

    name: NotBlank
    provider_type: LocalType
    base_url: BaseUrl


class LocalProviderChange(ProviderMembers):
    """The members of a provider that change; null or an empty text removes the API key."""

    model_config = example(baseUrl="http://127.0.0.1:11434", isEnabled=True)

    name: NotBlank = ""
    provider_type: LocalType = "custom"
    base_url: BaseUrl = ""


class LocalSwitch(Given):
    """Without `enabled`, what is on is switched off, and the other way round."""

    model_config = example(enabled=True)

    enabled: bool | None = None

    def of(self, is_on: bool) -> bool:
        """Return what is to be in place of this state."""
        return not is_on if self.enabled is None else self.enabled


class NewLocalModel(Given):
    """A new model; its display name is its id when none is given."""

    model_config = example(modelId="llama3.2:3b", displayName="Llama 3.2 3B", contextWindow=131072)

    model_id: NotBlank
    display_name: NotBlank | None = None
    capabilities: Annotated[list[NotBlank], Field(max_length=20)] = ["chat", "streaming"]
    context_window: Tokens = 4096
    max_output: Tokens = 4096
    is_enabled: bool = True
    metadata: Config = {}


class Template(Shown):
    """Where a kind of local provider usually listens, and where it lists its models."""

    id: LocalType
    name: str
    provider_type: LocalType
    base_url: str
    discovery_endpoint: str
    description: str


class LocalProviderShown(Shown):
    """A local provider. Its API key is never shown."""

    id: str
    user_id: str
    name: str
    provider_type: LocalType
    base_url: str
    discovery_endpoint: str | None = None
    has_api_key: bool
    is_enabled: bool
    is_default: bool
    last_discovered_at: Moment | None = None
    metadata: dict[str, Any]
    created_at: Moment
    updated_at: Moment


class LocalProviderListed(LocalProviderShown):
    """A local provider, and how many models it has."""

    model_count: int


class LocalModelShown(Shown):
    """A model of a local provider; `contextWindow` and `maxOutput` are tokens."""

    id: str
    local_provider_id: str
    model_id: str
    display_name: str
    capabilities: list[str]
    context_window: int
    max_output: int
    is_enabled: bool
    metadata: dict[str, Any]
    created_at: Moment
    updated_at: Moment


class LocalProviderWhole(LocalProviderShown):
    """A local provider with its models."""

    models: list[LocalModelShown]


class Switched(Shown):
    """Whether a provider is enabled now."""

    id: str
    name: str
    is_enabled: bool


class ModelSwitched(Shown):
    """Whether a model is enabled now."""

    enabled: bool
    message: str


class Removed(Shown):
    """The provider was deleted with its models."""

    message: str
    deleted: bool = True


class DiscoveredModels(Shown):
    """The address that listed models, the models that it listed, and how many of them were new."""

    source_url: str
    total_models: int
    new_models: int
    existing_models: int
    models: list[LocalModelShown]


def members_of(provider: LocalProvider, default: str | None) -> dict[str, Any]:
    """Return the members of `LocalProviderShown`; `default` is the id of the default provider."""
    shown = provider.model_dump(exclude={"sealed_key"})
    return {**shown, "has_api_key": provider.sealed_key is not None, "is_default": provider.id == default}


def model_shown(model: LocalModel) -> LocalModelShown:
    """Return a model as clients see it."""
    return LocalModelShown.model_validate(model)
