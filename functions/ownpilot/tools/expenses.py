"""The tools of the plugin that keeps expenses."""

from typing import Annotated, Any

from pydantic import Field

from functions.ownpilot import expenses as room
from functions.ownpilot.core.dates import Span
from functions.ownpilot.core.expense_figures import ExpenseCategory
from functions.ownpilot.core.owner import Person
from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools.parameters import Number, Short
from functions.ownpilot.tools.plugin_tool import plugin_tool
from functions.ownpilot.tools.records import Limit, listed, shown

PLUGIN = "expense-tracker"
CategoryName = Annotated[str, Field(max_length=50, description=f"One of {', '.join(ExpenseCategory)}")]


def _category(given: str) -> ExpenseCategory:
    try:
        return ExpenseCategory(given.strip().lower())
    except ValueError:
        raise ToolError(f"category: must be one of {', '.join(ExpenseCategory)}") from None


@plugin_tool(PLUGIN, tags=("money", "spend", "buy"))
async def expense_add(
    context: ToolContext, amount: Number, category: CategoryName, description: Short | None = None
) -> dict[str, Any]:
    """Write down that the user spent money today, in the user's usual currency."""
    chosen = _category(category)
    values = {"amount": amount, "category": chosen, "description": description or chosen.title(), "source": "assistant"}
    return {"expense": shown(room.ExpenseShown, await room.expenses.create(context.owner, values))}


@plugin_tool(PLUGIN, tags=("money", "spent"))
async def expense_list(context: ToolContext, category: CategoryName | None = None, limit: Limit = 20) -> dict[str, Any]:
    """List what the user spent, the latest day first."""
    where = {"category": _category(category) if category else None}
    return await listed(room.expenses, context.owner, "expenses", where, limit=limit)


@plugin_tool(PLUGIN, tags=("money", "spent", "budget", "month"))
async def expense_summary(context: ToolContext) -> dict[str, Any]:
    """Add up what the user spent this month: by category and currency, with the largest expenses and the budgets."""
    summary = await room.get_expense_summary(Person(context.owner), Span(None, None))
    return summary.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"categories"})
