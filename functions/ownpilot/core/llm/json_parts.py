"""Reading JSON of servers that may send anything: the wanted kind of a value, or an empty one."""

from collections.abc import Mapping
from typing import Any, cast

import orjson


def members(value: Any) -> Mapping[str, Any]:
    """Return an object; an empty one for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def entries(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects of an array."""
    return [members(each) for each in cast("list[Any]", value)] if isinstance(value, list) else []


def text(value: Any) -> str:
    """Return a text; an empty one for anything else."""
    return value if isinstance(value, str) else ""


def number(value: Any) -> int:
    """Return a whole number that is not negative; 0 for anything else."""
    return max(0, value) if isinstance(value, int) else 0


def parsed(data: str | bytes) -> Mapping[str, Any]:
    """Return the object that a text holds; an empty one when it holds none."""
    try:
        return members(orjson.loads(data))
    except ValueError:
        return {}


def object_text(data: str) -> str:
    """Return a text that holds a JSON object as it is, and `{}` in place of any other text."""
    try:
        return data if isinstance(orjson.loads(data), dict) else "{}"
    except ValueError:
        return "{}"
