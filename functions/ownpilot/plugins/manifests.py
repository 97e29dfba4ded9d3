"""The plugins that there are: what each is, which tools it brings, and what these need."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from functions.ownpilot.core.config_records import ConfigField
from functions.ownpilot.core.plugin_state import PluginState

_FILE = Path(__file__).with_name("manifests.json")


@dataclass(frozen=True)
class Manifest:
    """A plugin. `since` is the day from which on it is there.

    `tools` are the permissions that each of its tools needs, by the tool's name. `services` are the config services
    that they use: groups of which one service is enough. `settings` are the fields of its settings.
    """

    id: str
    name: str
    version: str
    description: str
    icon: str
    category: str
    since: str
    capabilities: list[str]
    tools: Mapping[str, list[str]]
    services: list[list[str]]
    settings: list[ConfigField]

    @property
    def permissions(self) -> list[str]:
        """The permissions that the plugin asks for."""
        return [*dict.fromkeys(each for needed in self.tools.values() for each in needed)]

    @property
    def defaults(self) -> dict[str, Any]:
        """The settings of someone who has changed none."""
        return {each.name: each.default_value for each in self.settings}

    def granted(self, state: PluginState | None) -> list[str]:
        """Return the permissions that the plugin has."""
        if state is None or state.granted is None:
            return self.permissions
        return [each for each in self.permissions if each in state.granted]

    def settings_in(self, state: PluginState | None) -> dict[str, Any]:
        """Return the settings that hold for the one whose state this is."""
        stored = state.settings if state else {}
        return {name: stored.get(name, default) for name, default in self.defaults.items()}


_known: dict[str, Manifest] = {}


def known_plugins() -> Mapping[str, Manifest]:
    """Return all plugins by their ids. The file is read when this is called first."""
    return _known or read_manifests()


def read_manifests() -> Mapping[str, Manifest]:
    """Read the plugins from their file again, and return them. A file that cannot be read changes nothing."""
    given: list[dict[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8"))
    found = [Manifest(**{**each, "settings": [*map(ConfigField.model_validate, each["settings"])]}) for each in given]
    _known.clear()
    _known.update({each.id: each for each in found})
    return _known
