"""What a person may spend on models in a day, a week and a month, and what was spent."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import AfterValidator, Field

from functions.ownpilot.core.entry import Entry
from functions.ownpilot.core.usage import UNITS, Period, UsageByDay, UsageDays, read_usage
from shared.http.errors import TooManyRequests
from shared.tables import Collection

BudgetName = Literal["daily", "weekly", "monthly"]
LimitAction = Literal["warn", "block"]
PERIODS: dict[BudgetName, Period] = {"daily": "day", "weekly": "week", "monthly": "month"}

Usd = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Thresholds = Annotated[
    list[Annotated[int, Field(ge=1, le=100)]], Field(max_length=10), AfterValidator(lambda them: sorted({*them}))
]
"""Percentages of a limit."""

THRESHOLDS = (50, 75, 90, 100)


class CostBudget(Entry):
    """The limits of a person in USD; None is no limit."""

    daily_limit: Usd | None = None
    weekly_limit: Usd | None = None
    monthly_limit: Usd | None = None
    alert_thresholds: Thresholds = [*THRESHOLDS]
    limit_action: LimitAction = "warn"

    def limit(self, name: BudgetName) -> float | None:
        """Return one of the limits, in USD."""
        return getattr(self, f"{name}_limit")


budgets = Collection("OwnpilotBudget", CostBudget, plain=True, unique=["user_id"])


class Spent(NamedTuple):
    """What was spent of one budget, in `UNITS`, and its limit in USD, if there is one."""

    name: BudgetName
    units: int
    limit: float | None

    @property
    def left(self) -> float | None:
        """USD that are left, at least 0; None without a limit."""
        return None if self.limit is None else max(0.0, float(Decimal(str(self.limit)) - Decimal(self.units) / UNITS))

    @property
    def percentage(self) -> float:
        """How much of the limit is spent, 0 without a limit and 100 of a limit of 0."""
        if self.limit is None:
            return 0
        return round(self.units / UNITS / self.limit * 100, 2) if self.limit else 100

    def has_reached(self, percent: int) -> bool:
        """Whether so many percent of the limit are spent; there must be a limit to reach."""
        return self.limit is not None and self.units * 100 >= Decimal(str(self.limit)) * UNITS * percent


async def budget_of(owner: str) -> CostBudget:
    """Return the budget of a person, without any limit when none was set. 1 query."""
    found = [budget async for budget in budgets.of(owner).all()]
    return found[0] if found else CostBudget(user_id=owner)


def spans_of_budgets(today: date) -> list[UsageDays]:
    """Return the days for which there are budgets: this day, week and month."""
    return [UsageDays.of(period, today) for period in PERIODS.values()]


def spent_of(budget: CostBudget, usage: UsageByDay, today: date) -> list[Spent]:
    """Return what is spent of each budget, from the figures of `spans_of_budgets`."""
    return [
        Spent(name, usage.total(UsageDays.of(period, today)).cost, budget.limit(name))
        for name, period in PERIODS.items()
    ]


async def check_budget(owner: str, unwritten: int = 0) -> None:
    """`TooManyRequests` BUDGET_EXCEEDED when a budget that blocks is spent: to be awaited before each call of a model.

    `unwritten` is what the caller has spent and not written down yet, in `UNITS`. What others are spending at that
    moment is not in the sum, so as many as run side by side may together go beyond a limit. 1 query; with a limit that
    blocks 1 or 2 more.
    """
    budget = await budget_of(owner)
    if budget.limit_action != "block" or all(budget.limit(name) is None for name in get_args(BudgetName)):
        return
    today = datetime.now(UTC).date()
    for written in spent_of(budget, await read_usage(owner, *spans_of_budgets(today)), today):
        spent = written._replace(units=written.units + unwritten)
        if spent.has_reached(100):
            raise TooManyRequests(
                f"The {spent.name} budget of {spent.limit} USD is spent",
                code="BUDGET_EXCEEDED",
                details={"budget": spent.name, "limit": spent.limit, "spent": spent.units / UNITS},
            )
