"""What an engine is given to run, and what comes of it."""

import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from functions.ownpilot.core.tool_context import ToolContext, ToolResult
from functions.ownpilot.tools.use import use_tool

ENGINE = Path(__file__).with_name("engine")
"""The folder of the programs that run a tool."""

SECONDS = 30
"""For how long a tool may run in all."""

MAX_CALLS = 20
"""Calls of other tools by one run."""

MAX_DEPTH = 3
"""How many tools may use each other, one inside the other, when custom tools do."""

LATE = f"The tool did not end within {SECONDS} seconds and was stopped"

Services = dict[str, list[dict[str, Any]]]
"""The entries of configured services by the service's name, the default entry first: `label`, `isDefault`, `data`."""


@dataclass(frozen=True)
class Work:
    """A tool's code and what it sees. `services` hold secrets."""

    code: str
    args: dict[str, Any]
    context: dict[str, Any]
    services: Services = field(repr=False)
    tools: list[dict[str, str]]
    seed: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)


@dataclass(frozen=True)
class ToolOutcome:
    """What a run came to: its text, or the reason of its failure; and the lines that it has logged."""

    text: str
    is_error: bool = False
    console: Sequence[str] = ()


UseOther = Callable[[str, str], Awaitable[ToolResult]]
"""Uses another tool on behalf of a running one, by name and the JSON of its arguments."""


def failed(reason: str) -> ToolOutcome:
    """Return the outcome of a run that did not come to its end."""
    return ToolOutcome(reason, is_error=True)


def outcome_of(given: Any) -> ToolOutcome:
    """Return what a run reports. It is not trusted: the tool's code may have written it."""
    if not isinstance(given, dict):
        return failed("The tool reported no result")
    members = cast("dict[str, Any]", given)
    lines: Any = members.get("console")
    console = [clean(str(line)) for line in cast("list[Any]", lines)[:500]] if isinstance(lines, list) else []
    if isinstance(text := members.get("text"), str):
        return ToolOutcome(clean(text), console=console)
    return ToolOutcome(clean(str(members.get("error", "The tool reported no result"))), is_error=True, console=console)


def outcome_of_json(text: str | bytes) -> ToolOutcome:
    """As `outcome_of`, of JSON."""
    try:
        return outcome_of(json.loads(text))
    except (ValueError, RecursionError):
        return failed("The tool reported something that cannot be read")


def clean(text: str) -> str:
    """Return a text without halves of surrogate pairs, which JavaScript's texts may have."""
    return text.encode("utf-8", "replace").decode()


async def use_other(context: ToolContext, number: int, name: str, arguments: str) -> ToolResult:
    """Use another tool as the call with this number of a run in this context."""
    if number > MAX_CALLS:
        return ToolResult(f"A tool can use at most {MAX_CALLS} others in one run.", is_error=True)
    if context.depth >= MAX_DEPTH:
        return ToolResult(f"At most {MAX_DEPTH} tools can use each other, one inside the other.", is_error=True)
    return await use_tool(replace(context, depth=context.depth + 1), clean(name), arguments)
