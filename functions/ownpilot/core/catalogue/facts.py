"""Facts about providers and their models, and the packed form in which a catalogue of them is stored."""

import gzip
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import orjson

Capability = Literal[
    "chat", "code", "vision", "function_calling", "json_mode", "streaming", "embeddings", "image_generation", "audio",
    "reasoning",
]  # fmt: skip
CAPABILITIES: dict[Capability, tuple[str, str]] = {
    "chat": ("Chat", "Answers in a conversation"),
    "code": ("Code", "Is made for writing programs"),
    "vision": ("Vision", "Reads images"),
    "function_calling": ("Function calling", "Calls tools"),
    "json_mode": ("JSON", "Answers in JSON of a given shape"),
    "streaming": ("Streaming", "Sends its answer while it is made"),
    "embeddings": ("Embeddings", "Turns texts into vectors"),
    "image_generation": ("Images", "Makes images"),
    "audio": ("Audio", "Hears or speaks"),
    "reasoning": ("Reasoning", "Thinks before it answers"),
}
"""The name and the meaning of each capability, in the order in which they are listed."""

ProviderType = Literal["openai", "anthropic", "google", "openai-compatible"]


class Model(NamedTuple):
    """One model: windows in tokens, prices in USD for a million tokens; None is unknown. `released` may be empty."""

    id: str
    name: str
    context: int | None
    output: int | None
    input_price: float | None
    output_price: float | None
    capabilities: tuple[Capability, ...]
    released: str


class Provider(NamedTuple):
    """One provider, its newest models first. `key_name` is what its documentation calls the variable of its key."""

    id: str
    name: str
    type: str
    base_url: str | None
    key_name: str | None
    docs_url: str | None
    models: tuple[Model, ...]

    @property
    def default_model(self) -> str | None:
        """The id of its newest model that calls tools; where none does, of its newest."""
        able = (each.id for each in self.models if "function_calling" in each.capabilities and "guard" not in each.id)
        return next(able, self.models[0].id if self.models else None)


class Catalogue:
    """Providers by id; never changed."""

    def __init__(self, providers: Iterable[Provider]):
        self.providers: Mapping[str, Provider] = {each.id: each for each in providers}

    def with_providers(self, providers: Iterable[Provider]) -> "Catalogue":
        """Return a catalogue in which these providers are added, or replaced as a whole."""
        return Catalogue({**self.providers, **{each.id: each for each in providers}}.values())

    @property
    def size(self) -> int:
        """How many models it has."""
        return sum(len(each.models) for each in self.providers.values())

    def pack(self) -> bytes:
        """Return the packed form, which is the same for the same facts."""
        order = list(CAPABILITIES)
        providers = [
            [
                *each[:-1],
                [[*m[:6], sum(1 << order.index(can) for can in m.capabilities), m.released] for m in each.models],
            ]
            for each in self.providers.values()
        ]
        return gzip.compress(orjson.dumps({"version": 1, "providers": providers}), mtime=0)

    @classmethod
    def unpack(cls, packed: bytes) -> "Catalogue":
        """Read the packed form. ValueError when it is something else."""
        try:
            found: Any = orjson.loads(gzip.decompress(packed))
            return cls(_provider(each) for each in found["providers"])
        except (OSError, EOFError, zlib.error, LookupError, TypeError, ValueError) as error:
            raise ValueError("this is no packed catalogue") from error


def _provider(packed: list[Any]) -> Provider:
    *members, models = packed
    return Provider._make([*members, tuple(map(_model, models))])


def _model(packed: list[Any]) -> Model:
    *members, bits, released = packed
    return Model._make([*members, _capabilities(bits), released])


_named: dict[int, tuple[Capability, ...]] = {}


def _capabilities(bits: int) -> tuple[Capability, ...]:
    """Return one tuple for each set of capabilities, which all models that have it share."""
    if bits not in _named:
        _named[bits] = tuple(name for place, name in enumerate(CAPABILITIES) if bits >> place & 1)
    return _named[bits]
