"""Custom tools among the others: found by name, checked by their schema, run where they can do no harm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions.ownpilot.core.argument_schema import filled
from functions.ownpilot.core.custom_tool_store import CustomTool, active_tools
from functions.ownpilot.core.tool_context import Checked, ToolContext, ToolResult

CATEGORY = "customTools"


@dataclass(frozen=True)
class UsableTool:
    """A custom tool as the registry has it; `is_kept`: it is stored, so its use is counted."""

    record: CustomTool
    is_kept: bool = True
    category: str = CATEGORY
    tags: Sequence[str] = ()
    plugin: str | None = None
    seconds: float = 210
    """It has limits of its own, which are shorter, and in a container of its own it begins late."""

    @property
    def name(self) -> str:
        """Its name, as a model calls it."""
        return self.record.name

    @property
    def description(self) -> str:
        """What it does, in its maker's words."""
        return self.record.description

    @property
    def parameters(self) -> dict[str, Any]:
        """The JSON schema of the arguments, an object."""
        return self.record.parameters

    @property
    def code(self) -> str:
        """The body of its function, in JavaScript."""
        return self.record.code

    def check(self, arguments: Mapping[str, Any]) -> Checked:
        """Return arguments with the defaults of the schema. `WrongArguments`."""
        return Checked(dict(arguments), filled(self.parameters, arguments))

    async def run(self, context: ToolContext, values: dict[str, Any]) -> ToolResult:
        """Run its code."""
        from functions.ownpilot.custom_tools.running import run_tool  # which uses other tools through this registry

        return await run_tool(self.record, context, values, is_kept=self.is_kept)


async def custom_tools_of(owner: str) -> Mapping[str, UsableTool]:
    """Return the active custom tools of a person by name, as they were at most 5 seconds ago."""
    return {name: UsableTool(record) for name, record in (await active_tools(owner)).items()}
