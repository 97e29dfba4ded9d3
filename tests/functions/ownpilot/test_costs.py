"""What calls of models used and cost, what may be spent, and what a call would cost."""

import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from functions.ownpilot.core.budget import check_budget
from functions.ownpilot.core.usage import (
    FREE,
    UNITS,
    Period,
    Price,
    UsageDays,
    UsageFigures,
    list_usage,
    read_usage,
    record_usage,
)
from functions.ownpilot.costs.reports import formatted
from shared.http.errors import TooManyRequests
from tests.support.ownpilot import OwnPilot, refused
from tests.support.records import Counting

PRICE = Price(2.5, 10)
PERIODS: list[Period] = ["day", "week", "month", "year"]
EMPTY = {
    "totalRequests": 0, "successfulRequests": 0, "failedRequests": 0, "totalInputTokens": 0, "totalOutputTokens": 0,
    "totalTokens": 0, "totalCost": 0, "totalCostFormatted": "$0.000000", "averageLatencyMs": 0,
}  # fmt: skip


class TestCost:
    @pytest.mark.parametrize(
        ("price", "tokens", "units"),
        [(PRICE, (1_000_000, 0), 250_000_000), (PRICE, (1, 1), 1250), (Price(0.075, 0.3), (1, 0), 8), (FREE, (9, 9), 0),
         (Price(0.1, 0.2), (3, 3), 90), (Price(75, 150), (10**12, 10**12), 225 * 10**14)],
    )  # fmt: skip
    def test_it_is_exact_in_millionths_of_a_cent(self, price: Price, tokens: tuple[int, int], units: int):
        assert price.cost(*tokens) == units

    @pytest.mark.parametrize(
        ("cost", "text"),
        [(0, "$0.000000"), (0.00999, "$0.009990"), (0.01, "$0.0100"), (0.9999, "$0.9999"), (1, "$1.00"),
         (12345.678, "$12345.68")],
    )  # fmt: skip
    def test_the_smaller_it_is_the_more_decimals_it_shows(self, cost: float, text: str):
        assert formatted(round(cost * UNITS)) == text


class TestPeriods:
    @pytest.mark.parametrize(
        ("today", "week", "months"),
        [(date(2026, 1, 1), date(2025, 12, 28), ["2026-01", "2025-12"]),  # a Thursday
         (date(2026, 3, 1), date(2026, 3, 1), ["2026-03"]),  # a Sunday
         (date(2028, 2, 29), date(2028, 2, 27), ["2028-02"]),
         (date(2026, 10, 3), date(2026, 9, 27), ["2026-10", "2026-09"])],  # a Saturday
    )  # fmt: skip
    def test_a_week_begins_on_sunday_and_may_lie_in_two_months(self, today: date, week: date, months: list[str]):
        span = UsageDays.of("week", today)
        assert span == UsageDays(week, today)
        assert [f"{month:%Y-%m}" for month in span.months] == months

    def test_a_year_has_its_months_up_to_today(self):
        today = date(2026, 12, 31)
        assert len(UsageDays.of("year", today).months) == 12
        assert UsageDays.of("month", today) == UsageDays(date(2026, 12, 1), today)
        assert UsageDays.of("day", today).months == [date(2026, 12, 1)]
        assert len(UsageDays(today - timedelta(days=365), today).months) == 13


