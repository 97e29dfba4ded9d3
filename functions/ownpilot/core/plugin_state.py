"""What each person has decided about the plugins, and what the plugins keep for that person."""

from collections.abc import Callable, Mapping
from typing import Any

from functions.ownpilot.core.entry import Entry, Moment
from shared.recent import RecentValues
from shared.tables import Collection


class PluginState(Entry):
    """What a person has changed of a plugin; `granted` are its permissions, None: all that it asks for."""

    plugin: str
    is_enabled: bool = True
    granted: list[str] | None = None
    settings: dict[str, Any] = {}


class PluginItem(Entry):
    """Something that a plugin keeps: a feed (`content` is its address), a reminder (its title), a text."""

    plugin: str
    content: str
    note: str | None = None
    tags: list[str] = []
    due_at: Moment | None = None


plugin_states = Collection("OwnpilotPlugins", PluginState, plain=True, unique=["plugin"])
plugin_items = Collection("OwnpilotPluginData", PluginItem, plain=True)

_recent: RecentValues[str, Mapping[str, PluginState]] = RecentValues()


async def stored_states(owner: str) -> Mapping[str, PluginState]:
    """Return what a person has changed, by plugin. 1 query."""
    return {each.plugin: each async for each in plugin_states.of(owner).all()}


async def recent_states(owner: str) -> Mapping[str, PluginState]:
    """Return what a person has changed, by plugin, as it was at most 5 seconds ago."""
    return await _recent.get(owner, lambda: stored_states(owner))


async def disabled_plugins(owner: str) -> frozenset[str]:
    """Return the plugins that a person has switched off, as it was at most 5 seconds ago."""
    return frozenset(name for name, state in (await recent_states(owner)).items() if not state.is_enabled)


async def change_state(owner: str, plugin: str, change: Callable[[PluginState], None]) -> PluginState:
    """Change what is stored of a plugin."""
    try:
        return await plugin_states.of(owner).put(
            "plugin", plugin, change, lambda: PluginState(user_id=owner, plugin=plugin)
        )
    finally:
        _recent.forget(owner)
