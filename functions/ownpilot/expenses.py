"""Expenses: what a person spends, and how much of it a month's budgets allow."""

import asyncio
from typing import Annotated

from fastapi import Query
from pydantic import BeforeValidator, Field, StringConstraints

from functions.ownpilot.core.dates import AskedSpan, Span, today
from functions.ownpilot.core.entry import Given, Shown
from functions.ownpilot.core.expense_figures import (
    Budget,
    Categories,
    Expense,
    ExpenseCategory,
    MonthShown,
    PeriodName,
    SummaryFigures,
    biggest_of,
    budgets,
    categories_of,
    months_of,
    span_of,
    summary_of,
)
from functions.ownpilot.core.money import Allowance, Money
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.bodies import example
from shared.http.errors import InvalidRequest
from shared.http.paging import Paging, given, paging
from shared.http.resource import resource
from shared.http.shapes import EMPTY_IS_ABSENT, Answers
from shared.tables import Collection

routes = routes_for("expenses")
expenses = resource(
    routes, Collection("OwnpilotExpenses", Expense, plain=True), Owner,
    required=("description",), search=("description", "notes", "tags", "payment_method"),
    order=("-date", "-created_at"), answers=Answers(leave_out=True), only=("create", "get", "update"), put=True,
)  # fmt: skip
ExpenseShown = expenses.shapes.shown

Period = Annotated[PeriodName, BeforeValidator(lambda given: given or PeriodName.THIS_MONTH), Query()]
Year = Annotated[Annotated[int, Field(ge=1, le=9999)] | None, EMPTY_IS_ABSENT, Query()]


class CategoriesShown(Shown):
    """All categories as they are configured."""

    categories: Categories


class BudgetChange(Given):
    """The members of a category that change; a null takes one away."""

    model_config = example(category="food", budget=400)

    category: ExpenseCategory
    budget: Allowance | None = None
    color: Annotated[str, StringConstraints(min_length=1, max_length=50)] | None = None


class BudgetChanged(CategoriesShown):
    """The category that was changed, and all categories."""

    category: ExpenseCategory
    budget: Money | None = None
    color: str


class PeriodShown(Shown):
    """The days of a summary, the last one included; `custom` is the name when a request gives them itself."""

    name: str
    start_date: str
    end_date: str


class Months(CategoriesShown):
    """A year by months."""

    year: int
    months: list[MonthShown]
    year_total: Money
    expense_count: int


class Expenses(CategoriesShown):
    """Part of the expenses, the latest day first; `total` is the number of all that match."""

    expenses: list[ExpenseShown]
    total: int
    limit: int
    offset: int


class ExpenseDeleted(Shown):
    """The expense that was deleted."""

    deleted: ExpenseShown


class ExpenseFigures(SummaryFigures):
    """Figures of a period, with its five largest expenses."""

    biggest_expenses: list[ExpenseShown]


class ExpenseSummary(CategoriesShown):
    """What was spent in a period."""

    period: PeriodShown
    summary: ExpenseFigures


async def _within(owner: str, span: Span) -> list[Expense]:
    """Return the expenses of these days, the latest first. A query for each 1,000 expenses of the person."""
    return [each async for each in expenses.collection.of(owner).all(order="date", between=span.between)]


@routes.get("", response_model_exclude_none=True)
async def list_expenses(
    owner: Owner,
    paging: Annotated[Paging, paging(100)],
    span: AskedSpan,
    category: Annotated[list[ExpenseCategory] | None, EMPTY_IS_ABSENT, Query()] = None,
    search: str | None = None,
) -> Expenses:
    """The expenses that match, the latest day first."""
    page, categories = await asyncio.gather(
        expenses.list(
            owner.id, given(category=category), between=span.between, text=search, limit=paging.limit,
            offset=paging.offset, cursor=paging.cursor,
        ),
        categories_of(owner.id),
    )  # fmt: skip
    paging.link(page)
    return Expenses(
        expenses=page.items, total=page.total, limit=paging.limit, offset=paging.offset, categories=categories
    )


@routes.delete("/{expense_id}", response_model_exclude_none=True)
async def delete_expense(expense_id: str, owner: Owner) -> ExpenseDeleted:
    """Delete an expense; the answer shows it once more."""
    expense = await expenses.get(owner.id, expense_id)
    await expenses.delete(owner.id, expense_id)
    return ExpenseDeleted(deleted=expense)


@routes.get("/summary", response_model_exclude_none=True)
async def get_expense_summary(owner: Owner, asked: AskedSpan, period: Period = PeriodName.THIS_MONTH) -> ExpenseSummary:
    """What was spent in a period, or from `startDate` to `endDate`. A query for each 1,000 expenses, and one more."""
    now, custom = today(), asked != Span(None, None)
    span = asked if custom else span_of(period, now)
    found, categories = await asyncio.gather(_within(owner.id, span), categories_of(owner.id))
    days = [each.date for each in found] or [now.isoformat()]
    name = "custom" if custom else period
    return ExpenseSummary(
        period=PeriodShown(name=name, start_date=span.first or min(days), end_date=span.last or max(days)),
        summary=ExpenseFigures(**dict(summary_of(found, categories)), biggest_expenses=biggest_of(found)),
        categories=categories,
    )


@routes.get("/monthly", response_model_exclude_none=True)
async def get_monthly_expenses(owner: Owner, year: Year = None) -> Months:
    """What was spent in each month of a year, by default of this one."""
    year = year or today().year
    span = Span(f"{year:04}-01-01", f"{year:04}-12-31")
    found, categories = await asyncio.gather(_within(owner.id, span), categories_of(owner.id))
    return Months(
        year=year, months=months_of(found), year_total=sum(each.amount for each in found), expense_count=len(found),
        categories=categories,
    )  # fmt: skip


@routes.get("/categories", response_model_exclude_none=True)
async def get_expense_categories(owner: Owner) -> CategoriesShown:
    """All categories with colour and budget."""
    return CategoriesShown(categories=await categories_of(owner.id))


@routes.post("/categories", response_model_exclude_none=True)
async def set_expense_category(body: BudgetChange, owner: Owner) -> BudgetChanged:
    """Change the budget or the colour of a category."""
    changed = body.model_fields_set - {"category"}
    if not changed:
        raise InvalidRequest("budget: must be given, or color")

    def change(budget: Budget) -> None:
        for name in changed:
            setattr(budget, name, getattr(body, name))

    await budgets.of(owner.id).put(
        "category", body.category, change, lambda: Budget(user_id=owner.id, category=body.category)
    )
    categories = await categories_of(owner.id)
    own = categories[body.category]
    return BudgetChanged(category=body.category, budget=own.budget, color=own.color, categories=categories)
