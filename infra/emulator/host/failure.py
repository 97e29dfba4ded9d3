"""Why an app does not load, in one line that names the file."""

import os
import traceback
from pathlib import Path

from pydantic import ValidationError

from infra.emulator.host.settings import SETTINGS_FILE, InvalidApp, values_in

EMULATOR = Path(__file__).parents[1]


def reason(error: Exception, app: Path) -> str:
    """The place of an error in the app's own files, and its message; the settings that have a wrong value."""
    if isinstance(error, InvalidApp):
        text = str(error)
    elif isinstance(error, ValidationError) and all(str(one["loc"][:1][0]) in os.environ for one in error.errors()):
        text = "; ".join(f"{_source(str(one['loc'][0]), app)}: {one['loc'][0]}: {one['msg']}" for one in error.errors())
    elif isinstance(error, SyntaxError):
        text = f"{_place(error.filename or '', error.lineno, app)}{type(error).__name__}: {error.msg}"
    else:
        own = [f for f in traceback.extract_tb(error.__traceback__) if _is_own(Path(f.filename), app)]
        text = f"{_place(own[-1].filename, own[-1].lineno, app) if own else ''}{type(error).__name__}: {error}"
    return " ".join(text.split())


def _is_own(file: Path, app: Path) -> bool:
    """Whether the file is the app's: not a library that is installed below it, and not this emulator."""
    if not file.is_relative_to(app) or file.is_relative_to(EMULATOR):
        return False
    return not any(part.startswith(".") or part == "site-packages" for part in file.relative_to(app).parts)


def _place(file: str, line: int | None, app: Path) -> str:
    path = Path(file)
    return f"{path.relative_to(app) if path.is_relative_to(app) else path}, line {line}: "


def _source(setting: str, app: Path) -> str:
    """Where the value of a setting comes from."""
    return SETTINGS_FILE if values_in(app / SETTINGS_FILE).get(setting) == os.environ[setting] else "the environment"
