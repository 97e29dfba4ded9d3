"""The models that runs can use, and the routes that list them."""

from enum import StrEnum
from functools import cache

from pydantic import BaseModel, ConfigDict

from shared.api_keys import CurrentClient
from shared.http.bodies import ResponseBody
from shared.http.errors import NotFound
from shared.http.routes import router
from shared.settings import settings

routes = router("/api/models", "models")


class Provider(StrEnum):
    """The company that serves a model; `custom` models are interpreters in the runner's image."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    CUSTOM = "custom"


class Model(BaseModel):
    """`context_length` and `max_tokens` in tokens (for custom models: characters of the program); costs in USD per
    million tokens."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    provider: Provider
    description: str
    context_length: int
    max_tokens: int
    input_cost: float = 0.0
    output_cost: float = 0.0
    supports_vision: bool = False
    supports_tools: bool = False

    @property
    def available(self) -> bool:
        """Whether its runs can work: the provider's API key is set, or the runner's image has the interpreter."""
        return self.provider is Provider.CUSTOM or (
            self.provider is Provider.ANTHROPIC and bool(settings().anthropic_api_key)
        )


@cache
def catalogue() -> dict[str, Model]:
    """All models by id, in the order they are listed."""
    models = [
        Model(
            id="claude-sonnet-4-20250514",
            name="Claude Sonnet 4",
            provider=Provider.ANTHROPIC,
            description="Balanced model for most tasks",
            context_length=200_000,
            max_tokens=8192,
            input_cost=3.0,
            output_cost=15.0,
            supports_tools=True,
        ),
        Model(
            id="claude-opus-4-20250514",
            name="Claude Opus 4",
            provider=Provider.ANTHROPIC,
            description="Most capable model, for the hardest tasks",
            context_length=200_000,
            max_tokens=4096,
            input_cost=15.0,
            output_cost=75.0,
            supports_tools=True,
        ),
        Model(
            id="python",
            name="Python",
            provider=Provider.CUSTOM,
            description="The prompt is a Python program; files it writes to artifacts/ are kept",
            context_length=100_000,
            max_tokens=100_000,
        ),
        Model(
            id="bash",
            name="Bash",
            provider=Provider.CUSTOM,
            description="The prompt is a Bash script; files it writes to artifacts/ are kept",
            context_length=100_000,
            max_tokens=100_000,
        ),
    ]
    return {model.id: model for model in models}


class ModelSummary(ResponseBody):
    """A model in the list."""

    id: str
    name: str
    provider: Provider
    context_length: int
    max_tokens: int
    supports_vision: bool
    supports_tools: bool


class ModelDetail(ModelSummary):
    """A model with its prices, in USD per million tokens."""

    description: str
    input_cost: float
    output_cost: float
    available: bool


class ModelList(ResponseBody):
    """Models; `total` counts them."""

    models: list[ModelSummary]
    total: int


@routes.get("")
async def list_models(client: CurrentClient, provider: Provider | None = None) -> ModelList:
    """All models, or those of a provider."""
    found = [ModelSummary.model_validate(m) for m in catalogue().values() if provider in (None, m.provider)]
    return ModelList(models=found, total=len(found))


@routes.get("/{model_id}", response_model=ModelDetail)
async def get_model(model_id: str, client: CurrentClient) -> Model:
    """One model, with its prices and whether it can run here."""
    if model_id not in catalogue():
        raise NotFound("Model not found")
    return catalogue()[model_id]
