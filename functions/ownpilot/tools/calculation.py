"""Tools that calculate."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools.expressions import evaluate, shown
from functions.ownpilot.tools.parameters import Number, Short
from functions.ownpilot.tools.registry import tool

Numbers = Annotated[list[Number], Field(min_length=1, max_length=100_000)]


@tool(category="core", tags=("math", "arithmetic"))
async def calculate(
    context: ToolContext,
    expression: Annotated[Short, Field(description="Such as 2 * (3 + 4)^2, 15% of 80, sqrt(16), sin(pi / 2)")],
) -> str:
    """Calculate an arithmetic expression: + - * / // ^, mod(a, b), percent, functions such as sqrt and log, pi, e."""
    return shown(evaluate(expression))


@tool(category="mathStats", tags=("math", "percent"))
async def calculate_percentage(
    context: ToolContext,
    operation: Annotated[
        Literal["of", "what_percent", "change", "increase", "decrease"],
        Field(
            description="of: value1 percent of value2; what_percent: how many percent of value2 value1 is; change: "
            "percent from value1 to value2; increase, decrease: value1 changed by value2 percent"
        ),
    ],
    value1: Number,
    value2: Number,
) -> dict[str, Any]:
    """Calculate with percentages."""
    try:
        result = {
            "of": lambda: value1 * value2 / 100,
            "what_percent": lambda: value1 / value2 * 100,
            "change": lambda: (value2 - value1) / abs(value1) * 100,
            "increase": lambda: value1 * (1 + value2 / 100),
            "decrease": lambda: value1 * (1 - value2 / 100),
        }[operation]()
    except ZeroDivisionError:
        raise ToolError("There is no percentage of zero.") from None
    unit = "%" if operation in ("what_percent", "change") else ""
    return {"operation": operation, "value1": value1, "value2": value2, "result": f"{shown(result)}{unit}"}


@tool(category="mathStats", tags=("math", "average", "median"))
async def calculate_statistics(context: ToolContext, numbers: Numbers) -> dict[str, Any]:
    """Describe numbers: sum, mean, median, mode, range, variance, standard deviation and quartiles."""
    ordered, count = sorted(numbers), len(numbers)
    try:
        total = math.fsum(ordered)
        mean = total / count
        variance = math.fsum((each - mean) ** 2 for each in ordered) / count
    except OverflowError:
        raise ToolError("The numbers are too large.") from None
    often = Counter(ordered)
    most = max(often.values())
    return {
        "count": count, "sum": total, "mean": mean, "median": _quantile(ordered, 0.5),
        "mode": [value for value, times in often.items() if times == most][:10] if most > 1 else [],
        "min": ordered[0], "max": ordered[-1], "range": ordered[-1] - ordered[0],
        "variance": variance, "standardDeviation": math.sqrt(variance),
        "quartiles": [_quantile(ordered, part) for part in (0.25, 0.5, 0.75)],
    }  # fmt: skip


def _quantile(ordered: Sequence[float], part: float) -> float:
    """Return the value at this part of sorted values, between two of them where it falls between."""
    place = part * (len(ordered) - 1)
    low = ordered[math.floor(place)]
    return low + (ordered[math.ceil(place)] - low) * (place % 1)
