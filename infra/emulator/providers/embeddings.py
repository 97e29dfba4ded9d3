"""Vectors of texts, as OpenAI's API has them."""

import math
import re
import zlib
from typing import Any, cast

from aiohttp import web

from infra.emulator.providers.operations import openai_error, refusal
from infra.emulator.providers.state import MODELS, STATE, ModelRequest

DIMENSIONS = 384

CONCEPTS = {
    "car": "vehicle", "automobile": "vehicle", "dog": "pet", "puppy": "pet", "cat": "pet", "doctor": "health",
    "medicine": "health", "sofa": "furniture", "couch": "furniture", "espresso": "coffee", "physician": "health",
}  # fmt: skip
"""Words that mean something alike: the vectors of texts that hold them are near to each other."""


async def embed(request: web.Request) -> web.Response:
    """POST /v1/embeddings: vectors of the words of a text, of which some mean something alike."""
    if refused := refusal(request):
        return refused
    try:
        body: dict[str, Any] = await request.json()
        given: Any = body["input"]
        texts = [given] if isinstance(given, str) else [str(each) for each in cast("list[Any]", given)]
        size = int(body.get("dimensions", DIMENSIONS))
    except (ValueError, TypeError, KeyError) as error:
        return openai_error(400, f"The request cannot be read: {error}", "invalid_request_error", None)
    if body.get("model") not in [model.id for model in MODELS]:
        message = f"The model '{body.get('model')}' does not exist"
        return openai_error(404, message, "invalid_request_error", "model_not_found")
    request.app[STATE].requests.append(ModelRequest(request.path, body, "whole"))
    vectors = [_vector(text, size) for text in texts]
    data = [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(vectors)]
    tokens = sum(len(text.split()) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return web.json_response({"object": "list", "data": data, "model": body["model"], "usage": usage})


def _vector(text: str, size: int) -> list[float]:
    vector = [0.0] * size
    for word in cast("list[str]", re.findall(r"\w+", text.casefold())):
        concept = CONCEPTS.get(word, word)
        vector[zlib.crc32(concept.encode()) % size] += 1
    length = math.hypot(*vector) or 1
    return [value / length for value in vector]
