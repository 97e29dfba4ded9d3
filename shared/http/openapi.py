"""Completes FastAPI's OpenAPI document with the API's own error shape, envelope, keys and headers."""

from collections.abc import Callable
from typing import Any, cast

from shared.http.admission import Guard
from shared.http.routes import Envelope, Route

_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", dict: "object", list: "array"}
_IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A repeated request with the same key gets the response of the first one, for 24 hours",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def describe(
    schema: dict[str, Any],
    routes: list[Route],
    *,
    error: Any,
    envelope: Envelope | None,
    guard_of: Callable[[Route], Guard | None],
) -> dict[str, Any]:
    """Complete FastAPI's schema in place; `error` is an example of an error's body."""
    schemas: dict[str, Any] = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Error"] = _shape(error)
    refused = {
        "description": "The request was refused or has failed",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    for route in routes:
        for method in route.methods or ():
            operation = schema.get("paths", {}).get(route.path_format, {}).get(method.lower())
            if operation is None:
                continue
            operation["responses"].pop("422", None)
            if envelope and route.options.enveloped:
                _wrap(operation["responses"], envelope)
            operation["responses"].setdefault("default", refused)
            if (guard := guard_of(route)) and guard.schemes:
                schema["components"].setdefault("securitySchemes", {}).update(guard.schemes)
                operation["security"] = [{name: []} for name in guard.schemes]
            if route.idempotent:
                operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
    return schema


def _wrap(responses: dict[str, Any], envelope: Envelope) -> None:
    for status, response in responses.items():
        content = response.get("content", {}).get("application/json")
        if content is not None and status.startswith("2"):
            content["schema"] = envelope.schema(content.get("schema", {}))


def _shape(example: Any) -> dict[str, Any]:
    """Return the schema of values like the example."""
    if isinstance(example, dict):
        members = cast("dict[str, Any]", example)
        properties = {name: _shape(value) for name, value in members.items()}
        return {"type": "object", "required": list(members), "properties": properties}
    kind = _TYPES.get(cast("type[Any]", type(example)))
    return {"type": kind} if kind else {}
