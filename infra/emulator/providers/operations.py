"""What the requests do: the catalogue of models.dev, rates of currencies, and lists of models."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from infra.emulator.providers import KEY
from infra.emulator.providers.state import MODELS, RATES, STATE, OfferedModel, SetAnswer


async def list_catalogue(request: web.Request) -> web.Response:
    """GET /api.json of models.dev: providers by id, each with its models by id."""
    provider: dict[str, Any] = {
        "id": "stand-in", "name": "Stand-in", "env": ["STAND_IN_API_KEY"], "npm": "@ai-sdk/openai-compatible",
        "api": f"http://{request.host}/v1", "doc": f"http://{request.host}/",
        "models": {model.id: _entry(model) for model in MODELS},
    }  # fmt: skip
    return web.json_response({provider["id"]: provider})


def _entry(model: OfferedModel) -> dict[str, Any]:
    return {
        "id": model.id, "name": model.name, "attachment": "image" in model.inputs, "reasoning": model.reasoning,
        "tool_call": True, "temperature": True, "release_date": model.created, "last_updated": model.created,
        "modalities": {"input": [*model.inputs], "output": ["text"]}, "open_weights": "/" in model.id,
        "cost": {"input": model.prices[0], "output": model.prices[1]},
        "limit": {"context": model.context, "output": model.output},
    }  # fmt: skip


def refusal(request: web.Request) -> web.Response | None:
    """401 for a key that is not `KEY`; a request without a key is one to a server that needs none."""
    given = request.headers.get("Authorization")
    if given in (None, f"Bearer {KEY}"):
        return None
    return openai_error(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key")


def openai_error(status: int, message: str, kind: str, code: str | None) -> web.Response:
    """An error in OpenAI's shape."""
    return web.json_response({"error": {"message": message, "type": kind, "param": None, "code": code}}, status=status)


async def list_openai_models(request: web.Request) -> web.Response:
    """GET /v1/models of OpenAI, LM Studio, vLLM and many others."""
    return refusal(request) or web.json_response({"object": "list", "data": [*map(_openai, MODELS)]})


async def get_openai_model(request: web.Request) -> web.Response:
    """GET /v1/models/{model}; 404 for a model that is not offered."""
    wanted = request.match_info["model"]
    found = next((model for model in MODELS if model.id == wanted), None)
    if refused := refusal(request):
        return refused
    if found is None:
        message = f"The model '{wanted}' does not exist"
        return openai_error(404, message, "invalid_request_error", "model_not_found")
    return web.json_response(_openai(found))


def _openai(model: OfferedModel) -> dict[str, Any]:
    return {"id": model.id, "object": "model", "created": int(_time(model).timestamp()), "owned_by": "stand-in"}


async def list_exchange_rates(request: web.Request) -> web.Response:
    """GET /stats/eurofxref/eurofxref-daily.xml of the European Central Bank: how much of each currency a euro is."""
    rates = "".join(f"<Cube currency='{code}' rate='{rate}'/>" for code, rate in RATES.items())
    text = (
        "<?xml version='1.0' encoding='UTF-8'?>"
        "<gesmes:Envelope xmlns:gesmes='http://www.gesmes.org/xml/2002-08-01'"
        " xmlns='http://www.ecb.int/vocabulary/2002-08-01/eurofxref'><gesmes:subject>Reference rates</gesmes:subject>"
        f"<Cube><Cube time='2026-01-15'>{rates}</Cube></Cube></gesmes:Envelope>"
    )
    return web.Response(text=text, content_type="text/xml")


async def list_ollama_models(request: web.Request) -> web.Response:
    """GET /api/tags of Ollama."""
    return web.json_response({"models": [*map(_ollama, MODELS)]})


def _ollama(model: OfferedModel) -> dict[str, Any]:
    details = {
        "parent_model": "", "format": "gguf", "family": "stand-in", "families": ["stand-in"],
        "parameter_size": "7B", "quantization_level": "Q4_0",
    }  # fmt: skip
    return {
        "name": model.id, "model": model.id, "modified_at": _time(model).isoformat(), "size": 4_000_000_000,
        "digest": hashlib.sha256(model.id.encode()).hexdigest(), "details": details,
    }  # fmt: skip


def _time(model: OfferedModel) -> datetime:
    return datetime.fromisoformat(model.created).replace(tzinfo=UTC)


async def show_version(request: web.Request) -> web.Response:
    """GET /api/version of Ollama."""
    return web.json_response({"version": "0.6.3"})


async def set_answers(request: web.Request) -> web.Response:
    """PUT /local/answers: `{"/api.json": {"status": 302, "headers": {...}, "text": "...", "size": 0, "pause": 0}}`.

    These paths answer that instead, whatever the method; all others answer as they would. 400 for anything else.
    """
    try:
        body: dict[str, Any] = await request.json()
        request.app[STATE].answers = {path: SetAnswer(**answer) for path, answer in body.items()}
    except (ValueError, TypeError, AttributeError) as error:
        return web.Response(status=400, text=f"{error}\n")
    return web.Response(status=204)


async def list_requests(request: web.Request) -> web.Response:
    """GET /local/requests: the last 500 requests to models, and how each ended; those that hold the query's `text`."""
    text = request.query.get("text", "")
    found = [each.shown() for each in request.app[STATE].requests if text in json.dumps(each.body, ensure_ascii=False)]
    return web.json_response(found)
