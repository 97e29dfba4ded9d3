"""The one mapping from models.dev to our facts."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import orjson

from functions.ownpilot.core.catalogue.facts import Capability, Catalogue, Model, Provider
from functions.ownpilot.core.catalogue.table import BASE_URLS, RESERVED

RESELLER = 200
"""A provider with more models than this sells those of others. The snapshot leaves it out; a sync brings it."""

MOST_MODELS = 5000
LONGEST_NAME = 200

_PROVIDER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MODEL_ID = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")
_TYPES = {"@ai-sdk/openai": "openai", "@ai-sdk/anthropic": "anthropic", "@ai-sdk/google": "google"}


class Mapped(NamedTuple):
    """What a document says: the providers that can be read, and the ids of the others."""

    providers: list[Provider]
    failed: list[str]


def mapped(document: Any) -> Mapped:
    """Return the providers of models.dev's `api.json`. ValueError when it names no provider with a model."""
    providers: list[Provider] = []
    failed: list[str] = []
    for id_, given in _object(document).items():
        try:
            provider = _provider(id_, _object(given))
        except ValueError:
            failed.append(id_[:100])
            continue
        if provider.models:
            providers.append(provider)
    if not providers:
        raise ValueError("it names no provider with a model")
    return Mapped(providers, failed)


def _provider(id_: str, given: Mapping[str, Any]) -> Provider:
    if not _PROVIDER_ID.fullmatch(id_) or id_.lower() in RESERVED:
        raise ValueError("this cannot be the id of a provider")
    listed = [*_object(given.get("models")).items()][:MOST_MODELS]
    found = [model for key, each in listed if (model := _model(key, each)) is not None]
    variables = given.get("env")
    return Provider(
        id_, _name(given.get("name"), id_), _TYPES.get(str(given.get("npm")), "openai-compatible"),
        BASE_URLS.get(id_) or _address(given.get("api")),
        _name(cast("list[Any]", variables)[0], "") or None if isinstance(variables, list) and variables else None,
        _address(given.get("doc")), tuple(sorted(found, key=lambda each: each.released, reverse=True)),
    )  # fmt: skip


def _model(id_: str, given: Any) -> Model | None:
    """Return a model; None when it answers no text, is deprecated, or cannot be read."""
    if not isinstance(given, dict) or not _MODEL_ID.fullmatch(id_):
        return None
    members = cast("dict[str, Any]", given)
    modalities = _members(members, "modalities")
    takes, gives = _texts(modalities.get("input")), _texts(modalities.get("output")) or {"text"}
    if members.get("status") == "deprecated" or "text" not in gives:
        return None
    limit, cost = _members(members, "limit"), _members(members, "cost")
    released = members.get("release_date")
    return Model(
        id_, _name(members.get("name"), id_), _tokens(limit.get("context")), _tokens(limit.get("output")),
        _price(cost.get("input")), _price(cost.get("output")), _capabilities(id_, members, takes, gives),
        released[:10] if isinstance(released, str) else "",
    )  # fmt: skip


def _capabilities(id_: str, members: Mapping[str, Any], takes: set[str], gives: set[str]) -> tuple[Capability, ...]:
    is_embedding = "embed" in id_.lower()
    has: dict[Capability, bool] = {
        "chat": not is_embedding,
        "code": "code" in id_.lower(),
        "vision": "image" in takes,
        "function_calling": members.get("tool_call") is True,
        "json_mode": members.get("structured_output") is True,
        "streaming": not is_embedding,
        "embeddings": is_embedding,
        "image_generation": "image" in gives,
        "audio": "audio" in takes | gives,
        "reasoning": members.get("reasoning") is True,
    }
    return tuple(name for name, can in has.items() if can)


def _object(given: Any) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise ValueError("it is no JSON object")
    return cast("Mapping[str, Any]", given)


def _members(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = given.get(name)
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


def _texts(given: Any) -> set[str]:
    return {each for each in cast("list[Any]", given) if isinstance(each, str)} if isinstance(given, list) else set()


def _name(given: Any, otherwise: str) -> str:
    return given[:LONGEST_NAME] if isinstance(given, str) and given.strip() else otherwise


def _tokens(given: Any) -> int | None:
    return given if isinstance(given, int) and 0 < given < 10**9 else None


def _price(given: Any) -> float | None:
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    return given if is_number and math.isfinite(given) and 0 <= given < 10**6 else None


def _address(given: Any) -> str | None:
    """Return an address that can be used as it stands: models.dev has some with `${NAME}` in them."""
    if not isinstance(given, str) or not re.fullmatch(r"https?://[!-~]{1,500}", given) or "${" in given:
        return None
    return given.rstrip("/").removesuffix("/chat/completions")


SNAPSHOT = Path(__file__).with_name("snapshot.json.gz")


def make_snapshot(api_json: bytes) -> Catalogue:
    """Return the catalogue that the app ships: all but resellers."""
    providers = mapped(orjson.loads(api_json)).providers
    return Catalogue(each for each in providers if len(each.models) <= RESELLER)
