"""What clients of the costs send and receive. Costs, limits and prices are in USD, days are those of UTC."""

import datetime
from typing import Annotated

from pydantic import Field

from functions.ownpilot.core.budget import BudgetName, LimitAction, Thresholds, Usd
from functions.ownpilot.core.entry import Given, Moment, Shown
from functions.ownpilot.core.prices import PricedModel
from functions.ownpilot.core.usage import Period, RequestType
from shared.http.bodies import example

Tokens = Annotated[int, Field(ge=0, le=10**12)]


class CostSummary(Shown):
    """The calls of a period; costs are in USD."""

    total_requests: int
    successful_requests: int
    failed_requests: int
    total_input_tokens: int
    total_output_tokens: int
    total_tokens: int
    total_cost: float
    total_cost_formatted: str
    average_latency_ms: int
    period_start: Moment
    period_end: Moment


class BudgetShown(Shown):
    """One budget in USD; `used` and `spent` are the same. `limit` and `remaining` are there when there is a limit."""

    limit: float | None = None
    used: float
    spent: float
    remaining: float | None = None
    percentage: float


class Alert(Shown):
    """A threshold, in percent of a limit, that the spending has reached."""

    type: BudgetName
    threshold: int
    current_spend: float
    limit: float
    timestamp: Moment


class BudgetStatus(Shown):
    """What is spent of each budget, and what happens at a limit."""

    daily: BudgetShown
    weekly: BudgetShown
    monthly: BudgetShown
    alerts: list[Alert]
    alert_thresholds: list[int]
    limit_action: LimitAction


class Costs(Shown):
    """The costs of a period at a glance, and the budgets."""

    period: Period
    user_id: str
    summary: CostSummary
    budget: BudgetStatus


class Used(Shown):
    """What a day or a month used."""

    total_tokens: int
    total_input_tokens: int
    total_output_tokens: int
    total_cost: float
    total_cost_formatted: str
    total_requests: int


class UsageShown(Shown):
    """One call of a model; `cost` is in USD, and `error` says why it failed."""

    id: str
    timestamp: Moment
    user_id: str
    session_id: str | None = None
    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    total_tokens: int
    cost: float
    latency_ms: int
    request_type: RequestType
    cached: bool | None = None
    error: str | None = None


class UsageReport(Shown):
    """Today, this month, and a page of calls, the newest first; `total` is the number of all calls that match."""

    daily: Used
    monthly: Used
    records: list[UsageShown]
    total: int


class Share(Shown):
    """The part of a provider or a model in the costs of a period."""

    requests: int
    input_tokens: int
    output_tokens: int
    cost: float
    cost_formatted: str
    average_latency_ms: int
    percent_of_total: float


class ProviderShare(Share):
    """The part of a provider."""

    provider: str


class ModelShare(ProviderShare):
    """The part of a model."""

    model: str


class DayCosts(Shown):
    """One day (UTC)."""

    date: datetime.date
    requests: int
    cost: float
    cost_formatted: str
    input_tokens: int
    output_tokens: int


class CostsByProvider(Shown):
    """The providers of a period, the dearest first."""

    period: Period
    by_provider: list[ProviderShare]
    total_cost: float
    total_cost_formatted: str


class CostsByModel(Shown):
    """The models of a period, the dearest first."""

    period: Period
    by_model: list[ModelShare]
    total_cost: float
    total_cost_formatted: str


class Timeline(Shown):
    """The days of a period on which models were called, the earliest first."""

    period: Period
    daily: list[DayCosts]
    total_cost: float


class Breakdown(Shown):
    """The costs of a period by provider, by model and by day."""

    period: Period
    user_id: str
    total_cost: float
    total_cost_formatted: str
    by_provider: list[ProviderShare]
    by_model: list[ModelShare]
    daily: list[DayCosts]


class EstimateRequest(Given):
    """A call to estimate: its tokens, or its text, of which four characters count as a token."""

    model_config = example(provider="openai", model="gpt-4o", text="How are you?", outputTokens=200)

    provider: Annotated[str, Field(min_length=1)]
    model: Annotated[str, Field(min_length=1)]
    text: str = ""
    input_tokens: Tokens | None = None
    output_tokens: Tokens = 500


class Estimate(Shown):
    """What a call would cost, in USD."""

    provider: str
    model: str
    estimated_input_tokens: int
    estimated_output_tokens: int
    estimated_cost: float
    estimated_cost_formatted: str
    note: str


class NewBudget(Given):
    """The members to change: limits in USD, where null removes one, percentages, and what happens at a limit."""

    model_config = example(dailyLimit=5, monthlyLimit=100, alertThresholds=[50, 90], limitAction="warn")

    daily_limit: Usd | None = None
    weekly_limit: Usd | None = None
    monthly_limit: Usd | None = None
    alert_thresholds: Thresholds = [50, 75, 90, 100]
    limit_action: LimitAction = "warn"


class StatusShown(Shown):
    """The budgets."""

    status: BudgetStatus


class CostBudgetChanged(StatusShown):
    """The budgets after the change."""

    message: str


class Pricing(Shown):
    """Prices in USD for a million tokens, and the providers that have some of these models."""

    models: list[PricedModel]
    providers: list[str]
