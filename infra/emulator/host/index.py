"""Indexing: import `function_app`, and check its functions by the rules of the real host and worker."""

import importlib
import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import azure.functions as func
from starlette.requests import Request

from infra.emulator.host.settings import InvalidApp

FUNCTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,127}")
BINDING_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,127}|\$return")
DURABLE_TRIGGERS = {
    "orchestrationTrigger": "orchestration",
    "activityTrigger": "activity",
    "entityTrigger": "entityName",
}
TRIGGERS = {"httpTrigger", "timerTrigger", "queueTrigger", *DURABLE_TRIGGERS}
BINDINGS = {*TRIGGERS, "http", "durableClient"}


@dataclass(frozen=True)
class Function:
    """One function of the app, ready to be called."""

    name: str
    trigger: dict[str, Any]
    call: Callable[..., Any]
    clients: tuple[str, ...]
    wants_context: bool

    @property
    def kind(self) -> str:
        return self.trigger["type"]

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.call)

    @property
    def durable_name(self) -> str:
        """The name under which orchestrations call it."""
        return self.trigger.get(DURABLE_TRIGGERS[self.kind]) or self.name


def load(app: Path) -> list[Function]:
    """Import `function_app` of this folder; returns its functions in the order of their names.

    Raises:
        InvalidApp: the app breaks a rule of the host; the message names the function.
        Exception: whatever the import of the app raises.
    """
    sys.path.insert(0, str(app))
    module = importlib.import_module("function_app")
    apps = [value for value in vars(module).values() if isinstance(value, func.FunctionRegister)]
    if len({id(found) for found in apps}) != 1:
        raise InvalidApp(f"function_app must hold one function app at module level, not {len(apps)}")
    try:
        indexed = apps[0].get_functions()
    except ValueError as error:
        raise InvalidApp(str(error)) from error
    functions = [_function(f) for f in indexed]
    seen: dict[str, str] = {}
    for function in functions:
        other = seen.setdefault(function.name.upper(), function.name)
        if other != function.name:
            raise InvalidApp(f"{function.name}: its name differs from {other} by case only")
    return sorted(functions, key=lambda f: f.name.upper())


def _function(indexed: Any) -> Function:
    name: str = indexed.get_function_name()
    if not FUNCTION_NAME.fullmatch(name) or name.lower() == "host":
        raise InvalidApp(f"{name}: not a valid function name")
    bindings: list[dict[str, Any]] = [json.loads(text) for text in indexed.get_raw_bindings()]
    for binding in bindings:
        if binding["type"] not in BINDINGS:
            raise InvalidApp(f"{name}: the host does not support the {binding['type']} binding")
        if not BINDING_NAME.fullmatch(binding["name"]):
            raise InvalidApp(f"{name}: the binding name {binding['name']!r} must be letters and digits")
    if len({binding["name"].lower() for binding in bindings}) < len(bindings):
        raise InvalidApp(f"{name}: two of its bindings have the same name")
    call = indexed.get_user_function()
    trigger = next(binding for binding in bindings if binding["type"] in TRIGGERS)
    return Function(
        name=name,
        trigger=trigger,
        call=call,
        clients=tuple(binding["name"] for binding in bindings if binding["type"] == "durableClient"),
        wants_context=_check_parameters(name, call, trigger, {binding["name"] for binding in bindings}),
    )


def _check_parameters(name: str, call: Callable[..., Any], trigger: dict[str, Any], bound: set[str]) -> bool:
    """Whether the function takes its invocation context. Raises InvalidApp when parameters and bindings differ."""
    parameters = set(inspect.signature(call).parameters)
    wants_context = "context" in parameters and "context" not in bound
    declared = parameters - {"context"} if wants_context else parameters
    bound = bound - {"$return"}
    if declared != bound:
        # The durable library wraps an orchestrator and an entity in a function whose one parameter is `context`.
        hint = " (write context_name='context')" if trigger["type"] in ("orchestrationTrigger", "entityTrigger") else ""
        raise InvalidApp(f"{name}: parameters {sorted(declared)} do not match the bindings {sorted(bound)}{hint}")
    annotation = annotation_of(call, trigger["name"])
    if isinstance(annotation, types.GenericAlias | types.UnionType):
        raise InvalidApp(f"{name}: {trigger['name']} is annotated with {annotation}; the worker takes plain types only")
    if trigger["type"] == "httpTrigger" and not (isinstance(annotation, type) and issubclass(annotation, Request)):
        raise InvalidApp(
            f"{name}: {trigger['name']} must be annotated with azurefunctions.extensions.http.fastapi.Request"
        )
    return wants_context


def annotation_of(call: Callable[..., Any], parameter: str) -> Any:
    """The type in the annotation of a parameter, None without an annotation."""
    return typing.get_type_hints(call).get(parameter)
