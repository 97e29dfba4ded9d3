"""The arguments of tools: checked by a model, described by a JSON schema, both made from a function's parameters."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, cast

from pydantic import BaseModel, Field, create_model
from pydantic.alias_generators import to_camel

from shared.http.bodies import RequestBody

_PREFIX = "given_"
"""Begins the names of the model's fields: a parameter may be called like a method of models, such as `json`."""


def arguments_of(name: str, function: Callable[..., Any], *, camel: bool) -> type[BaseModel]:
    """Return the model of a function's parameters but the first; `camel`: in camelCase.

    The only parameter may be a model itself: its members are the arguments then.
    """
    _, *parameters = inspect.signature(function, eval_str=True).parameters.values()
    if len(parameters) == 1 and _is_model(parameters[0].annotation):
        return parameters[0].annotation
    fields: dict[str, Any] = {}
    for each in parameters:
        plain = each.name.removesuffix("_")
        alias = Field(alias=to_camel(plain) if camel else plain)
        default = ... if each.default is inspect.Parameter.empty else each.default
        fields[_PREFIX + each.name] = (Annotated[each.annotation, alias], default)
    return cast("Any", create_model)(f"{name}_arguments", __base__=RequestBody, **fields)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def values_of(arguments: BaseModel, function: Callable[..., Any]) -> dict[str, Any]:
    """Return checked arguments by the names of the function's parameters."""
    _, *names = inspect.signature(function).parameters
    if not all(_PREFIX + name in type(arguments).model_fields for name in names):
        return {names[0]: arguments}
    return {name.removeprefix(_PREFIX): value for name, value in arguments}


@cache
def schema_of(arguments: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of arguments: without references, titles and null, which some models do not understand."""
    schema = arguments.model_json_schema()
    shown = _plain(schema, schema.pop("$defs", {}))
    return {"type": "object", "properties": {}} | {
        name: shown[name] for name in ("properties", "required") if name in shown
    }


def _plain(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_plain(each, definitions) for each in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    members = cast("dict[str, Any]", node)
    if "$ref" in members:
        members = {**definitions[members["$ref"].rpartition("/")[2]], **members}
    one = [each for each in members.get("anyOf", ()) if each != {"type": "null"}]
    if len(one) == 1:
        members = {**one[0], **members}
        return _plain({name: value for name, value in members.items() if name != "anyOf"}, definitions)
    return {
        name: {key: _plain(each, definitions) for key, each in value.items()}
        if name == "properties"
        else _plain(value, definitions)
        for name, value in members.items()
        if name not in ("title", "$ref", "examples") and not (name == "default" and value is None)
    }


def help_of(name: str, description: str, parameters: Mapping[str, Any]) -> str:
    """Return what a model needs to know to use a tool, as text."""
    required = parameters.get("required", ())
    lines = [f"{name}: {description}", "Parameters:" if parameters["properties"] else "It takes no parameters."]
    for each, schema in parameters["properties"].items():
        about = schema.get("description", "")
        needed = "required" if each in required else "optional"
        lines.append(f"- {each} ({_kind(schema)}, {needed}){': ' if about else ''}{about}")
    return "\n".join(lines)


def _kind(schema: Mapping[str, Any]) -> str:
    """Return the type of a value in words."""
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if "properties" in schema:
        needed = schema.get("required", ())
        members = (f"{name}{'' if name in needed else '?'}" for name in schema["properties"])
        return f"object with {', '.join(members)}"
    return str(schema.get("type", "any"))
