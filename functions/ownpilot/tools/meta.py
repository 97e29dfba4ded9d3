"""The tools about tools, which a model has instead of the schemas of all of them: search, help, use."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, cast

import orjson
from pydantic import Field

from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools.registry import FunctionTool, Tool, tools_for
from functions.ownpilot.tools.schemas import help_of
from shared.http.json import plain
from shared.http.requests import MAX_MEMBERS, has_more_members

CATEGORY = "meta"
MAX_SIMILAR = 5
MAX_ARGUMENTS = 1_000_000
"""Characters of the arguments of a call, as JSON."""


async def search_tools(
    context: ToolContext,
    query: Annotated[str, Field(description="Words that must all occur, such as: create task. `all` lists everything")],
    category: Annotated[str | None, Field(description="Only tools of this category")] = None,
) -> str:
    """Find tools by words in their names, descriptions, categories and tags."""
    words = {*query.lower().replace("_", " ").split()} - {"all"}
    found = [
        each
        for each in (await tools_for(context.owner, context.allowed)).values()
        if (category is None or each.category.lower() == category.lower()) and _matches(each, words)
    ]
    if not found:
        return f"No tool matches {query[:100]!r}. Search with fewer or other words, or with `all`."
    return "\n".join(
        [f"{len(found)} tools:", *(f"- {each.name} ({each.category}): {each.description}" for each in found)]
    )


def _matches(each: Tool, words: set[str]) -> bool:
    text = " ".join((each.name, each.name.replace("_", " "), each.description, each.category, *each.tags)).lower()
    return all(word in text for word in words)


async def get_tool_help(
    context: ToolContext, tool_name: Annotated[str, Field(description="The exact name of a tool")]
) -> str:
    """Tell what a tool does and which parameters it takes."""
    tools = await tools_for(context.owner, context.allowed)
    if tool_name not in tools:
        raise ToolError(unknown(tool_name, tools))
    found = tools[tool_name]
    return help_of(found.name, found.description, found.parameters)


async def use_tool(
    context: ToolContext,
    tool_name: Annotated[str, Field(description="The exact name of a tool, as search_tools gives it")],
    arguments: Annotated[dict[str, Any] | None, Field(description="The tool's parameters by name")] = None,
) -> str:
    """Use a tool by its name. Ask get_tool_help first when its parameters are not known."""
    raise ToolError(f"use_tool cannot use {tool_name}: name the tool itself")


TOOLS = {each.__name__: FunctionTool(each.__name__, CATEGORY, each) for each in (search_tools, get_tool_help, use_tool)}


def members(arguments: Mapping[str, Any] | str) -> Mapping[str, Any]:
    """Return arguments as an object; nothing is the empty one.

    `ToolError` for what is no JSON object, too large or too deep.
    """
    given: Any = arguments
    if isinstance(given, str):
        if len(given) > MAX_ARGUMENTS or has_more_members(given.encode("utf-8", "replace"), MAX_MEMBERS):
            raise ToolError(f"The arguments may have {MAX_ARGUMENTS} characters and {MAX_MEMBERS} members, not more.")
        try:
            given = orjson.loads(given) if given.strip() else {}
        except ValueError as error:
            raise ToolError(f"The arguments are not valid JSON ({error}). Send one JSON object.") from None
    if not isinstance(given, Mapping):
        raise ToolError("The arguments must be one JSON object, with the parameters by name.")
    try:
        plain(dict(cast("Mapping[str, Any]", given)))
    except ValueError as error:
        raise ToolError(f"The arguments {error}.") from None
    return given


def unwrapped(name: str, arguments: Mapping[str, Any] | str) -> tuple[str, Mapping[str, Any] | str]:
    """Return name and arguments of the tool that a call is about: for `use_tool`, of the tool inside it."""
    if name != use_tool.__name__:
        return name, arguments
    try:
        given = members(arguments)
    except ToolError:
        return name, arguments
    inner, inside = given.get("tool_name"), given.get("arguments")
    inside = {} if inside is None else inside
    if not isinstance(inner, str) or inner == name or not isinstance(inside, Mapping | str):
        return name, arguments
    return inner, cast("Mapping[str, Any] | str", inside)


def unknown(name: str, tools: Mapping[str, Tool]) -> str:
    """Return what to say about a name that no tool has."""
    similar = difflib.get_close_matches(name[:100], tools, n=MAX_SIMILAR, cutoff=0.5)
    hint = f"Similar names: {', '.join(similar)}." if similar else "Find one with search_tools."
    return f"There is no tool named {name[:100]!r}. {hint}"
