"""What clients send and see of plugins."""

from typing import Any

from functions.ownpilot.core.config_records import ConfigField
from functions.ownpilot.core.entry import Given, Moment, Shown
from shared.http.bodies import Done, example


class RequiredService(Shown):
    """A config service that tools of a plugin use."""

    name: str
    display_name: str
    is_configured: bool


class PluginShown(Shown):
    """A plugin as the person has set it up.

    `has_unconfigured_services`: some tools cannot work yet. Of services that can stand for each other, one is enough.
    """

    id: str
    name: str
    version: str
    description: str
    status: str
    capabilities: list[str]
    permissions: list[str]
    granted_permissions: list[str]
    tool_count: int
    tools: list[str]
    handler_count: int = 0
    icon: str
    installed_at: Moment
    updated_at: Moment
    category: str
    plugin_config_schema: list[ConfigField]
    settings: dict[str, Any]
    has_settings: bool
    required_services: list[RequiredService]
    has_unconfigured_services: bool


class PluginTool(Shown):
    """A tool of a plugin; `parameters` is the JSON schema of its arguments."""

    name: str
    description: str
    parameters: dict[str, Any]


class PluginDetails(PluginShown):
    """A plugin with all that is known of it. Plugins have tools and no handlers."""

    tools_detailed: list[PluginTool]
    handlers_info: list[str] = []
    config: dict[str, Any]
    config_schema: list[ConfigField]


class PluginChanged(Done):
    """What was done, and the plugin after it."""

    plugin: PluginShown


class Permissions(Given):
    """The permissions that a plugin shall have; it loses the others."""

    model_config = example(permissions=["network"])

    permissions: list[str]


class PermissionsChanged(Shown):
    """The permissions that a plugin has now."""

    message: str
    granted_permissions: list[str]


class SettingsChange(Given):
    """The settings that change; null brings the default back."""

    model_config = example(settings={"units": "imperial"})

    settings: dict[str, Any]


class SettingsShown(Shown):
    """The settings of a plugin."""

    settings: dict[str, Any]


class PluginSettings(SettingsShown):
    """The settings of a plugin, their fields, and what they are as long as nobody changes them."""

    plugin_id: str
    plugin_config_schema: list[ConfigField]
    default_config: dict[str, Any]


class Reloaded(Done):
    """How many plugins were read."""

    reloaded: int


class PluginStats(Shown):
    """Plugins in numbers."""

    total: int
    enabled: int
    disabled: int
    error: int = 0
    total_tools: int
    total_handlers: int = 0
    by_capability: dict[str, int]
    by_permission: dict[str, int]
