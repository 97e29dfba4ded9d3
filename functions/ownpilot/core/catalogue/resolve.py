"""The only way to a model: whether a person may call it, and where and with which key it is called."""

import logging
from dataclasses import dataclass, field
from typing import NamedTuple

from functions.ownpilot.core import local_store, settings_store
from functions.ownpilot.core.catalogue import rows, stored
from functions.ownpilot.core.catalogue.merge import merged
from functions.ownpilot.core.catalogue.view import MergedModel, MergedProvider, View
from functions.ownpilot.core.wires import Wire, wire_of
from shared.http.errors import BadRequest, NotFound
from shared.sealing import SealBroken

log = logging.getLogger(__name__)

ANY = ("", "default")
"""What names no provider or model in particular."""


@dataclass(frozen=True)
class Target:
    """How a model is called: what it speaks, the address before `/chat/completions` or `/messages`, and the key.

    `is_local`: its address may be a private one. A local provider may have no key.
    """

    provider: str
    model: MergedModel
    wire: Wire
    base_url: str
    api_key: str | None = field(repr=False)
    is_local: bool = False


class UsedDefaults(NamedTuple):
    """The provider and the model that are used when none is named; None when no provider can be called."""

    provider: str | None
    model: str | None


async def view_of(owner: str, *, fresh: bool = False) -> View:
    """Return the merged view of a person. What another instance has changed may be 5 s old, unless `fresh`."""
    catalogue = await stored.current()
    return merged(catalogue, await rows.rows_of(owner, fresh=fresh))


async def provider_of(owner: str, provider_id: str, *, code: str = "PROVIDER_NOT_FOUND") -> MergedProvider:
    """Return a provider of the view. `NotFound` with this code."""
    for fresh in (False, True):  # another instance may have just made it
        if found := (await view_of(owner, fresh=fresh)).providers.get(provider_id):
            return found
    raise NotFound(f"There is no provider {provider_id[:100]}", code=code)


async def model_of(owner: str, provider_id: str, model_id: str) -> tuple[MergedProvider, MergedModel]:
    """Return a model of the view, and its provider. `NotFound` PROVIDER_NOT_FOUND, MODEL_NOT_FOUND."""
    for fresh in (False, True):
        provider = (await view_of(owner, fresh=fresh)).providers.get(provider_id)
        if provider and model_id in provider.models:
            return provider, provider.models[model_id]
        if provider and fresh:
            raise NotFound(f"{provider.name} has no model {model_id[:100]}", code="MODEL_NOT_FOUND")
    raise NotFound(f"There is no provider {provider_id[:100]}", code="PROVIDER_NOT_FOUND")


async def defaults_of(owner: str, view: View | None = None) -> UsedDefaults:
    """Return the saved provider if it can be called, else the default local one, else that of the oldest key.

    One without a model that is switched on cannot be called.
    The model is the saved one if that provider has it, else the provider's default.
    """
    view = view or await view_of(owner)
    saved = await settings_store.recent(owner)
    usable = {each.id: each for each in view.usable() if each.default_model}
    wanted = [
        settings_store.text(saved, settings_store.DEFAULT_PROVIDER), settings_store.text(saved, local_store.DEFAULT),
        *await settings_store.key_holders(owner), *usable,
    ]  # fmt: skip
    provider = next((usable[id_] for id_ in wanted if id_ in usable), None)
    if provider is None:
        return UsedDefaults(None, None)
    model = settings_store.text(saved, settings_store.DEFAULT_MODEL)
    return UsedDefaults(provider.id, model if model in provider.models else provider.default_model)


async def resolve(owner: str, provider_id: str = "", model_id: str = "") -> Target:
    """Return how a model is called; empty or `default` stands for the defaults.

    `NotFound` PROVIDER_NOT_FOUND, MODEL_NOT_FOUND; `BadRequest` NO_PROVIDER, NO_MODEL, PROVIDER_DISABLED,
    MODEL_DISABLED, NO_API_KEY, NO_BASE_URL.
    """
    if provider_id in ANY or model_id in ANY:
        provider_id, model_id = await _with_defaults(owner, provider_id, model_id)
    provider, model = await model_of(owner, provider_id, model_id)
    if not provider.is_enabled:
        raise BadRequest(f"The provider {provider.name} is switched off", code="PROVIDER_DISABLED")
    if not model["isEnabled"]:
        raise BadRequest(f"The model {model['displayName']} is switched off", code="MODEL_DISABLED")
    is_local = provider.source == "local"
    key = await api_key_of(owner, provider)
    if key is None and not is_local:
        raise BadRequest(f"The provider {provider.name} has no API key: set it first", code="NO_API_KEY")
    if not provider.base_url:
        raise BadRequest(f"The provider {provider.name} needs a base URL: set it first", code="NO_BASE_URL")
    base_url = provider.base_url.rstrip("/")
    if is_local and not base_url.endswith("/v1"):
        base_url += "/v1"
    return Target(provider.id, model, wire_of(provider.type), base_url, key, is_local)


async def _with_defaults(owner: str, provider_id: str, model_id: str) -> tuple[str, str]:
    defaults = await defaults_of(owner)
    if defaults.provider is None:  # another instance may have just stored a key
        defaults = await defaults_of(owner, await view_of(owner, fresh=True))
    if provider_id in ANY:
        if defaults.provider is None:
            raise BadRequest("No provider has an API key: set one first", code="NO_PROVIDER")
        provider_id = defaults.provider
    if model_id in ANY:
        provider = await provider_of(owner, provider_id)
        found = defaults.model if provider.id == defaults.provider else provider.default_model
        if found is None:
            raise BadRequest(f"The provider {provider.name} has no model that is switched on", code="NO_MODEL")
        model_id = found
    return provider_id, model_id


async def api_key_of(owner: str, provider: MergedProvider) -> str | None:
    """Return the key of a provider, None without one. `BadRequest` NO_API_KEY when it cannot be read."""
    try:
        if provider.source == "local":
            return (await local_store.local_providers.of(owner).get(provider.id)).api_key
        return await settings_store.api_key_of(owner, provider.id)
    except SealBroken as error:
        log.warning("a key does not open: %s", error)
        raise BadRequest(f"The key of {provider.name} cannot be read: set it again", code="NO_API_KEY") from error