@pytest.mark.usefixtures("account")
class TestFigures:
    async def test_every_period_is_the_sum_of_its_rows_at_the_borders_of_months_and_years(self):
        choose, owner = random.Random(7), "recount"
        models = [
            ("openai", "gpt-4o", PRICE),
            ("openai", "org/m:1.5", Price(0.075, 0.3)),
            ("anthropic", "gpt-4o", None),
        ]
        borders = [datetime(2025, 12, 31, 23, 59, 59, 999999, UTC), datetime(2026, 1, 1, tzinfo=UTC),
                   datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)]  # fmt: skip
        rows: list[tuple[date, str, str, UsageFigures]] = []
        for number in range(60):
            at = borders[number] if number < 4 else choose.choice(borders) + timedelta(days=choose.uniform(-9, 9))
            provider, model, price = choose.choice(models)
            tokens, error = (choose.randrange(10_000), choose.randrange(10_000)), choose.choice([None, None, "busy"])
            made = await record_usage(
                owner, provider, model, price=price, input_tokens=tokens[0], output_tokens=tokens[1], error=error,
                latency_ms=choose.uniform(1, 5000), at=at,
            )  # fmt: skip
            assert made.cost == (price or FREE).cost(*tokens)
            figures = UsageFigures(1, error is not None, *tokens, made.cost, made.latency_ms)
            rows.append((at.date(), provider, model, figures))
        for today in (date(2025, 12, 31), date(2026, 1, 1), date(2026, 1, 3), date(2026, 3, 1), date(2026, 3, 10)):
            for period in PERIODS:
                span = UsageDays.of(period, today)
                usage = await read_usage(owner, span, models=True)
                inside = [row for row in rows if row[0] in span]
                assert usage.total(span) == summed(figures for *_, figures in inside), (today, period)
                by_model: defaultdict[Any, list[UsageFigures]] = defaultdict(list)
                for day, provider, model, figures in inside:
                    figures = UsageFigures(**{**vars(figures), "failed": 0})
                    by_model[day, provider, model].append(figures)
                found = {key: figures for key, figures in usage.models.items() if key[0] in span}
                assert found == {key: summed(figures) for key, figures in by_model.items()}

    @pytest.mark.parametrize("provider", [None, "a", "nobody"])
    @pytest.mark.parametrize("model", [None, "m1"])
    async def test_pages_run_through_the_months_from_the_newest_row_on(self, provider: str | None, model: str | None):
        owner, today = f"pages {provider} {model}", date(2026, 3, 5)
        for number in range(30):
            at = datetime(2026, 3, 5, 12, tzinfo=UTC) - timedelta(days=2 * number)
            await record_usage(owner, "ab"[number % 2], f"m{number % 3}", price=None, at=at, session_id=str(number))
        span = UsageDays(date(2026, 1, 15), today)
        matching = [
            str(number)
            for number in range(30)
            if provider in (None, "ab"[number % 2]) and model in (None, f"m{number % 3}") and number <= 24
        ]
        usage = await read_usage(owner, span, models=True)
        for limit, offset in ((50, 0), (4, 0), (4, 3), (10, 8), (3, 100)):
            records, total = await list_usage(
                owner, span, usage, provider=provider, model=model, limit=limit, offset=offset
            )
            assert total == len(matching)
            assert [record.session_id for record in records] == matching[offset : offset + limit]

    async def test_a_row_is_one_call_and_a_year_one_for_each_month(self, counting: Counting):
        owner = "calls"
        for month in range(1, 13):
            for _ in range(2):
                counting.calls.clear()
                await record_usage(owner, "p", "m", price=PRICE, at=datetime(2025, month, 5, tzinfo=UTC))
            assert counting.calls.total() == 1
        counting.calls.clear()
        span = UsageDays.of("year", date(2025, 12, 31))
        assert (await read_usage(owner, span)).total(span).requests == 24
        assert counting.calls.total() == 12

    async def test_what_a_provider_says_is_bounded(self):
        made = await record_usage(
            "bounded", "p", "m", price=Price(75, 75), input_tokens=10**30, output_tokens=-5, latency_ms=-1,
            error="e" * 2000,
        )  # fmt: skip
        assert (made.input_tokens, made.output_tokens, made.latency_ms, len(made.error or "")) == (10**12, 0, 0, 500)

    async def test_a_key_in_an_error_is_masked(self):
        key = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"
        made = await record_usage("masked", "p", "m", price=None, error=f"Incorrect API key provided: {key}")
        assert made.error and made.error.startswith("Incorrect") and key not in made.error


def summed(several: Any) -> UsageFigures:
    total = UsageFigures()
    for figures in several:
        total.add(figures)
    return total


async def use(me: OwnPilot, cost: float, provider: str = "openai", model: str = "gpt-4o", **members: Any) -> None:
    """Record a call of a model that has cost so many USD: a million tokens go in, a thousand out."""
    given = {"input_tokens": 1_000_000, "output_tokens": 1000, "latency_ms": 100, "price": Price(cost, 0), **members}
    await record_usage(me.user, provider, model, **given)


