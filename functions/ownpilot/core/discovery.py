"""Asking a provider which models it has."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

from functions.ownpilot.core.wires import Wire, key_headers
from shared import outbound
from shared.http.errors import BadGateway

PATHS = ("/v1/models", "/api/v1/models", "/models")
"""Where servers of OpenAI's protocol list their models, below the base URL without `/v1`."""

ADDRESSES = 3
"""How many addresses of a provider are asked at most."""

SECONDS = 8
"""What one address may take."""

LIMIT = 5_000_000
"""Bytes of a list of models."""

MOST = 1000
"""Models of one list that are kept."""

LONGEST = 200
"""Characters of a model's id."""


class Discovered(NamedTuple):
    """The address that answered, and the ids of its models in the server's order, each once."""

    url: str
    models: list[str]


async def discover(
    base_url: str,
    api_key: str | None,
    *,
    wire: Wire = "openai",
    paths: Sequence[str] = PATHS,
    user_given: bool = True,
) -> Discovered:
    """Ask the first addresses of a provider in turn, until one lists models.

    `base_url` has no user name and no query. `user_given` refuses private addresses that RUNYARD_PRIVATE_HOSTS does not
    name. `BadGateway` when no address lists a model; its details are `{"triedUrls": [...], "reasons": [...]}`.
    """
    root = base_url.rstrip("/").removesuffix("/v1")
    headers = {"Accept": "application/json"} | key_headers(wire, api_key)
    tried: list[str] = []
    reasons: list[str] = []
    for path in [*dict.fromkeys(paths)][:ADDRESSES]:
        url = f"{root}{path}"
        tried.append(url)
        try:
            async with (
                asyncio.timeout(SECONDS),
                outbound.request("GET", url, limit=LIMIT, headers=headers, user_given=user_given) as answer,
            ):
                listed = await answer.json() if answer.status == 200 else None
        except outbound.OutboundError as error:
            reasons.append(str(error))
        except TimeoutError:
            reasons.append(f"GET {url}: no answer within {SECONDS} s")
        else:
            if models := _ids(listed):
                return Discovered(url, models)
            reasons.append(f"GET {url}: status {answer.status}{' without models' if answer.status == 200 else ''}")
    raise BadGateway(
        "No models were found at the addresses of this provider", details={"triedUrls": tried, "reasons": reasons}
    )


def _ids(listed: Any) -> list[str]:
    """Return the model ids of OpenAI's, Anthropic's or Ollama's list, or of a bare array; none from anything else."""
    if isinstance(listed, dict):
        members = cast("dict[str, Any]", listed)
        listed = members.get("data", members.get("models"))
    if not isinstance(listed, list):
        return []
    found = [_id(each) for each in cast("Iterable[Any]", listed)]
    return [*dict.fromkeys(model for model in found if model and len(model) <= LONGEST)][:MOST]


def _id(model: Any) -> str:
    if isinstance(model, dict):
        members = cast("dict[str, Any]", model)
        model = members.get("id") or members.get("name") or members.get("model")
    return model.strip() if isinstance(model, str) else ""
