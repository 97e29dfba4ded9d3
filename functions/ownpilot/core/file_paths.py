"""Paths of files in a workspace: every way to write one becomes the same text, and none leads out of the workspace."""

import unicodedata
from urllib.parse import unquote

from shared.http.errors import Forbidden, InvalidRequest

MAX_PATH, MAX_NAME, MAX_DEPTH = 1024, 255, 32
"""Bytes of a path and of a name in it, in UTF-8, and names in a path."""

_TOO_LONG = f"path: must have at most {MAX_PATH} bytes and {MAX_DEPTH} names"


class AccessDenied(Forbidden):
    """403: a path that leads out of the workspace."""

    code = "ACCESS_DENIED"


def normalised(path: str) -> str:
    """Return the path of a file or folder below the root of a workspace, without a slash at its ends; "" is the root.

    `/`, `\\` and several of them separate names; `.` and `..` are followed; letters with accents are composed (NFC).
    `AccessDenied` for a path that leads out; `InvalidRequest` for characters and lengths that no file can have.
    """
    if len(path) > 2 * MAX_PATH:  # composed, it is still too long; composing takes the square of the length
        raise InvalidRequest(_TOO_LONG)
    try:
        path = unicodedata.normalize("NFC", path)
        size = len(path.encode())
    except UnicodeEncodeError:
        raise InvalidRequest("path: must not contain half of a surrogate pair") from None
    names: list[str] = []
    for name in path.replace("\\", "/").split("/"):
        if name == "..":
            if not names:
                raise AccessDenied("The path leads out of the workspace")
            names.pop()
        elif name not in ("", "."):
            names.append(_checked(name))
    if size > MAX_PATH or len(names) > MAX_DEPTH:
        raise InvalidRequest(_TOO_LONG)
    return "/".join(names)


def file_path(path: str) -> str:
    """Return `normalised`; `InvalidRequest` also for the root, which is no file."""
    return normalised(path) or _refuse("path: must name a file")


def parents(path: str) -> list[str]:
    """Return the folders in which a path lies, the outermost first, without the root."""
    names = path.split("/")[:-1]
    return ["/".join(names[: count + 1]) for count in range(len(names))]


def _checked(name: str) -> str:
    """Return a name, unless another program would read it as another one, or could not store it."""
    read_as = unicodedata.normalize("NFKC", unquote(name))
    if "/" in unquote(name) or "\\" in unquote(name) or read_as in ("..", "."):
        raise AccessDenied("The path leads out of the workspace")
    if any(unicodedata.category(each) == "Cc" for each in unquote(name)):
        _refuse("path: must not contain control characters")
    if len(name.encode()) > MAX_NAME:
        _refuse(f"path: a name in it must have at most {MAX_NAME} bytes")
    return name


def _refuse(reason: str) -> str:
    raise InvalidRequest(reason)
