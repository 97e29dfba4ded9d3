"""Tools on lists."""

import math
import re
from typing import Annotated, Any, Literal

from pydantic import Field

from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools.registry import tool

Items = Annotated[list[str], Field(max_length=100_000)]
_FIRST_NUMBER = re.compile(r"-?\d{1,300}(?:\.\d{1,300})?")


@tool(category="listOps", tags=("order",))
async def sort_list(
    context: ToolContext, items: Items, order: Literal["asc", "desc"] = "asc", numeric: bool = False
) -> list[str]:
    """Sort texts by the alphabet, or by the first number in each: those without a number come last."""
    if not numeric:
        return sorted(items, key=lambda it: (it.casefold(), it), reverse=order == "desc")
    sign = -1 if order == "desc" else 1
    return sorted(items, key=lambda it: math.inf if (number := _number(it)) is None else sign * number)


def _number(text: str) -> float | None:
    found = _FIRST_NUMBER.search(text)
    return float(found.group()) if found else None


@tool(category="listOps", tags=("unique", "duplicates"))
async def deduplicate(context: ToolContext, items: Items, case_sensitive: bool = True) -> dict[str, Any]:
    """Leave the first of items that are the same."""
    first: dict[str, str] = {}
    for each in items:
        first.setdefault(each if case_sensitive else each.casefold(), each)
    return {"items": [*first.values()], "removed": len(items) - len(first)}
