"""The settings of this machine's pip, so that containers install packages from where the machine does."""

import configparser
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

NAMES = (
    "index-url", "extra-index-url", "find-links", "no-index", "constraint", "cert", "trusted-host", "default-timeout",
    "timeout", "retries", "only-binary", "prefer-binary", "pre", "disable-pip-version-check",
)  # fmt: skip
"""The settings that say where packages come from; the others are about this machine."""

CREDENTIALS = re.compile(r"://[^/\s]*@")
VISIBLE = ("/usr/", "/etc/ssl/")
"""Folders that containers see anyway."""


def variables() -> dict[str, str]:
    """The settings as environment variables. One whose address contains credentials is left out: they are a secret."""
    found: dict[str, str] = {}
    for file in _files():
        parser = configparser.RawConfigParser()
        try:
            parser.read(file)
        except (configparser.Error, UnicodeDecodeError):  # pip itself says what is wrong
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                found |= {name.replace("_", "-"): value for name, value in parser.items(section)}
    found |= {name[4:].lower().replace("_", "-"): value for name, value in os.environ.items() if name[:4] == "PIP_"}
    return {
        f"PIP_{name.upper().replace('-', '_')}": " ".join(found[name].split())
        for name in NAMES
        if found.get(name) and not CREDENTIALS.search(found[name])
    }


def paths(settings: dict[str, str]) -> list[str]:
    """The files and folders of this machine that the settings name, for containers to read."""
    named: set[str] = set()
    for word in " ".join(settings.values()).split():
        path = unquote(urlsplit(word).path) if word.startswith("file://") else word
        if path.startswith("/") and not path.startswith(VISIBLE) and Path(path).exists():
            # The pages of an index link to files beside its folder.
            named.add(str(Path(path).parent if Path(path).name == "simple" else Path(path)))
    return sorted(named)


def _files() -> Iterator[Path]:
    """The configuration files of pip, in the order in which later ones override earlier ones."""
    for folder in reversed(os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")):
        yield Path(folder, "pip/pip.conf")
    yield Path("/etc/pip.conf")
    yield Path.home() / ".pip/pip.conf"
    yield Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "pip/pip.conf")
    if file := os.environ.get("PIP_CONFIG_FILE"):
        yield Path(file)
