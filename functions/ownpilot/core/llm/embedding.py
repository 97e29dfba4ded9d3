"""Asking a model for vectors."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from functions.ownpilot.core.catalogue.resolve import Target
from functions.ownpilot.core.llm.json_parts import entries, members, number
from functions.ownpilot.core.llm.sending import sent
from functions.ownpilot.core.llm.vocabulary import ModelRefused, ModelUnreachable

DIMENSIONS = 256
"""Numbers of a vector that are asked for; a server that has only one length gives that."""

MOST_DIMENSIONS = 4096

AT_ONCE = 100
"""Texts of one request."""

LONGEST = 8000
"""Characters of a text that count: the models read about 8,000 tokens."""


class Embedded(NamedTuple):
    """A vector for each text, and the tokens that they took."""

    vectors: list[list[float]]
    tokens: int


async def embed(way: Target, texts: Sequence[str], *, silence: float = 60) -> list[list[float]]:
    """Return one vector for each text. `ModelRefused`, `ModelUnreachable`."""
    return (await embedded(way, texts, silence=silence)).vectors


async def embedded(way: Target, texts: Sequence[str], *, silence: float = 60) -> Embedded:
    """As `embed`, and the tokens."""
    if way.wire == "anthropic":
        raise ModelRefused(400, f"The provider {way.provider} makes no vectors")
    vectors: list[list[float]] = []
    tokens = 0
    for first in range(0, len(texts), AT_ONCE):
        part = [text[:LONGEST] or " " for text in texts[first : first + AT_ONCE]]
        body = {"model": way.model["modelId"], "input": part, "dimensions": DIMENSIONS, "encoding_format": "float"}
        async with sent(way, "embeddings", body, silence=silence) as answer:
            found = members(await answer.json())
        vectors += _vectors(found, len(part))
        tokens += number(members(found.get("usage")).get("prompt_tokens"))
    return Embedded(vectors, tokens)


def _vectors(answer: Any, count: int) -> list[list[float]]:
    """Return the vectors in the order of the texts, all of one length. `ModelUnreachable`."""
    rows = sorted(entries(members(answer).get("data")), key=lambda row: number(row.get("index")))
    vectors = [cast("list[float]", row["embedding"]) for row in rows if _is_vector(row.get("embedding"))]
    if len(vectors) != count or len({*map(len, vectors)}) != 1:
        raise ModelUnreachable("The provider's answer does not hold one vector for each text")
    return vectors


def _is_vector(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    numbers = cast("list[Any]", value)
    return 0 < len(numbers) <= MOST_DIMENSIONS and all(isinstance(each, int | float) for each in numbers)
