"""Plugins: sets of tools that each person can switch off, restrict and set up."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BeforeValidator

from functions.ownpilot.config_services.bodies import is_configured
from functions.ownpilot.core.audit_log import Subject, record_event
from functions.ownpilot.core.config_records import ConfigService
from functions.ownpilot.core.config_store import entries_of, services_of
from functions.ownpilot.core.entry import moment
from functions.ownpilot.core.owner import Owner, Person, routes_for
from functions.ownpilot.core.plugin_state import PluginState, change_state, stored_states
from functions.ownpilot.plugins.bodies import (
    Permissions,
    PermissionsChanged,
    PluginChanged,
    PluginDetails,
    PluginShown,
    PluginStats,
    PluginTool,
    Reloaded,
    RequiredService,
)
from functions.ownpilot.plugins.manifests import Manifest, known_plugins, read_manifests
from functions.ownpilot.tools.registry import built_in
from shared.http.errors import BadRequest, NotFound

routes = routes_for("plugins")

Status = Annotated[
    Literal["enabled", "active", "disabled", "error"] | None,
    BeforeValidator(lambda given: given or None),
    Query(description="enabled (or active), disabled, error"),
]


def manifest_of(plugin_id: str) -> Manifest:
    """Return a plugin. `NotFound`."""
    found = known_plugins().get(plugin_id)
    if found is None:
        raise NotFound(f"Plugin not found: {plugin_id[:100]}")
    return found


@routes.get("")
async def list_plugins(owner: Owner, status: Status = None, capability: str | None = None) -> list[PluginShown]:
    """All plugins, or those with a status or a capability. 3 queries at once."""
    wanted = "enabled" if status == "active" else status
    found = await _plugins(owner.id)
    return [
        each
        for each in found.values()
        if wanted in (None, each.status) and (not capability or capability in each.capabilities)
    ]


@routes.get("/stats")
async def get_plugin_stats(owner: Owner) -> PluginStats:
    """Plugins in numbers."""
    states = await stored_states(owner.id)
    found = known_plugins()
    disabled = sum(not state.is_enabled for name, state in states.items() if name in found)
    return PluginStats(
        total=len(found),
        enabled=len(found) - disabled,
        disabled=disabled,
        total_tools=sum(len(each.tools) for each in found.values()),
        by_capability=Counter(name for each in found.values() for name in each.capabilities),
        by_permission=Counter(name for each in found.values() for name in each.permissions),
    )


@routes.get("/{plugin_id}")
async def get_plugin(plugin_id: str, owner: Owner) -> PluginDetails:
    """One plugin with its tools."""
    manifest = manifest_of(plugin_id)
    shown = (await _plugins(owner.id))[manifest.id]
    tools = [built_in()[name] for name in manifest.tools]
    return PluginDetails(
        **dict(shown),
        tools_detailed=[PluginTool(name=it.name, description=it.description, parameters=it.parameters) for it in tools],
        config={
            "enabled": shown.status == "enabled",
            "grantedPermissions": shown.granted_permissions,
            "settings": shown.settings,
        },
        config_schema=manifest.settings,
    )


@routes.post("/reload")
async def reload_plugins(owner: Owner) -> Reloaded:
    """Read the plugins from their files again, in the instance of the app that serves this request."""
    found = read_manifests()
    return Reloaded(reloaded=len(found), message=f"{len(found)} plugins were read again")


@routes.post("/{plugin_id}/enable")
async def enable_plugin(plugin_id: str, owner: Owner) -> PluginChanged:
    """Switch a plugin on: its tools can be used again within 5 seconds."""
    return await _switch(owner, manifest_of(plugin_id), is_enabled=True)


@routes.post("/{plugin_id}/disable")
async def disable_plugin(plugin_id: str, owner: Owner) -> PluginChanged:
    """Switch a plugin off: its tools vanish within 5 seconds."""
    return await _switch(owner, manifest_of(plugin_id), is_enabled=False)


async def _switch(owner: Person, manifest: Manifest, *, is_enabled: bool) -> PluginChanged:
    def change(state: PluginState) -> None:
        state.is_enabled = is_enabled

    await change_plugin(owner, manifest, "enable" if is_enabled else "disable", change)
    word = "enabled" if is_enabled else "disabled"
    return PluginChanged(message=f"{manifest.name} is {word}", plugin=(await _plugins(owner.id))[manifest.id])


@routes.post("/{plugin_id}/permissions")
async def set_plugin_permissions(plugin_id: str, body: Permissions, owner: Owner) -> PermissionsChanged:
    """Set the permissions of a plugin, out of those that it asks for. Tools that need another one refuse to work."""
    manifest = manifest_of(plugin_id)
    if unknown := [each for each in body.permissions if each not in manifest.permissions]:
        asked = ", ".join(manifest.permissions) or "none"
        raise BadRequest(f"{manifest.name} does not ask for the permission {unknown[0][:100]!r}; it asks for: {asked}")

    def change(state: PluginState) -> None:
        state.granted = [*dict.fromkeys(body.permissions)]

    state = await change_plugin(owner, manifest, "permissions", change)
    return PermissionsChanged(message="The permissions were set", granted_permissions=manifest.granted(state))


async def change_plugin(
    owner: Person, manifest: Manifest, action: str, change: Callable[[PluginState], None]
) -> PluginState:
    """Change what is stored of a plugin, and log that."""
    state = await change_state(owner.id, manifest.id, change)
    subject = Subject("plugin", manifest.id, manifest.name)
    await record_event(owner.id, f"plugin.{action}", subject, correlation_id=owner.request_id)
    return state


async def _plugins(owner: str) -> dict[str, PluginShown]:
    """Return all plugins as a person sees them, by id. 3 queries at once."""
    states, services, entries = await asyncio.gather(stored_states(owner), services_of(owner), entries_of(owner))
    configured = {each.name: is_configured([it for it in entries if it.service_name == each.name]) for each in services}
    by_name = {each.name: each for each in services}
    return {name: _shown(each, states.get(name), by_name, configured) for name, each in known_plugins().items()}


def _shown(
    manifest: Manifest,
    state: PluginState | None,
    services: Mapping[str, ConfigService],
    configured: Mapping[str, bool],
) -> PluginShown:
    since: datetime = moment(manifest.since)
    members: dict[str, Any] = {
        name: getattr(manifest, name)
        for name in ("id", "name", "version", "description", "capabilities", "permissions", "icon", "category")
    }
    return PluginShown(
        **members,
        status="enabled" if state is None or state.is_enabled else "disabled",
        granted_permissions=manifest.granted(state),
        tool_count=len(manifest.tools),
        tools=[*manifest.tools],
        installed_at=since,
        updated_at=state.updated_at if state else since,
        plugin_config_schema=manifest.settings,
        settings=manifest.settings_in(state),
        has_settings=bool(manifest.settings),
        required_services=[
            RequiredService(
                name=name,
                display_name=services[name].display_name if name in services else name,
                is_configured=configured.get(name, False),
            )
            for group in manifest.services
            for name in group
        ],
        has_unconfigured_services=not all(any(configured.get(name) for name in it) for it in manifest.services),
    )
