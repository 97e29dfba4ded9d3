"""Declares the tools of plugins, which refuse to work while their plugin lacks a permission that they need."""

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from functions.ownpilot.core.plugin_state import recent_states
from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.plugins.manifests import known_plugins
from functions.ownpilot.tools.registry import tool

Function = Callable[..., Awaitable[Any]]


def plugin_tool(plugin: str, *, tags: Sequence[str] = ()) -> Callable[[Function], Function]:
    """Declare an async function as a tool of a plugin, in whose manifest it stands; otherwise as `tool` does."""

    def declare(function: Function) -> Function:
        @functools.wraps(function)
        async def checked(context: ToolContext, **arguments: Any) -> Any:
            await _check_permissions(context.owner, plugin, function.__name__)
            return await function(context, **arguments)

        return tool(category="plugins", plugin=plugin, tags=tags)(checked)

    return declare


async def _check_permissions(owner: str, plugin: str, name: str) -> None:
    manifest = known_plugins()[plugin]
    if needed := manifest.tools[name]:
        granted = manifest.granted((await recent_states(owner)).get(plugin))
        if missing := [each for each in needed if each not in granted]:
            raise ToolError(f"The plugin {plugin} lacks the permission {missing[0]!r}, which the user can grant to it.")


async def plugin_settings(owner: str, plugin: str) -> dict[str, Any]:
    """Return a user's settings of a plugin, as they were at most 5 seconds ago."""
    return known_plugins()[plugin].settings_in((await recent_states(owner)).get(plugin))


def within(value: float, least: int, most: int) -> int:
    """Return a number of the settings as a whole one in a range."""
    return int(min(max(value, least), most))