@pytest.mark.usefixtures("app")
class TestCosts:
    @pytest.mark.parametrize("period", PERIODS)
    async def test_nothing_is_used_at_first(self, me: OwnPilot, period: str):
        found = await me.get("/costs", period=period)
        assert (found["period"], found["userId"]) == (period, me.user)
        assert {name: found["summary"][name] for name in EMPTY} == EMPTY
        assert found["summary"]["periodStart"].endswith("T00:00:00.000Z")
        nothing = {"used": 0, "spent": 0, "percentage": 0}
        assert {name: found["budget"][name] for name in ("daily", "weekly", "monthly")} == dict.fromkeys(
            ("daily", "weekly", "monthly"), nothing
        )

    async def test_the_summary_counts_calls_tokens_and_failures(self, me: OwnPilot):
        await use(me, 0.5)
        await use(me, 0.7, latency_ms=201, error="busy")
        summary = (await me.get("/costs"))["summary"]
        assert (summary["totalRequests"], summary["successfulRequests"], summary["failedRequests"]) == (2, 1, 1)
        assert (summary["totalInputTokens"], summary["totalOutputTokens"]) == (2_000_000, 2000)
        assert (summary["totalCost"], summary["totalCostFormatted"], summary["averageLatencyMs"]) == (1.2, "$1.20", 150)

    async def test_shares_come_with_the_dearest_first(self, me: OwnPilot):
        await use(me, 1)
        await use(me, 2, model="o1")
        await use(me, 5, provider="anthropic", model="claude")
        found = await me.get("/costs/breakdown")
        assert [(each["provider"], each["cost"]) for each in found["byProvider"]] == [("anthropic", 5), ("openai", 3)]
        assert [(each["model"], each["percentOfTotal"]) for each in found["byModel"]] == [
            ("claude", 62.5), ("o1", 25), ("gpt-4o", 12.5),
        ]  # fmt: skip
        assert found["byProvider"][1]["requests"] == 2 and found["totalCostFormatted"] == "$8.00"
        assert [(day["requests"], day["cost"]) for day in found["daily"]] == [(3, 8)]
        for view, member in (("by-provider", "byProvider"), ("by-model", "byModel"), ("timeline", "daily")):
            part = await me.get(f"/costs/{view}", period="year")
            assert (part["period"], part[member], part["totalCost"]) == ("year", found[member], 8)

    async def test_calls_are_listed_with_todays_and_this_months_sums(self, me: OwnPilot):
        await use(me, 1, session_id="s1", cached=True)
        await use(me, 0, provider="local", model="org/m:7b", error="no answer", request_type="embedding")
        found = await me.get("/costs/usage")
        assert found["daily"] == found["monthly"] == {
            "totalTokens": 2_002_000, "totalInputTokens": 2_000_000, "totalOutputTokens": 2000, "totalCost": 1,
            "totalCostFormatted": "$1.00", "totalRequests": 2,
        }  # fmt: skip
        failed, first = found["records"]
        assert (failed["error"], failed["requestType"], "sessionId" in failed) == ("no answer", "embedding", False)
        assert (first["sessionId"], first["cached"], first["totalTokens"], first["cost"]) == ("s1", True, 1_001_000, 1)
        assert found["total"] == 2
        for query in ({"provider": "local"}, {"model": "org/m:7b"}, {"provider": "local", "model": "org/m:7b"}):
            only = await me.get("/costs/usage", **query)
            assert (only["total"], only["records"]) == (1, [failed])
        page = await me.get("/costs/usage", limit=1, offset=1)
        assert (page["total"], page["records"]) == (2, [first])

    async def test_calls_before_the_last_days_are_left_out(self, me: OwnPilot):
        for days in (0, 1, 40):
            await use(me, 1, at=datetime.now(UTC) - timedelta(days=days))
        counts = {days: (await me.get("/costs/usage", days=days))["total"] for days in (1, 2, 30, 366)}
        assert counts == {1: 1, 2: 2, 30: 2, 366: 3}

    @pytest.mark.parametrize("query", [{"period": "decade"}, {"period": ""}])
    async def test_an_unknown_period_is_refused(self, me: OwnPilot, query: dict[str, str]):
        for view in ("", "/by-provider", "/by-model", "/timeline", "/breakdown"):
            refused(await me.send("GET", f"/costs{view}", params=query), 400, "INVALID_REQUEST")

    @pytest.mark.parametrize("days", ["0", "367", "x"])
    async def test_more_days_than_a_year_has_are_refused(self, me: OwnPilot, days: str):
        refused(await me.send("GET", "/costs/usage", params={"days": days}), 400, "INVALID_REQUEST")

    async def test_another_persons_calls_are_not_counted(self, me: OwnPilot):
        await use(OwnPilot(me.http), 1)
        assert (await me.get("/costs"))["summary"]["totalRequests"] == 0


