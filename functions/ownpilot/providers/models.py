"""The models of one provider, as its own address lists them."""

from functions.ownpilot.core.catalogue.resolve import provider_of
from functions.ownpilot.core.catalogue.shapes import ProviderModel, provider_model
from functions.ownpilot.core.entry import Shown
from functions.ownpilot.core.owner import Owner, routes_for

routes = routes_for("providers/{provider_id}/models")


class ProviderModels(Shown):
    """A provider with its models."""

    provider: str
    provider_name: str
    models: list[ProviderModel]
    is_configured: bool


@routes.get("")
async def list_provider_models(provider_id: str, owner: Owner) -> ProviderModels:
    """The models of a provider, whether a key is set or not."""
    found = await provider_of(owner.id, provider_id)
    return ProviderModels(
        provider=found.id, provider_name=found.name, models=[*map(provider_model, found.models.values())],
        is_configured=found.is_configured,
    )  # fmt: skip
