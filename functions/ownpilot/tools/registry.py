"""The tools that the assistant has: declared by a decorator or made by a person, found by name."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from functions.ownpilot.core.agent_store import Agent, tools_of
from functions.ownpilot.core.plugin_state import disabled_plugins
from functions.ownpilot.core.tool_context import Checked, Tool, ToolContext, ToolError, ToolResult, WrongArguments
from functions.ownpilot.tools import schemas
from functions.ownpilot.tools.custom import CATEGORY as CUSTOM
from functions.ownpilot.tools.custom import custom_tools_of
from shared.http.errors import reason

__all__ = [
    "FunctionTool", "Tool", "ToolContext", "ToolError", "ToolResult", "built_in", "members_of", "names_for", "tool",
    "tools_for",
]  # fmt: skip

SECONDS = 30
"""For how long a tool of this app may run."""

ToolFunction = Callable[..., Awaitable[Any]]
F = TypeVar("F", bound=ToolFunction)


@dataclass(frozen=True)
class FunctionTool:
    """A tool of this app. `function` takes a `ToolContext`, and the parameters by keyword."""

    name: str
    category: str
    function: ToolFunction
    tags: Sequence[str] = ()
    camel: bool = False
    plugin: str | None = None
    seconds: float = SECONDS

    @property
    def description(self) -> str:
        """What the tool does, in a sentence or more."""
        return _described(self.function)

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """The model that checks arguments."""
        return schemas.arguments_of(self.name, self.function, camel=self.camel)

    @property
    def parameters(self) -> dict[str, Any]:
        """The JSON schema of the arguments, an object."""
        return schemas.schema_of(self.arguments)

    @property
    def code(self) -> str:
        """The Python source of the function."""
        return inspect.getsource(self.function)

    def check(self, arguments: Mapping[str, Any]) -> Checked:
        """Return arguments as the model has them. `WrongArguments`."""
        try:
            values = self.arguments.model_validate(arguments)
        except ValidationError as error:
            raise WrongArguments([_wrong(each) for each in error.errors()]) from None
        return Checked(values.model_dump(mode="json", by_alias=True, exclude_unset=True), values)

    async def run(self, context: ToolContext, values: BaseModel) -> Any:
        """Run the tool with checked arguments."""
        return await self.function(context, **schemas.values_of(values, self.function))


@cache
def _described(function: ToolFunction) -> str:
    return " ".join((inspect.getdoc(function) or "").split())


def _wrong(error: Mapping[str, Any]) -> str:
    place = ".".join(map(str, error["loc"])) or "arguments"
    return f"missing required parameter {place}" if error["type"] == "missing" else f"{place}: {reason(error)}"


_declared: dict[str, FunctionTool] = {}


def tool(
    *, category: str, tags: Sequence[str] = (), name: str | None = None, camel: bool = False, plugin: str | None = None
) -> Callable[[F], F]:
    """Declare an async function as a tool; its docstring is the description for the model.

    The first parameter is the `ToolContext`. The others are the tool's parameters: their types and defaults are the
    schema, a `Field(description=...)` in an `Annotated` type explains one. A `_` at the end of a name is dropped
    (`from_`); `camel`: callers write the names in camelCase. The only parameter may be a model of all arguments. A tool
    of a `plugin` is there for those only who have not switched that plugin off.
    """

    def declare(function: F) -> F:
        made = FunctionTool(name or function.__name__, category, function, tags, camel, plugin)
        if _declared.setdefault(made.name, made) is not made:
            raise ValueError(f"there are two tools named {made.name}")
        return function

    return declare


def built_in() -> Mapping[str, FunctionTool]:
    """Return the tools of this app, by name. Their modules are imported when this is called first."""
    from functions.ownpilot.tools import modules  # noqa: F401 # the import declares them

    return _declared


_PLUGINS = {"weather": "weather", "email": "email-assistant", "translation": "translation", "webFetch": "web-search"}
"""The groups of tools that are those of a plugin."""


def members_of(groups: Sequence[str]) -> list[str]:
    """Return the names of this app's tools in these groups, in their order.

    A group has the name of a category; some are the tools of one plugin.
    """
    return [
        each.name
        for group in groups
        for each in built_in().values()
        if each.category == group or (each.plugin and each.plugin == _PLUGINS.get(group))
    ]


async def names_for(owner: str, agent: Agent) -> list[str]:
    """Return the names of the tools that an agent was given: one by one, and by groups."""
    own = await custom_tools_of(owner) if CUSTOM in agent.tool_groups else {}
    return tools_of(agent, [*members_of(agent.tool_groups), *own])


async def tools_for(owner: str, allowed: Collection[str] | None = None) -> Mapping[str, Tool]:
    """Return the tools that a user can use now, by name: of those in `allowed`, unless it is None.

    Custom tools and switched-off plugins are those of at most 5 seconds ago. At most 2 queries at once.
    """
    off, own = await asyncio.gather(disabled_plugins(owner), custom_tools_of(owner))
    known = built_in()
    tools: dict[str, Tool] = {**known, **own, **known}  # built-in ones come first, and win
    return {
        name: each
        for name, each in tools.items()
        if (allowed is None or name in allowed) and (each.plugin is None or each.plugin not in off)
    }