@pytest.mark.usefixtures("app")
class TestBudget:
    async def test_limits_are_set_one_by_one_and_removed_by_null(self, me: OwnPilot):
        changed = await me.post("/costs/budget", dailyLimit=5, monthlyLimit=100)
        assert changed["message"] and changed["status"]["daily"]["limit"] == 5
        await me.post("/costs/budget", dailyLimit=None, weeklyLimit=0.5, alertThresholds=[90, 10, 90])
        status = (await me.get("/costs/budget"))["status"]
        assert {name: status[name].get("limit") for name in ("daily", "weekly", "monthly")} == {
            "daily": None, "weekly": 0.5, "monthly": 100,
        }  # fmt: skip
        assert (status["alertThresholds"], status["limitAction"]) == ([10, 90], "warn")

    async def test_what_is_spent_is_told_in_both_words_and_alerts_are_raised_at_thresholds(self, me: OwnPilot):
        await me.post("/costs/budget", dailyLimit=4, monthlyLimit=100)
        await use(me, 3)
        for budget in ((await me.get("/costs"))["budget"], (await me.get("/costs/budget"))["status"]):
            assert budget["daily"] == {"limit": 4, "used": 3, "spent": 3, "remaining": 1, "percentage": 75}
            assert (budget["monthly"]["remaining"], budget["monthly"]["percentage"]) == (97, 3)
            assert [(alert["type"], alert["threshold"], alert["currentSpend"], alert["limit"])
                    for alert in budget["alerts"]] == [("daily", 50, 3, 4), ("daily", 75, 3, 4)]  # fmt: skip
        await use(me, 2)
        daily = (await me.get("/costs/budget"))["status"]["daily"]
        assert (daily["remaining"], daily["percentage"]) == (0, 125)

    @pytest.mark.parametrize(
        "member",
        [{"dailyLimit": -1}, {"weeklyLimit": "x"}, {"monthlyLimit": 1e30}, {"alertThresholds": [0]},
         {"alertThresholds": [101]}, {"alertThresholds": [*range(1, 12)]}, {"alertThresholds": None},
         {"limitAction": "stop"}, {"limitAction": None}],
    )  # fmt: skip
    async def test_a_wrong_member_is_refused_by_name(self, me: OwnPilot, member: dict[str, Any]):
        answer = await me.send("POST", "/costs/budget", json=member)
        assert next(iter(member)) in refused(answer, 400, "INVALID_REQUEST")

    @pytest.mark.parametrize(("action", "limit", "spent", "blocked"), [
        ("block", 1, 0.99, False), ("block", 1, 1, True), ("block", 0, 0, True), ("warn", 1, 5, False),
        ("block", None, 5, False)])  # fmt: skip
    @pytest.mark.parametrize("name", ["dailyLimit", "weeklyLimit", "monthlyLimit"])
    async def test_a_spent_budget_that_blocks_lets_no_call_begin(
        self, me: OwnPilot, name: str, action: str, limit: float | None, spent: float, blocked: bool
    ):
        await me.post("/costs/budget", limitAction=action, **{name: limit})
        await use(me, spent)
        stopped: TooManyRequests | None = None
        try:
            await check_budget(me.user)
        except TooManyRequests as error:
            stopped = error
        assert (stopped is not None) is blocked
        if stopped:
            assert (stopped.status, stopped.code) == (429, "BUDGET_EXCEEDED")
            assert stopped.details == {"budget": name[:-5], "limit": limit, "spent": spent}

    async def test_a_person_without_a_budget_is_not_stopped(self, me: OwnPilot):
        await use(me, 10**6)
        await check_budget(me.user)


class TestPrices:
    async def test_a_call_is_estimated_without_any_key(self, me: OwnPilot):
        given = await me.post("/costs/estimate", provider="openai", model="gpt-4o", inputTokens=1000, outputTokens=1000)
        [row] = [each for each in (await me.get("/costs/pricing", provider="openai"))["models"]
                 if each["modelId"] == "gpt-4o"]  # fmt: skip
        assert given["estimatedCost"] == pytest.approx((row["inputPrice"] + row["outputPrice"]) / 1000)
        assert given["estimatedCost"] > 0
        text = await me.post("/costs/estimate", provider="openai", model="gpt-4o", text="12345")
        assert (text["estimatedInputTokens"], text["estimatedOutputTokens"]) == (2, 500)

    async def test_an_unknown_price_counts_as_nothing_and_the_note_says_so(self, me: OwnPilot):
        found = await me.post("/costs/estimate", provider="nobody", model="m", inputTokens=10**6)
        assert (found["estimatedCost"], found["estimatedCostFormatted"]) == (0, "$0.000000")
        assert "not known" in found["note"]

    @pytest.mark.parametrize("member", [{"provider": ""}, {"model": None}, {"inputTokens": -1}, {"outputTokens": "x"}])
    async def test_a_wrong_member_is_refused_by_name(self, me: OwnPilot, member: dict[str, Any]):
        body = {"provider": "openai", "model": "gpt-4o", **member}
        assert next(iter(member)) in refused(await me.send("POST", "/costs/estimate", json=body), 400)

    async def test_prices_are_those_of_all_providers_or_of_one(self, me: OwnPilot):
        every, one = await me.get("/costs/pricing"), await me.get("/costs/pricing", provider="openai")
        assert {"openai", "anthropic"} < set(every["providers"]) and one["providers"] == ["openai"]
        assert {each["provider"] for each in one["models"]} == {"openai"} and len(every["models"]) > 500
        assert await me.get("/costs/pricing", provider="nobody") == {"models": [], "providers": []}
        assert set(one["models"][0]) == {
            "provider", "modelId", "displayName", "inputPrice", "outputPrice", "contextWindow", "maxOutput",
            "supportsVision", "supportsFunctions", "updatedAt",
        }  # fmt: skip
