"""What requests about custom tools send and receive."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, Field

from functions.ownpilot.core.argument_schema import schema_of_arguments
from functions.ownpilot.core.custom_tool_store import About, Code, CustomTool, Permission, RequiredKeys, ToolName
from functions.ownpilot.core.entry import Given, Shown
from shared.http.bodies import example


class ToolStats(Shown):
    """Custom tools in numbers; `total_usage` counts their runs."""

    total: int
    active: int
    disabled: int
    pending_approval: int
    rejected: int
    created_by_llm: Annotated[int, Field(alias="createdByLLM")]
    created_by_user: int
    total_usage: int


class Definition(Shown):
    """A tool as a model is told of it."""

    name: str
    description: str
    parameters: dict[str, Any]
    requires_approval: bool
    category: str | None = None


class Definitions(Shown):
    """The tools that can be used."""

    tools: list[Definition]
    count: int


class ToolState(Shown):
    """What became of a tool."""

    id: str
    name: str
    status: str


class ToolRunAnswer(Shown):
    """What a run came to; `is_error` when the code failed, or was not run. `duration` is in milliseconds.

    `metadata` has `executionTime`, without what is done around each call of a tool, and `console`, the logged lines.
    """

    tool: str
    result: str
    is_error: bool
    duration: float
    metadata: dict[str, Any]


class TrialAnswer(ToolRunAnswer):
    """What a trial came to; nothing was stored."""

    test_mode: Literal[True] = True


class Trial(Given):
    """A tool to try out, and the arguments to try it with."""

    model_config = example(name="double", code="return args.n * 2;", testArguments={"n": 21})

    name: ToolName = "trial"
    description: About = "A trial"
    parameters: Annotated[dict[str, Any], AfterValidator(schema_of_arguments)] = {"type": "object", "properties": {}}
    code: Code
    permissions: list[Permission] = []
    required_api_keys: RequiredKeys | None = None
    arguments: Annotated[dict[str, Any], Field(validation_alias=AliasChoices("testArguments", "arguments"))] = {}

    def tool(self, owner: str) -> CustomTool:
        """Return the tool, which is not stored."""
        members = {name: getattr(self, name) for name in Trial.model_fields if name != "arguments"}
        return CustomTool(user_id=owner, **members)
