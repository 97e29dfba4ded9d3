"""The models that a person can call, and the catalogue of all models."""

from typing import Annotated, NotRequired

import orjson
from fastapi import Query, Response
from pydantic import BeforeValidator
from typing_extensions import TypedDict

from functions.ownpilot.core.audit_log import record_change
from functions.ownpilot.core.catalogue import sync
from functions.ownpilot.core.catalogue.facts import Capability
from functions.ownpilot.core.catalogue.resolve import provider_of, view_of
from functions.ownpilot.core.catalogue.shapes import ALL, Features, features_of
from functions.ownpilot.core.catalogue.view import MergedModel, MergedProvider
from functions.ownpilot.core.entry import Given, Shown
from functions.ownpilot.core.envelope import encoded
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.bodies import example
from shared.http.paging import Limit, Offset

routes = routes_for("models")

UNKNOWN_CONTEXT = 8192
"""Tokens of the context of a model of which it is not known."""


class ModelShown(TypedDict):
    """A model: windows in tokens, prices in USD for a million tokens; the recommended one is its provider's default."""

    id: str
    name: str
    provider: str
    contextWindow: int
    maxOutputTokens: NotRequired[int]
    inputPrice: float
    outputPrice: float
    capabilities: list[Capability]
    recommended: bool


class ModelsShown(TypedDict):
    """Models of providers that can be called, and the ids of all providers; `total` counts the models."""

    models: list[ModelShown]
    configuredProviders: list[str]
    availableProviders: list[str]
    total: int


class ModelsOfProvider(Shown):
    """A provider with its models."""

    provider: str
    provider_name: str
    models: list[ModelShown]
    is_configured: bool
    features: Features
    base_url: str | None
    docs_url: str | None


class OfferedProvider(Shown):
    """A provider of models.dev."""

    id: str
    name: str
    model_count: int


class Offered(Shown):
    """The providers that a sync would bring."""

    providers: list[OfferedProvider]
    total: int
    source: str = "models.dev"


class SyncOrder(Given):
    """The providers to sync, by default all."""

    model_config = example(providers=["openai", "anthropic"])

    providers: list[str] | None = None


class Synced(Shown):
    """The providers that were synced, could not be read, and do not exist; `total` counts the models of the synced."""

    synced: list[str]
    failed: list[str]
    not_found: list[str]
    total: int
    message: str


def model_shown(model: MergedModel) -> ModelShown:
    """Return a model as this noun shows it."""
    shown = ModelShown(
        id=model["modelId"], name=model["displayName"], provider=model["providerId"],
        contextWindow=model.get("contextWindow", UNKNOWN_CONTEXT), inputPrice=model.get("pricingInput", 0),
        outputPrice=model.get("pricingOutput", 0), capabilities=model["capabilities"],
        recommended=model["isDefault"],
    )  # fmt: skip
    if "maxOutput" in model:
        shown["maxOutputTokens"] = model["maxOutput"]
    return shown


def models_shown(provider: MergedProvider) -> list[ModelShown]:
    """Return all models of a provider as this noun shows them."""
    return [model_shown(each) for each in provider.models.values()]


@routes.get("", response_model=ModelsShown)
async def list_models(
    owner: Owner,
    enabled_only: Annotated[bool, BeforeValidator(lambda given: given or True), Query(alias="enabledOnly")] = True,
    limit: Limit = ALL,
    offset: Offset = 0,
) -> Response:
    """The models of providers that have a key, and of local ones; all of them unless `limit` is given."""
    view = await view_of(owner.id)
    configured = [each for each in view.providers.values() if each.is_configured]
    found = [
        model
        for provider in configured
        if provider.is_enabled or not enabled_only
        for model in provider.models.values()
        if model["isEnabled"] or not enabled_only
    ]
    part = found[offset : offset + limit]
    shown = ModelsShown(
        models=[*map(model_shown, part)], configuredProviders=[each.id for each in configured],
        availableProviders=[*view.providers], total=len(found),
    )  # fmt: skip
    return encoded(orjson.dumps(shown))


@routes.get("/catalog/all", response_model=dict[str, list[ModelShown]])
async def list_catalogue(owner: Owner) -> Response:
    """All models by provider, whether a key is set or not."""
    view = await view_of(owner.id)
    return encoded(orjson.dumps({each.id: models_shown(each) for each in view.listed()}))


@routes.get("/sync/providers")
async def list_offered_providers(owner: Owner) -> Offered:
    """The providers that models.dev has now."""
    found = (await sync.fetch()).providers
    shown = [OfferedProvider(id=each.id, name=each.name, model_count=len(each.models)) for each in found]
    return Offered(providers=shown, total=len(shown))


@routes.post("/sync")
async def sync_models(body: SyncOrder, owner: Owner) -> Synced:
    """Take over what models.dev says now of all providers, or of some."""
    done = await sync.apply(owner.id, body.providers)
    await record_change(owner, "catalogue", "models.dev", "sync")
    return Synced(
        synced=done.synced, failed=done.failed, not_found=done.not_found, total=done.total,
        message=f"{len(done.synced)} providers were synced",
    )  # fmt: skip


@routes.get("/{provider}")
async def list_models_of_provider(provider: str, owner: Owner) -> ModelsOfProvider:
    """A provider with its models, whether a key is set or not."""
    found = await provider_of(owner.id, provider, code="UNKNOWN_PROVIDER")
    return ModelsOfProvider(
        provider=found.id, provider_name=found.name, models=models_shown(found), is_configured=found.is_configured,
        features=features_of(found), base_url=found.base_url, docs_url=found.facts.docs_url,
    )  # fmt: skip
