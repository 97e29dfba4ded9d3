"""UsageFigures of usage as clients see them."""

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any

from functions.ownpilot.core.budget import CostBudget, Spent, spent_of
from functions.ownpilot.core.usage import UNITS, Period, UsageByDay, UsageDays, UsageFigures, UsageRecord, sum_of
from functions.ownpilot.costs.bodies import (
    Alert,
    BudgetShown,
    BudgetStatus,
    CostSummary,
    DayCosts,
    ModelShare,
    ProviderShare,
    UsageShown,
    Used,
)


def usd(units: int) -> float:
    """Return a cost in USD."""
    return units / UNITS


def formatted(units: int) -> str:
    """Return a cost as text: the smaller it is, the more decimals."""
    cost = usd(units)
    return f"${cost:.6f}" if cost < 0.01 else f"${cost:.4f}" if cost < 1 else f"${cost:.2f}"


def summary_of(figures: UsageFigures, span: UsageDays) -> CostSummary:
    """Return the figures of a period up to now."""
    return CostSummary(
        total_requests=figures.requests, successful_requests=figures.requests - figures.failed,
        failed_requests=figures.failed, total_input_tokens=figures.input_tokens,
        total_output_tokens=figures.output_tokens, total_tokens=figures.input_tokens + figures.output_tokens,
        total_cost=usd(figures.cost), total_cost_formatted=formatted(figures.cost),
        average_latency_ms=figures.average_ms, period_start=datetime.combine(span.first, time(), UTC),
        period_end=datetime.now(UTC),
    )  # fmt: skip


def status_of(budget: CostBudget, usage: UsageByDay, today: date) -> BudgetStatus:
    """Return what is spent of each budget; `usage` holds the days of `spans_of_budgets`."""
    now, alerts, shown = datetime.now(UTC), list[Alert](), dict[str, Any]()
    for spent in spent_of(budget, usage, today):
        shown[spent.name] = _budget_shown(spent)
        for percent in budget.alert_thresholds:
            if spent.limit is not None and spent.has_reached(percent):
                alerts.append(
                    Alert(
                        type=spent.name, threshold=percent, current_spend=usd(spent.units), limit=spent.limit,
                        timestamp=now,
                    )
                )  # fmt: skip
    return BudgetStatus(
        **shown, alerts=alerts, alert_thresholds=budget.alert_thresholds, limit_action=budget.limit_action
    )


def _budget_shown(spent: Spent) -> BudgetShown:
    cost = usd(spent.units)
    return BudgetShown(limit=spent.limit, used=cost, spent=cost, remaining=spent.left, percentage=spent.percentage)


def used_of(figures: UsageFigures) -> Used:
    """Return what a day or a month used."""
    return Used(
        total_tokens=figures.input_tokens + figures.output_tokens, total_input_tokens=figures.input_tokens,
        total_output_tokens=figures.output_tokens, total_cost=usd(figures.cost),
        total_cost_formatted=formatted(figures.cost), total_requests=figures.requests,
    )  # fmt: skip


def usage_shown(record: UsageRecord) -> UsageShown:
    """Return one call."""
    return UsageShown(
        id=record.id, timestamp=record.created_at, user_id=record.user_id, session_id=record.session_id,
        provider=record.provider, model=record.model, input_tokens=record.input_tokens,
        output_tokens=record.output_tokens, total_tokens=record.input_tokens + record.output_tokens,
        cost=usd(record.cost), latency_ms=record.latency_ms, request_type=record.request_type, cached=record.cached,
        error=record.error,
    )  # fmt: skip


class Report:
    """The costs of one period: in all, by day, and where `usage` has models, by provider and by model."""

    def __init__(self, period: Period, usage: UsageByDay, today: date):
        span = UsageDays.of(period, today)
        self._days = {day: figures for day, figures in sorted(usage.days.items()) if day in span}
        self._models = {key: figures for key, figures in usage.models.items() if key[0] in span}
        self._cost = sum_of(self._days.values()).cost
        self.total_cost, self.total_cost_formatted = usd(self._cost), formatted(self._cost)

    def by_provider(self) -> list[ProviderShare]:
        """Return the part of each provider, the dearest first."""
        found = self._sums(lambda provider, model: (provider,))
        return [ProviderShare(provider=provider, **self._share(figures)) for (provider,), figures in found]

    def by_model(self) -> list[ModelShare]:
        """Return the part of each model, the dearest first."""
        found = self._sums(lambda provider, model: (provider, model))
        return [ModelShare(provider=key[0], model=key[1], **self._share(figures)) for key, figures in found]

    def daily(self) -> list[DayCosts]:
        """Return the days on which models were called, the earliest first."""
        return [
            DayCosts(
                date=day, requests=figures.requests, cost=usd(figures.cost), cost_formatted=formatted(figures.cost),
                input_tokens=figures.input_tokens, output_tokens=figures.output_tokens,
            )
            for day, figures in self._days.items()
        ]  # fmt: skip

    def _sums(self, part: Callable[[str, str], tuple[str, ...]]) -> list[tuple[tuple[str, ...], UsageFigures]]:
        sums: defaultdict[tuple[str, ...], UsageFigures] = defaultdict(UsageFigures)
        for (_, provider, model), figures in self._models.items():
            sums[part(provider, model)].add(figures)
        return sorted(sums.items(), key=lambda each: (-each[1].cost, -each[1].requests, each[0]))

    def _share(self, figures: UsageFigures) -> dict[str, Any]:
        return {
            "requests": figures.requests, "input_tokens": figures.input_tokens,
            "output_tokens": figures.output_tokens, "cost": usd(figures.cost),
            "cost_formatted": formatted(figures.cost), "average_latency_ms": figures.average_ms,
            "percent_of_total": round(100 * figures.cost / self._cost, 2) if self._cost else 0,
        }  # fmt: skip
