"""The configuration of an app: the app settings of `local.settings.json`, and `host.json`."""

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

SETTINGS_FILE = "local.settings.json"
SETTING_PREFIX = "AzureFunctionsJobHost__"


class InvalidApp(RuntimeError):
    """The host cannot serve this app; the message names the function or file and says why."""


def apply_app_settings(app: Path) -> None:
    """Add `Values` of `local.settings.json`, or else of the sample, to the environment, unless they are set there."""
    for path in (app / SETTINGS_FILE, app / "local.settings.sample.json"):
        if path.exists():
            for key, value in values_in(path).items():
                os.environ.setdefault(key, value)
            return


def values_in(path: Path) -> dict[str, str]:
    """The app settings in a file such as `local.settings.json`; none when it does not exist. Raises InvalidApp."""
    values = _read_object(path).get("Values", {}) if path.exists() else {}
    if not isinstance(values, dict):
        raise InvalidApp(f'{path.name}: "Values" must be a JSON object')
    for key, value in values.items():
        if not isinstance(value, str):
            raise InvalidApp(f"{path.name}: the value of {key} must be a string")
    return values


def is_disabled(function: str) -> bool:
    """Whether the app setting `AzureWebJobs.<function>.Disabled`, or with `__` for the dots, is true."""
    names = (mark.join(("AzureWebJobs", function, "Disabled")) for mark in (".", "__"))
    return any(os.environ.get(name, "").lower() in ("true", "1") for name in names)


class HostConfiguration:
    """`host.json`, overridden by variables of the environment (`AzureFunctionsJobHost__a__b=value`)."""

    def __init__(self, app: Path):
        if not (app / "host.json").exists():
            raise InvalidApp(f"{app} has no host.json")
        self._values = _read_object(app / "host.json")
        if self._values.get("version") != "2.0":
            raise InvalidApp('host.json: "version" must be "2.0"')
        for key, value in os.environ.items():
            if key.startswith(SETTING_PREFIX):
                *parents, last = key.removeprefix(SETTING_PREFIX).split("__")
                section = self._values
                for parent in parents:
                    section = section.setdefault(parent, {})
                section[last] = value

    def get(self, path: str, default: Any) -> Any:
        """The value at a dotted path, converted to the type of the default."""
        value: Any = self._values
        for key in path.split("."):
            if not isinstance(value, dict) or key not in value:
                return default
            value = value[key]
        try:
            return value if default is None else type(default)(value)
        except (TypeError, ValueError):
            raise InvalidApp(f"host.json: {path} cannot be {value!r}") from None

    @property
    def route_prefix(self) -> str:
        return self.get("extensions.http.routePrefix", "api").strip("/")

    @property
    def function_timeout(self) -> float | None:
        """Seconds that one invocation may take; None for no limit. The default is half an hour."""
        text = self.get("functionTimeout", "00:30:00")
        return None if text == "-1" else time_span(text)


def time_span(text: str) -> float:
    """The seconds of a .NET time span, `[d.]hh:mm:ss[.fffffff]`. Raises InvalidApp."""
    try:
        days, _, clock = text.rpartition(".") if text.partition(":")[0].count(".") else ("0", "", text)
        hours, minutes, seconds = clock.split(":")
        return timedelta(days=int(days), hours=int(hours), minutes=int(minutes), seconds=float(seconds)).total_seconds()
    except ValueError:
        raise InvalidApp(f"{text!r} is not a time span: write hh:mm:ss") from None


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise InvalidApp(f"{path.name} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidApp(f"{path.name} must contain a JSON object")
    return value
