"""The API keys of providers, which are sealed and never shown."""

from typing import Annotated

from fastapi import Path
from pydantic import StringConstraints

from functions.ownpilot.core import settings_store as store
from functions.ownpilot.core.audit_log import record_change
from functions.ownpilot.core.entry import Given, NotBlank, Shown
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.bodies import example

routes = routes_for("settings")

# A line end that was copied along would make the header of each call invalid.
Secret = Annotated[str, StringConstraints(min_length=1, max_length=10_000, strip_whitespace=True)]


class ApiKey(Given):
    """The API key of a provider."""

    model_config = example(apiKey="sk-an-example-only")

    api_key: Secret


class ProviderKey(Given):
    """A provider and its API key."""

    model_config = example(provider="openai", apiKey="sk-an-example-only")

    provider: NotBlank
    api_key: Secret


class Configured(Shown):
    """Whether a provider has a key; the key itself is never shown."""

    provider: str
    configured: bool


@routes.get("/api-key/{provider}")
async def get_api_key(provider: str, owner: Owner) -> Configured:
    """Whether a provider has a key."""
    return Configured(provider=provider, configured=await store.has_key(owner.id, provider))


@routes.post("/api-key/{provider}")
async def set_api_key(provider: Annotated[NotBlank, Path()], body: ApiKey, owner: Owner) -> Configured:
    """Store the key of a provider, sealed."""
    return await add_api_key(ProviderKey(provider=provider, api_key=body.api_key), owner)


@routes.delete("/api-key/{provider}")
async def delete_api_key(provider: str, owner: Owner) -> Configured:
    """Delete the key of a provider."""
    if await store.remove(owner.id, store.API_KEY + provider):
        await record_change(owner, "setting", store.API_KEY + provider, "delete")
    return Configured(provider=provider, configured=False)


@routes.post("/api-keys")
async def add_api_key(body: ProviderKey, owner: Owner) -> Configured:
    """Store the key of a provider, sealed."""
    await store.check_room(owner.id, store.API_KEY + body.provider)
    await store.seal_key(owner.id, body.provider, body.api_key)
    await record_change(owner, "setting", store.API_KEY + body.provider, "set")
    return Configured(provider=body.provider, configured=True)


@routes.delete("/api-keys/{provider}")
async def remove_api_key(provider: str, owner: Owner) -> Configured:
    """Delete the key of a provider."""
    return await delete_api_key(provider, owner)
