"""Arguments and the JSON schemas that people write for them: defaults filled, required members and types checked.

A default of null is none, as a null of a call is no argument.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from functions.ownpilot.core.tool_context import WrongArguments

MAX_DEPTH = 20
"""Levels of a schema."""

Check = Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


TYPES: dict[str, tuple[str, Check]] = {
    "string": ("a text", lambda value: isinstance(value, str)),
    "number": ("a number", _is_number),
    "integer": ("a whole number", lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer())),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "array": ("a list", lambda value: isinstance(value, list)),
    "object": ("an object", lambda value: isinstance(value, dict)),
    "null": ("null", lambda value: value is None),
}
"""The types of JSON schemas: what they are in words, and the test of a value."""


def schema_of_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema as one of an object with `properties`. ValueError for what cannot be used as such."""
    schema = {"type": "object", "properties": {}, **given}
    if schema["type"] != "object":
        raise ValueError("type: must be object")
    if has_large(schema):  # the request that offers the tool to a model could not hold it
        raise ValueError("whole numbers must be below 2^63")
    _check_schema(schema, "", 0)
    return schema


def has_large(value: Any) -> bool:
    """Whether a JSON value holds a whole number that logs and answers cannot hold exactly."""
    match value:
        case int():
            return abs(value) >= 2**63
        case dict():
            return any(map(has_large, cast("dict[str, Any]", value).values()))
        case list():
            return any(map(has_large, cast("list[Any]", value)))
        case _:
            return False


def _check_schema(schema: Any, place: str, depth: int) -> None:
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        raise ValueError(f"{place or 'it'}: must be an object, at most {MAX_DEPTH} levels deep")
    node = cast("dict[str, Any]", schema)
    dot = f"{place}." if place else ""
    if "type" in node and (
        not _types(node) or not all(isinstance(each, str) and each in TYPES for each in _types(node))
    ):
        raise ValueError(f"{dot}type: must be one of {', '.join(TYPES)}")
    if not isinstance(node.get("description", ""), str):
        raise ValueError(f"{dot}description: must be a text")
    if not isinstance(node.get("enum", []), list):
        raise ValueError(f"{dot}enum: must be a list")
    properties, required = node.get("properties", {}), node.get("required", [])
    if not isinstance(properties, dict):
        raise ValueError(f"{dot}properties: must be an object")
    if not isinstance(required, list) or not all(isinstance(each, str) for each in cast("list[Any]", required)):
        raise ValueError(f"{dot}required: must be a list of names")
    for name, inner in cast("dict[str, Any]", properties).items():
        at = f"{dot}properties.{name[:100]}"
        _check_schema(inner, at, depth + 1)
        wrong: list[str] = []
        if inner.get("default") is not None:
            _filled(inner, inner["default"], f"{at}.default", wrong)
        if wrong:
            raise ValueError(wrong[0])
    if "items" in node:
        _check_schema(node["items"], f"{dot}items", depth + 1)


def _types(schema: Mapping[str, Any]) -> list[Any]:
    kind = schema.get("type", [])
    return cast("list[Any]", kind) if isinstance(kind, list) else [kind]


def filled(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments with the defaults of the members that they leave out. `WrongArguments`."""
    wrong: list[str] = []
    values = _filled(schema, dict(arguments), "", wrong)
    if wrong:
        raise WrongArguments(wrong)
    return values


def _filled(schema: Mapping[str, Any], value: Any, place: str, wrong: list[str]) -> Any:
    types = _types(schema)
    if types and not any(TYPES[each][1](value) for each in types):
        wrong.append(f"{place}: must be {' or '.join(TYPES[each][0] for each in types)}")
        return value
    if "enum" in schema and value not in schema["enum"]:
        wrong.append(f"{place}: must be one of {', '.join(map(str, schema['enum']))[:500]}")
    if isinstance(value, list) and "items" in schema:
        items = cast("list[Any]", value)
        return [_filled(schema["items"], each, f"{place}.{index}", wrong) for index, each in enumerate(items)]
    if not isinstance(value, dict):
        return value
    members = cast("dict[str, Any]", value)
    properties: dict[str, Any] = schema.get("properties", {})
    defaults = {name: each["default"] for name, each in properties.items() if each.get("default") is not None}
    found = {**{name: each for name, each in defaults.items() if name not in members}, **members}
    dot = f"{place}." if place else ""
    wrong += [f"missing required parameter {dot}{name}" for name in schema.get("required", ()) if name not in found]
    return {
        name: _filled(properties[name], each, f"{dot}{name}", wrong) if name in properties else each
        for name, each in found.items()
    }
