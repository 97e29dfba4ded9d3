"""Costs: what calls of models used and cost, what may be spent, and what a call would cost."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from math import ceil
from typing import Annotated

from fastapi import Query

from functions.ownpilot.core.budget import CostBudget, budget_of, budgets, spans_of_budgets
from functions.ownpilot.core.catalogue.shapes import ALL
from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.core.prices import price_of, priced_models
from functions.ownpilot.core.usage import Period, UsageDays, list_usage, read_usage
from functions.ownpilot.costs.bodies import (
    Breakdown,
    BudgetStatus,
    CostBudgetChanged,
    Costs,
    CostsByModel,
    CostsByProvider,
    Estimate,
    EstimateRequest,
    NewBudget,
    Pricing,
    StatusShown,
    Timeline,
    UsageReport,
)
from functions.ownpilot.costs.reports import Report, formatted, status_of, summary_of, usage_shown, usd, used_of
from shared.http.paging import Limit, Offset, Paging, paging

routes = routes_for("costs")

MAX_DAYS = 366
Days = Annotated[int, Query(ge=1, le=MAX_DAYS, description="The last days, today included")]


def _today() -> date:
    return datetime.now(UTC).date()


@routes.get("", response_model_exclude_none=True)
async def get_costs(owner: Owner, period: Period = "month") -> Costs:
    """The costs of this day, week (from Sunday), month or year, and the budgets. Days are those of UTC.

    A query for each month of the period, all at once, whatever the number of calls.
    """
    today = _today()
    span = UsageDays.of(period, today)
    usage, budget = await asyncio.gather(read_usage(owner.id, span, *spans_of_budgets(today)), budget_of(owner.id))
    return Costs(
        period=period, user_id=owner.id, summary=summary_of(usage.total(span), span),
        budget=status_of(budget, usage, today),
    )  # fmt: skip


@routes.get("/usage", response_model_exclude_none=True)
async def get_usage(
    owner: Owner,
    paging: Annotated[Paging, paging(50)],
    provider: str | None = None,
    model: str | None = None,
    days: Days = 30,
) -> UsageReport:
    """What was used today and in this month, and the calls of the last days, the newest first."""
    today = _today()
    span, month = UsageDays(today - timedelta(days=days - 1), today), UsageDays.of("month", today)
    usage = await read_usage(owner.id, span, month, models=True)
    records, total = await list_usage(
        owner.id, span, usage, provider=provider or None, model=model or None, limit=paging.limit, offset=paging.offset
    )
    return UsageReport(
        daily=used_of(usage.total(UsageDays(today, today))), monthly=used_of(usage.total(month)),
        records=[*map(usage_shown, records)], total=total,
    )  # fmt: skip


async def _report(owner: str, period: Period, *, models: bool) -> Report:
    today = _today()
    return Report(period, await read_usage(owner, UsageDays.of(period, today), models=models), today)


@routes.get("/by-provider")
async def list_costs_by_provider(owner: Owner, period: Period = "month") -> CostsByProvider:
    """The costs of a period by provider, the dearest first."""
    found = await _report(owner.id, period, models=True)
    return CostsByProvider(
        period=period, by_provider=found.by_provider(), total_cost=found.total_cost,
        total_cost_formatted=found.total_cost_formatted,
    )  # fmt: skip


@routes.get("/by-model")
async def list_costs_by_model(owner: Owner, period: Period = "month") -> CostsByModel:
    """The costs of a period by model, the dearest first."""
    found = await _report(owner.id, period, models=True)
    return CostsByModel(
        period=period, by_model=found.by_model(), total_cost=found.total_cost,
        total_cost_formatted=found.total_cost_formatted,
    )  # fmt: skip


@routes.get("/timeline")
async def get_timeline(owner: Owner, period: Period = "month") -> Timeline:
    """The costs of a period by day; a day without calls is left out."""
    found = await _report(owner.id, period, models=False)
    return Timeline(period=period, daily=found.daily(), total_cost=found.total_cost)


@routes.get("/breakdown")
async def get_breakdown(owner: Owner, period: Period = "month") -> Breakdown:
    """The costs of a period by provider, by model and by day."""
    found = await _report(owner.id, period, models=True)
    return Breakdown(
        period=period, user_id=owner.id, total_cost=found.total_cost, total_cost_formatted=found.total_cost_formatted,
        by_provider=found.by_provider(), by_model=found.by_model(), daily=found.daily(),
    )  # fmt: skip


@routes.post("/estimate")
async def estimate_cost(body: EstimateRequest, owner: Owner) -> Estimate:
    """What a call would cost. The provider need not be configured; a model without a known price costs nothing."""
    price = await price_of(owner.id, body.provider, body.model)
    tokens = ceil(len(body.text) / 4) if body.input_tokens is None else body.input_tokens
    cost = price.cost(tokens, body.output_tokens) if price else 0
    counted = "from the length of the text" if body.input_tokens is None else "as given"
    note = f"Input tokens {counted}" if price else "The price of this model is not known, so it counts as 0"
    return Estimate(
        provider=body.provider, model=body.model, estimated_input_tokens=tokens,
        estimated_output_tokens=body.output_tokens, estimated_cost=usd(cost), estimated_cost_formatted=formatted(cost),
        note=note,
    )  # fmt: skip


async def _status(owner: str, budget: CostBudget) -> BudgetStatus:
    today = _today()
    return status_of(budget, await read_usage(owner, *spans_of_budgets(today)), today)


@routes.get("/budget", response_model_exclude_none=True)
async def get_budget(owner: Owner) -> StatusShown:
    """What is spent of each budget."""
    return StatusShown(status=await _status(owner.id, await budget_of(owner.id)))


@routes.post("/budget", response_model_exclude_none=True)
async def set_budget(body: NewBudget, owner: Owner) -> CostBudgetChanged:
    """Change the given members of the budget."""

    def change(budget: CostBudget) -> None:
        for name in body.model_fields_set:
            setattr(budget, name, getattr(body, name))

    budget = await budgets.of(owner.id).put("user_id", owner.id, change, lambda: CostBudget(user_id=owner.id))
    return CostBudgetChanged(message="Budget changed", status=await _status(owner.id, budget))


@routes.get("/pricing", response_model_exclude_none=True)
async def list_pricing(owner: Owner, provider: str | None = None, limit: Limit = ALL, offset: Offset = 0) -> Pricing:
    """The prices of all models, or of those of one provider, in USD for a million tokens; all unless `limit` is given.

    `providers` are those of all these models.
    """
    models = await priced_models(owner.id, provider or None)
    return Pricing(models=models[offset : offset + limit], providers=sorted({model["provider"] for model in models}))
