"""What several nouns show of a provider."""

from typing import NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from functions.ownpilot.core.catalogue.facts import Capability
from functions.ownpilot.core.catalogue.view import MergedModel, MergedProvider
from functions.ownpilot.core.entry import Given, Shown
from shared.http.bodies import example

ALL = 1_000_000
"""The limit of a list that is shown whole unless a request names a limit; the bound of `Limit` is for those."""


class Features(Shown):
    """What at least one model of a provider can do."""

    streaming: bool
    tool_use: bool
    vision: bool
    json_mode: bool
    system_message: bool = True


class ProviderModel(TypedDict):
    """A model as its provider lists it: windows in tokens, 0 when unknown; prices in USD for a million tokens."""

    id: str
    name: str
    contextWindow: int
    maxOutput: int
    inputPrice: float
    outputPrice: float
    capabilities: list[Capability]
    default: NotRequired[bool]
    releaseDate: NotRequired[str]


class Switch(Given):
    """Whether something is on."""

    model_config = example(enabled=True)

    enabled: bool = Field(strict=True)


def features_of(provider: MergedProvider) -> Features:
    """Return what the models of a provider can do."""
    able = provider.abilities
    return Features(
        streaming="streaming" in able, tool_use="function_calling" in able, vision="vision" in able,
        json_mode="json_mode" in able,
    )  # fmt: skip


def provider_model(model: MergedModel) -> ProviderModel:
    """Return a model as its provider lists it."""
    shown = ProviderModel(
        id=model["modelId"], name=model["displayName"], contextWindow=model.get("contextWindow", 0),
        maxOutput=model.get("maxOutput", 0), inputPrice=model.get("pricingInput", 0),
        outputPrice=model.get("pricingOutput", 0), capabilities=model["capabilities"],
    )  # fmt: skip
    if model["isDefault"]:
        shown["default"] = True
    if "releaseDate" in model:
        shown["releaseDate"] = model["releaseDate"]
    return shown
