"""Providers and models as a person has them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NotRequired

import orjson
from typing_extensions import TypedDict

from functions.ownpilot.core.catalogue.facts import Capability, Provider
from functions.ownpilot.core.catalogue.rows import ProviderRow

Source = Literal["builtin", "aggregator", "custom", "local"]


class MergedModel(TypedDict):
    """A model as a person has it: prices in USD for a million tokens, windows in tokens.

    `hasOverride`: the person has changed what the catalogue, or the local provider, says of it.
    """

    providerId: str
    providerName: str
    modelId: str
    displayName: str
    capabilities: list[Capability]
    pricingInput: NotRequired[float]
    pricingOutput: NotRequired[float]
    contextWindow: NotRequired[int]
    maxOutput: NotRequired[int]
    releaseDate: NotRequired[str]
    isDefault: bool
    isEnabled: bool
    isCustom: bool
    hasOverride: bool
    isConfigured: bool
    source: Source


@dataclass(frozen=True, eq=False)
class MergedProvider:
    """A provider as a person has it; `facts` are those of its source, `row` what the person changes of them."""

    facts: Provider
    source: Source
    is_enabled: bool
    is_configured: bool
    models: Mapping[str, MergedModel]
    row: ProviderRow | None = None

    @property
    def id(self) -> str:
        """Its id."""
        return self.facts.id

    @property
    def name(self) -> str:
        """What it is called."""
        return (self.row and self.row.display_name) or self.facts.name

    @property
    def type(self) -> str:
        """What it speaks: openai, anthropic, google, openai-compatible; local."""
        return (self.row and self.row.provider_type) or self.facts.type

    @property
    def base_url(self) -> str | None:
        """Where it is reached."""
        return (self.row and self.row.base_url) or self.facts.base_url

    @property
    def key_name(self) -> str | None:
        """What its documentation calls the variable of its key."""
        return (self.row and self.row.key_name) or self.facts.key_name

    @property
    def has_override(self) -> bool:
        """Whether the person changes something of what its source says."""
        return self.row is not None and self.source in ("builtin", "aggregator")

    @property
    def is_usable(self) -> bool:
        """Whether a model of it can be called."""
        return self.is_enabled and self.is_configured

    @property
    def is_listed(self) -> bool:
        """Whether its models are in the list of all models: aggregators and local ones must be enabled for that."""
        return self.is_enabled or self.source in ("builtin", "custom")

    @property
    def default_model(self) -> str | None:
        """The id of the model that is used when none is named: the enabled default, else the first enabled one."""
        enabled = [each for each in self.models.values() if each["isEnabled"]]
        return next((each["modelId"] for each in sorted(enabled, key=lambda each: not each["isDefault"])), None)

    @cached_property
    def abilities(self) -> frozenset[Capability]:
        """What at least one of its models can do."""
        return frozenset(can for model in self.models.values() for can in model["capabilities"])

    @cached_property
    def encoded(self) -> bytes:
        """Its models as JSON, without the brackets of the list."""
        return orjson.dumps([*self.models.values()])[1:-1]


class View:
    """All providers of a person by id: configured ones first, then by name."""

    def __init__(self, providers: Sequence[MergedProvider]):
        order = sorted(providers, key=lambda each: (not each.is_configured, each.name.casefold(), each.id))
        self.providers: Mapping[str, MergedProvider] = {each.id: each for each in order}

    def model(self, provider_id: str, model_id: str) -> MergedModel | None:
        """Return a model, None when it does not exist."""
        provider = self.providers.get(provider_id)
        return provider.models.get(model_id) if provider else None

    def listed(self) -> Iterator[MergedProvider]:
        """The providers whose models are in the list of all models."""
        return (each for each in self.providers.values() if each.is_listed)

    def usable(self) -> Iterator[MergedProvider]:
        """The providers whose models can be called."""
        return (each for each in self.providers.values() if each.is_usable)
