"""The settings of plugins."""

from functions.ownpilot.core.config_records import checked_values
from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.core.plugin_state import PluginState, stored_states
from functions.ownpilot.plugins import change_plugin, manifest_of
from functions.ownpilot.plugins.bodies import PluginSettings, SettingsChange, SettingsShown

routes = routes_for("plugins/{plugin_id}/settings")


@routes.get("")
async def get_plugin_settings(plugin_id: str, owner: Owner) -> PluginSettings:
    """The settings of a plugin and their fields."""
    manifest = manifest_of(plugin_id)
    state = (await stored_states(owner.id)).get(manifest.id)
    return PluginSettings(
        plugin_id=manifest.id, plugin_config_schema=manifest.settings, settings=manifest.settings_in(state),
        default_config=manifest.defaults,
    )  # fmt: skip


@routes.put("")
async def update_plugin_settings(plugin_id: str, body: SettingsChange, owner: Owner) -> SettingsShown:
    """Change the given settings of a plugin."""
    manifest = manifest_of(plugin_id)
    given = checked_values(f"The plugin {manifest.id}", manifest.settings, body.settings, "settings", is_closed=True)

    def change(state: PluginState) -> None:
        merged = {**state.settings, **given}
        state.settings = {name: value for name, value in merged.items() if value not in (None, "")}

    state = await change_plugin(owner, manifest, "settings", change)
    return SettingsShown(settings=manifest.settings_in(state))
