"""The OpenAPI description of an API, as it really answers: its own error shape, its keys, its headers."""

from collections.abc import Callable
from typing import Any, cast

from fastapi.routing import APIRoute

_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", dict: "object", list: "array"}
_KEYS = {
    "key": {"type": "http", "scheme": "bearer"},
    "key in the query": {"type": "apiKey", "in": "query", "name": "api_key"},
}
_IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same request under the same key gets the same answer again, for 24 hours",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def describe(
    schema: dict[str, Any],
    routes: list[APIRoute],
    *,
    error: Any,
    guarded: Callable[[APIRoute], bool],
    idempotent: Callable[[APIRoute], bool],
) -> dict[str, Any]:
    """Complete FastAPI's schema in place; `error` is an example of an error's body."""
    schemas: dict[str, Any] = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Error"] = _shape(error)
    refused = {
        "description": "Refused, or failed",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    if any(guarded(route) for route in routes):
        schema["components"]["securitySchemes"] = _KEYS
    for route in routes:
        for method in route.methods or ():
            operation = schema.get("paths", {}).get(route.path_format, {}).get(method.lower())
            if operation is None:
                continue
            operation["responses"].pop("422", None)
            operation["responses"].setdefault("default", refused)
            if guarded(route):
                operation["security"] = [{name: []} for name in _KEYS]
            if idempotent(route):
                operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
    return schema


def _shape(example: Any) -> dict[str, Any]:
    """The schema of values like this one."""
    if isinstance(example, dict):
        members = cast("dict[str, Any]", example)
        properties = {name: _shape(value) for name, value in members.items()}
        return {"type": "object", "required": list(members), "properties": properties}
    kind = _TYPES.get(cast("type[Any]", type(example)))
    return {"type": kind} if kind else {}
