"""The tools that the assistant has: declared by a decorator, found by name."""

import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from pydantic import BaseModel

from functions.ownpilot.core.tool_context import ToolContext, ToolError, ToolResult
from functions.ownpilot.tools import schemas

__all__ = ["Tool", "ToolContext", "ToolError", "ToolResult", "built_in", "members_of", "tool", "tools_for"]

ToolFunction = Callable[..., Awaitable[Any]]
F = TypeVar("F", bound=ToolFunction)


@dataclass(frozen=True)
class Tool:
    """A tool. `function` takes a `ToolContext` and the parameters by keyword, and returns a text or JSON values."""

    name: str
    category: str
    function: ToolFunction
    tags: Sequence[str] = ()
    camel: bool = False

    @cached_property
    def description(self) -> str:
        """What the tool does, in a sentence or more."""
        return " ".join((inspect.getdoc(self.function) or "").split())

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """The model that checks arguments."""
        return schemas.arguments_of(self.name, self.function, camel=self.camel)

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The JSON schema of the arguments, an object."""
        return schemas.schema_of(self.arguments)

    @property
    def code(self) -> str:
        """The Python source of the function."""
        return inspect.getsource(self.function)

    async def run(self, context: ToolContext, arguments: BaseModel) -> Any:
        """Run the tool with checked arguments."""
        return await self.function(context, **schemas.values_of(arguments, self.function))


_declared: dict[str, Tool] = {}


def tool(*, category: str, tags: Sequence[str] = (), name: str | None = None, camel: bool = False) -> Callable[[F], F]:
    """Declare an async function as a tool; its docstring is the description for the model.

    The first parameter is the `ToolContext`. The others are the tool's parameters: their types and defaults are the
    schema, a `Field(description=...)` in an `Annotated` type explains one. A `_` at the end of a name is dropped
    (`from_`); `camel`: callers write the names in camelCase. The only parameter may be a model of all arguments.
    """

    def declare(function: F) -> F:
        made = Tool(name or function.__name__, category, function, tags, camel)
        if _declared.setdefault(made.name, made) is not made:
            raise ValueError(f"there are two tools named {made.name}")
        return function

    return declare


def built_in() -> Mapping[str, Tool]:
    """Return the tools that everybody has, by name. Their modules are imported when this is called first."""
    from functions.ownpilot.tools import modules  # noqa: F401 # the import declares them

    return _declared


def members_of(groups: Sequence[str]) -> list[str]:
    """Return the names of the tools in these groups, in their order. A group has the name of a category."""
    return [each.name for group in groups for each in built_in().values() if each.category == group]


async def tools_for(owner: str, allowed: Collection[str] | None = None) -> Mapping[str, Tool]:
    """Return the tools that a user can use now, by name: of those in `allowed`, unless it is None."""
    tools = built_in()
    return tools if allowed is None else {name: tools[name] for name in tools if name in allowed}
