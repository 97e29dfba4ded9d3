"""What models cost: the prices of the merged view, for every model that a person could add, configured or not."""

from typing_extensions import TypedDict

from functions.ownpilot.core.catalogue.merge import MergedModel
from functions.ownpilot.core.catalogue.resolve import view_of
from functions.ownpilot.core.usage import Price


class PricedModel(TypedDict):
    """A model with its prices in USD for a million tokens; windows are tokens, 0 when unknown.

    `updatedAt` is the day of its release, as the catalogue knows no other; empty when unknown.
    """

    provider: str
    modelId: str
    displayName: str
    inputPrice: float
    outputPrice: float
    contextWindow: int
    maxOutput: int
    supportsVision: bool
    supportsFunctions: bool
    updatedAt: str


def price_in(model: MergedModel | None) -> Price | None:
    """Return the price of a model of the view, None when it is not known."""
    if model is None or ("pricingInput" not in model and "pricingOutput" not in model):
        return None
    return Price(model.get("pricingInput", 0), model.get("pricingOutput", 0))


async def price_of(owner: str, provider: str, model: str) -> Price | None:
    """Return the price of a model now, None when it is not known."""
    return price_in((await view_of(owner)).model(provider, model))


async def priced_models(owner: str, provider: str | None = None) -> list[PricedModel]:
    """Return all models of the view whose price is known, or those of one provider."""
    providers = (await view_of(owner)).providers.values()
    return [
        _priced(model, price)
        for each in providers
        if provider in (None, each.id)
        for model in each.models.values()
        if (price := price_in(model)) is not None
    ]


def _priced(model: MergedModel, price: Price) -> PricedModel:
    return PricedModel(
        provider=model["providerId"], modelId=model["modelId"], displayName=model["displayName"],
        inputPrice=price.input, outputPrice=price.output, contextWindow=model.get("contextWindow", 0),
        maxOutput=model.get("maxOutput", 0), supportsVision="vision" in model["capabilities"],
        supportsFunctions="function_calling" in model["capabilities"], updatedAt=model.get("releaseDate", ""),
    )  # fmt: skip
