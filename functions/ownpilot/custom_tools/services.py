"""The configured services that a custom tool lists: they know of it, and it can read what is configured."""

import asyncio
from typing import Any

from functions.ownpilot.core.config_records import ConfigField, ConfigService, Requirer
from functions.ownpilot.core.config_store import (
    default_of,
    entries_of,
    release_service,
    require_service,
    services_of,
)
from functions.ownpilot.core.custom_tool_store import CustomTool, RequiredKey
from functions.ownpilot.custom_tools.work import Services

MIN_SECRET = 6
"""Characters of a secret that is masked in what a tool answers; shorter ones would mask ordinary words."""


def _requirer(tool: CustomTool) -> Requirer:
    return Requirer(type="tool", name=tool.name, id=tool.id)


async def require_services(tool: CustomTool) -> None:
    """Note at the services that a tool has listed that it needs them; those that do not exist are made."""
    for key in tool.required_api_keys or ():
        await require_service(tool.user_id, _made_for(key, tool.user_id), _requirer(tool))


async def release_services(tool: CustomTool) -> None:
    """Note at the services that a tool has listed that it needs them no more."""
    for key in tool.required_api_keys or ():
        await release_service(tool.user_id, key.name, _requirer(tool))


def _made_for(key: RequiredKey, owner: str) -> ConfigService:
    """Return the service that is made for a tool when there is none of this name: it takes one secret key."""
    field = ConfigField(name="api_key", label="API key", type="secret", required=True)
    return ConfigService(
        user_id=owner, name=key.name, display_name=key.display_name or key.name, category=key.category or "general",
        description=key.description, docs_url=key.docs_url, config_schema=[field],
    )  # fmt: skip


async def services_for(tool: CustomTool, owner: str) -> tuple[Services, list[str]]:
    """Return what is configured of the services that a tool has listed, and the secrets in it. 2 queries, or none."""
    names = {each.name for each in tool.required_api_keys or ()}
    if not names:
        return {}, []
    services, entries = await asyncio.gather(services_of(owner), entries_of(owner))
    found: Services = {}
    secrets: list[str] = []
    for service in services:
        if service.name not in names or not service.is_active:
            continue
        own = [each for each in entries if each.service_name == service.name and each.is_active]
        default = default_of(service, own)
        defaults = {each.name: each.default_value for each in service.config_schema if each.default_value is not None}
        shown: list[dict[str, Any]] = []
        for each in sorted(own, key=lambda entry: entry.id != default):
            private = each.secrets()
            secrets += [value for value in private.values() if isinstance(value, str) and len(value) >= MIN_SECRET]
            data = {**defaults, **each.data, **private}
            shown.append({"label": each.label, "isDefault": each.id == default, "data": data})
        found[service.name] = shown
    return found, secrets
