"""Expenses and budgets as records, and what they add up to."""

import calendar
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from functions.ownpilot.core.dates import Day, Span, today
from functions.ownpilot.core.entry import Entry, Shown
from functions.ownpilot.core.money import Allowance, Money, Price
from shared.http.bodies import example
from shared.settings import settings
from shared.tables import Collection

_MOST_SHOWN = 5

Currency = Annotated[str, StringConstraints(to_upper=True, pattern=r"^[A-Za-z]{3}$")]


class ExpenseCategory(StrEnum):
    """What money was spent on."""

    FOOD = "food"
    TRANSPORT = "transport"
    UTILITIES = "utilities"
    ENTERTAINMENT = "entertainment"
    SHOPPING = "shopping"
    HEALTH = "health"
    EDUCATION = "education"
    TRAVEL = "travel"
    SUBSCRIPTION = "subscription"
    HOUSING = "housing"
    OTHER = "other"


_COLORS = dict(
    zip(
        ExpenseCategory,
        ("#2E7D32", "#1565C0", "#00838F", "#6A1B9A", "#AD1457", "#C62828", "#4527A0", "#EF6C00", "#558B2F", "#4E342E",
         "#546E7A"),
        strict=True,
    )
)  # fmt: skip


class Expense(Entry, prefix="exp_"):
    """Money that was spent; `amount` is in hundredths of the currency, also of one that has no smaller unit."""

    model_config = example(amount=12.5, category="food", description="Lunch", date="2026-01-31", currency="EUR")

    date: Day = Field(default_factory=lambda: today().isoformat())
    amount: Price
    currency: Currency = Field(default_factory=lambda: settings().ownpilot_currency)
    category: ExpenseCategory
    description: str
    payment_method: str | None = None
    tags: list[str] = []
    source: str = "web"
    notes: str | None = None


class Budget(Entry):
    """What a category is shown in, and what may be spent on it in a month, in hundredths of `OWNPILOT_CURRENCY`."""

    category: ExpenseCategory
    budget: Allowance | None = None
    color: str | None = None


budgets = Collection("OwnpilotBudgets", Budget, plain=True, unique=["category"])


class CategoryShown(Shown):
    """A category as it is configured; `budget` is what may be spent on it in a month."""

    color: str
    budget: Money | None = None


Categories = dict[ExpenseCategory, CategoryShown]


async def categories_of(owner: str) -> Categories:
    """Return all categories as a person has configured them. 1 query."""
    stored = {each.category: each async for each in budgets.of(owner).all()}
    return {
        name: CategoryShown(color=(own and own.color) or _COLORS[name], budget=own.budget if own else None)
        for name in ExpenseCategory
        for own in [stored.get(name)]
    }


class Figures(Shown):
    """Sums of expenses; `daily_average` is over the days that have any."""

    total_expenses: int
    grand_total: Money
    daily_average: Money
    total_by_category: dict[ExpenseCategory, Money]


class TopCategory(Shown):
    """A category that much was spent on; `percentage` is its part of all, in whole percent."""

    category: ExpenseCategory
    amount: Money
    percentage: int
    color: str


class BudgetUse(Shown):
    """What was spent of a month's budget, in `OWNPILOT_CURRENCY`; `remaining` is below 0 when it was more."""

    category: ExpenseCategory
    budget: Money
    spent: Money
    remaining: Money


class SummaryFigures(Figures):
    """Figures of a period. The sums add amounts as they are; `by_currency` has the same for each currency alone."""

    total_by_currency: dict[str, Money]
    by_currency: dict[str, Figures]
    top_categories: list[TopCategory]
    budgets: list[BudgetUse]


class MonthShown(Shown):
    """What was spent in a month; `month` is its English name, `month_num` its number in two digits."""

    month: str
    month_num: str
    total: Money
    count: int
    by_category: dict[ExpenseCategory, Money]


class PeriodName(StrEnum):
    """A period that ends with a day, a week (from Sunday), a month or a year."""

    TODAY = "today"
    THIS_WEEK = "this_week"
    THIS_MONTH = "this_month"
    LAST_MONTH = "last_month"
    THIS_YEAR = "this_year"
    ALL_TIME = "all_time"


def span_of(period: PeriodName, now: date) -> Span:
    """Return the days of a period; those of `all_time` are open on both sides."""
    first_of_month = now.replace(day=1)
    match period:
        case PeriodName.TODAY:
            first, last = now, now
        case PeriodName.THIS_WEEK:
            first = now - timedelta(days=now.isoweekday() % 7)
            last = first + timedelta(days=6)
        case PeriodName.THIS_MONTH:
            first, last = first_of_month, (first_of_month + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        case PeriodName.LAST_MONTH:
            last = first_of_month - timedelta(days=1)
            first = last.replace(day=1)
        case PeriodName.THIS_YEAR:
            first, last = now.replace(month=1, day=1), now.replace(month=12, day=31)
        case PeriodName.ALL_TIME:
            return Span(None, None)
    return Span(first.isoformat(), last.isoformat())


def figures_of(expenses: list[Expense]) -> Figures:
    """Return what these expenses add up to, whatever their currencies."""
    total, days = sum(each.amount for each in expenses), len({each.date for each in expenses})
    return Figures(
        total_expenses=len(expenses), grand_total=total, daily_average=round(total / days) if days else 0,
        total_by_category=_by_category(expenses),
    )  # fmt: skip


def summary_of(expenses: list[Expense], categories: Mapping[ExpenseCategory, CategoryShown]) -> SummaryFigures:
    """Return the figures of the expenses of a period."""
    by_currency: defaultdict[str, list[Expense]] = defaultdict(list)
    for each in expenses:
        by_currency[each.currency].append(each)
    each_currency = {currency: figures_of(found) for currency, found in sorted(by_currency.items())}
    whole = figures_of(expenses)
    own = _by_category(by_currency[settings().ownpilot_currency])
    top = sorted(whole.total_by_category.items(), key=lambda each: -each[1])[:_MOST_SHOWN]
    return SummaryFigures(
        **dict(whole),
        total_by_currency={currency: figures.grand_total for currency, figures in each_currency.items()},
        by_currency=each_currency,
        top_categories=[
            TopCategory(
                category=name, amount=amount, percentage=round(100 * amount / whole.grand_total),
                color=categories[name].color,
            )
            for name, amount in top
        ],
        budgets=[
            BudgetUse(category=name, budget=each.budget, spent=spent, remaining=each.budget - spent)
            for name, each in categories.items()
            if each.budget is not None
            for spent in [own.get(name, 0)]
        ],
    )  # fmt: skip


def biggest_of(expenses: list[Expense]) -> list[Expense]:
    """Return the five largest expenses, the largest first."""
    return sorted(expenses, key=lambda each: -each.amount)[:_MOST_SHOWN]


def months_of(expenses: list[Expense]) -> list[MonthShown]:
    """Return the twelve months of the year that all these expenses are of."""
    by_month: defaultdict[str, list[Expense]] = defaultdict(list)
    for each in expenses:
        by_month[each.date[5:7]].append(each)
    return [
        MonthShown(
            month=calendar.month_name[number], month_num=f"{number:02}", count=len(found),
            total=sum(each.amount for each in found), by_category=_by_category(found),
        )
        for number in range(1, 13)
        for found in [by_month[f"{number:02}"]]
    ]  # fmt: skip


def _by_category(expenses: Iterable[Expense]) -> dict[ExpenseCategory, int]:
    sums: Counter[ExpenseCategory] = Counter()
    for each in expenses:
        sums[each.category] += each.amount
    return dict(sums)
