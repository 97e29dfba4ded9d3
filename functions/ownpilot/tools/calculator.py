"""The tools of the plugin that calculates: those of everybody, under other names."""

from typing import Any

from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools.calculation import Numbers, calculate, calculate_statistics
from functions.ownpilot.tools.parameters import Number, Short
from functions.ownpilot.tools.plugin_tool import plugin_tool
from functions.ownpilot.tools.units import convert_units


@plugin_tool("advanced-calculator", tags=("math", "arithmetic"))
async def calc_evaluate(context: ToolContext, expression: Short) -> str:
    """Calculate an arithmetic expression: + - * / // ^, mod(a, b), percent, functions such as sqrt and log, pi, e."""
    return await calculate(context, expression)


@plugin_tool("advanced-calculator", tags=("units", "measure"))
async def calc_convert(context: ToolContext, value: Number, from_: Short, to: Short) -> dict[str, Any]:
    """Convert a value between units, such as km and miles, kg and lb, celsius and fahrenheit."""
    return await convert_units(context, value, from_, to)


@plugin_tool("advanced-calculator", tags=("average", "median"))
async def calc_statistics(context: ToolContext, numbers: Numbers) -> dict[str, Any]:
    """Describe numbers: sum, mean, median, mode, range, variance, standard deviation and quartiles."""
    return await calculate_statistics(context, numbers)
