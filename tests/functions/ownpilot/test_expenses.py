"""Expenses, budgets and what they add up to."""

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest

from functions.ownpilot.core.dates import Span, today
from functions.ownpilot.core.expense_figures import PeriodName, span_of
from functions.ownpilot.core.owner import Person
from functions.ownpilot.expenses import expenses, get_expense_summary
from tests.support.ownpilot import OwnPilot, data_of, refused
from tests.support.records import Counting

LUNCH = {"amount": 12.5, "category": "food", "description": "Lunch"}


async def spend(me: OwnPilot, *given: tuple[str, float, str], **members: Any) -> None:
    for day, amount, category in given:
        await me.post("/expenses", date=day, amount=amount, category=category, description=category, **members)


class TestExpenses:
    async def test_one_that_names_no_day_and_no_currency_is_of_today_and_in_dollars(self, me: OwnPilot):
        made = await me.post("/expenses", **LUNCH)
        assert made["id"].startswith("exp_")
        shown = {name: made[name] for name in ("date", "amount", "currency", "category", "source", "tags")}
        assert shown == {
            "date": today().isoformat(), "amount": 12.5, "currency": "USD", "category": "food", "source": "web",
            "tags": [],
        }  # fmt: skip
        assert "notes" not in made and "paymentMethod" not in made
        assert await me.get(f"/expenses/{made['id']}") == made

    @pytest.mark.parametrize(
        ("amount", "shown"),
        [(0.1, 0.1), (0.29, 0.29), (1234567.89, 1234567.89), (1_000_000_000_000, 1e12), (19.99, 19.99), (3, 3),
         (0.1 + 0.2, 0.3), (1.1 * 3, 3.3),
         (0, 400), (-1, 400), (0.001, 400), (1.005, 400), (1e13, 400), ("12", 400), (True, 400), (None, 400)],
    )  # fmt: skip
    async def test_amounts_have_two_decimals_and_are_above_zero(self, me: OwnPilot, amount: Any, shown: float):
        answer = await me.send("POST", "/expenses", json=LUNCH | {"amount": amount})
        if shown == 400:
            assert refused(answer, 400, "INVALID_REQUEST").startswith("amount: ")
        else:
            assert data_of(answer)["amount"] == shown

    @pytest.mark.parametrize(
        ("name", "value"),
        [("category", "rent"), ("category", None), ("description", " "), ("currency", "EURO"), ("currency", "€"),
         ("date", "2027-02-29"), ("date", "today")],
    )  # fmt: skip
    async def test_a_wrong_member_is_named(self, me: OwnPilot, name: str, value: Any):
        answer = await me.send("POST", "/expenses", json=LUNCH | {name: value})
        assert refused(answer, 400, "INVALID_REQUEST").startswith(f"{name}: ")

    async def test_a_leap_day_exists_and_a_time_is_the_day_that_it_has_in_utc(self, me: OwnPilot):
        assert (await me.post("/expenses", **LUNCH, date="2028-02-29"))["date"] == "2028-02-29"
        assert (await me.post("/expenses", **LUNCH, date="2028-02-29T23:30:00-02:00"))["date"] == "2028-03-01"

    async def test_the_latest_day_comes_first_and_filters_combine(self, me: OwnPilot):
        await spend(me, ("2026-01-31", 1, "food"), ("2026-02-28", 2, "food"), ("2026-02-01", 3, "travel"))
        await spend(me, ("2026-02-01", 4, "food"), notes="With Ben")
        listed = await me.get("/expenses", limit=2, offset=1)
        assert ([each["amount"] for each in listed["expenses"]], listed["total"]) == ([4, 3], 4)
        assert (listed["limit"], listed["offset"], len(listed["categories"])) == (2, 1, 11)

        async def amounts(**query: Any) -> list[float]:
            return [each["amount"] for each in (await me.get("/expenses", **query))["expenses"]]

        assert await amounts(startDate="2026-02-01", endDate="2026-02-28") == [2, 4, 3]
        assert await amounts(endDate="2026-01-31", category="") == [1]
        assert await amounts(startDate="2026-02-01", category=["food", "health"]) == [2, 4]
        assert await amounts(search="BEN", startDate="2026-02-01") == [4]
        wrong = await me.send("GET", "/expenses", params={"startDate": "2026-02-02", "endDate": "2026-02-01"})
        assert "endDate" in refused(wrong, 400, "INVALID_REQUEST")

    async def test_a_change_leaves_the_amount_exact_and_put_is_a_change_too(self, me: OwnPilot):
        made = await me.post("/expenses", **LUNCH | {"amount": 0.07})
        changed = await me.data("PATCH", f"/expenses/{made['id']}", json={"currency": "eur", "notes": "n"})
        assert (changed["amount"], changed["currency"], changed["notes"]) == (0.07, "EUR", "n")
        assert (await me.data("PUT", f"/expenses/{made['id']}", json={"amount": 7.7}))["amount"] == 7.7
        assert (await me.get(f"/expenses/{made['id']}"))["notes"] == "n"

    async def test_a_delete_shows_the_expense_once_more(self, me: OwnPilot):
        made = await me.post("/expenses", **LUNCH)
        assert await me.data("DELETE", f"/expenses/{made['id']}") == {"deleted": made}
        refused(await me.send("DELETE", f"/expenses/{made['id']}"), 404, "NOT_FOUND")

    async def test_another_person_sees_none_of_it(self, me: OwnPilot):
        made = await me.post("/expenses", **LUNCH)
        await me.post("/expenses/categories", category="food", budget=5)
        other = OwnPilot(me.http)
        for method in ("GET", "PATCH", "PUT", "DELETE"):
            refused(await other.send(method, f"/expenses/{made['id']}", json={}), 404, "NOT_FOUND")
        listed = await other.get("/expenses")
        assert (listed["total"], "budget" in listed["categories"]["food"]) == (0, False)


class TestSummary:
    async def test_sums_are_exact_raw_and_for_each_currency(self, me: OwnPilot):
        await spend(me, *[("2026-03-01", 0.1, "food")] * 3, ("2026-03-02", 0.7, "travel"))
        await spend(me, ("2026-03-02", 100, "food"), currency="JPY")
        await spend(me, ("2026-04-01", 999, "food"))
        found = await me.get("/expenses/summary", startDate="2026-03-01", endDate="2026-03-31")
        assert found["period"] == {"name": "custom", "startDate": "2026-03-01", "endDate": "2026-03-31"}
        summary = found["summary"]
        assert (summary["totalExpenses"], summary["grandTotal"], summary["dailyAverage"]) == (5, 101, 50.5)
        assert summary["totalByCurrency"] == {"JPY": 100, "USD": 1}
        assert summary["totalByCategory"] == {"food": 100.3, "travel": 0.7}
        assert summary["byCurrency"]["USD"] == {
            "totalExpenses": 4, "grandTotal": 1, "dailyAverage": 0.5, "totalByCategory": {"food": 0.3, "travel": 0.7},
        }  # fmt: skip
        top = [(each["category"], each["amount"], each["percentage"]) for each in summary["topCategories"]]
        assert top == [("food", 100.3, 99), ("travel", 0.7, 1)]
        assert summary["topCategories"][0]["color"] == found["categories"]["food"]["color"]
        assert [each["amount"] for each in summary["biggestExpenses"]] == [100, 0.7, 0.1, 0.1, 0.1]

    async def test_without_expenses_everything_is_zero(self, me: OwnPilot):
        found = await me.get("/expenses/summary")
        assert (found["period"]["name"], found["summary"]["topCategories"]) == ("this_month", [])
        assert {found["summary"][name] for name in ("totalExpenses", "grandTotal", "dailyAverage")} == {0}

    async def test_budgets_show_what_is_left_and_one_of_zero_is_a_budget(self, me: OwnPilot):
        await spend(me, (today().isoformat(), 30.5, "food"), (today().isoformat(), 1, "travel"))
        await spend(me, (today().isoformat(), 1000, "food"), currency="JPY")
        for category, budget in (("food", 100), ("travel", 0), ("health", 7.25)):
            await me.post("/expenses/categories", category=category, budget=budget)
        used = (await me.get("/expenses/summary", period="today"))["summary"]["budgets"]
        assert [(each["category"], each["budget"], each["spent"], each["remaining"]) for each in used] == [
            ("food", 100, 30.5, 69.5), ("health", 7.25, 0, 7.25), ("travel", 0, 1, -1),
        ]  # fmt: skip

    async def test_all_time_begins_and_ends_with_expenses(self, me: OwnPilot):
        await spend(me, ("1999-12-31", 1, "food"), ("2028-02-29", 2, "food"))
        found = await me.get("/expenses/summary", period="all_time")
        assert found["period"] == {"name": "all_time", "startDate": "1999-12-31", "endDate": "2028-02-29"}
        assert found["summary"]["grandTotal"] == 3
        refused(await me.send("GET", "/expenses/summary", params={"period": "ever"}), 400, "INVALID_REQUEST")

    async def test_a_period_or_a_year_that_is_empty_is_absent(self, me: OwnPilot):
        assert (await me.get("/expenses/summary", period=""))["period"]["name"] == "this_month"
        spans = {"period": "", "startDate": "2026-03-01", "endDate": ""}
        assert (await me.get("/expenses/summary", **spans))["period"]["name"] == "custom"
        assert (await me.get("/expenses/monthly", year=""))["year"] == today().year

    @pytest.mark.parametrize(
        ("period", "now", "first", "last"),
        [(PeriodName.TODAY, "2026-05-05", "2026-05-05", "2026-05-05"),
         (PeriodName.THIS_WEEK, "2026-11-29", "2026-11-29", "2026-12-05"),  # a Sunday
         (PeriodName.THIS_WEEK, "2026-11-28", "2026-11-22", "2026-11-28"),
         (PeriodName.THIS_MONTH, "2028-02-10", "2028-02-01", "2028-02-29"),
         (PeriodName.THIS_MONTH, "2026-12-31", "2026-12-01", "2026-12-31"),
         (PeriodName.LAST_MONTH, "2028-03-31", "2028-02-01", "2028-02-29"),
         (PeriodName.LAST_MONTH, "2027-03-01", "2027-02-01", "2027-02-28"),
         (PeriodName.LAST_MONTH, "2027-01-15", "2026-12-01", "2026-12-31"),
         (PeriodName.THIS_YEAR, "2028-02-29", "2028-01-01", "2028-12-31")],
    )  # fmt: skip
    def test_a_period_is_whole(self, period: PeriodName, now: str, first: str, last: str):
        assert span_of(period, date.fromisoformat(now)) == Span(first, last)

    async def test_a_year_has_twelve_months(self, me: OwnPilot):
        await spend(me, ("2028-02-29", 2.5, "food"), ("2028-02-01", 1, "travel"), ("2028-12-31", 4, "food"))
        await spend(me, ("2027-12-31", 8, "food"), ("2029-01-01", 16, "food"))
        found = await me.get("/expenses/monthly", year=2028)
        assert (found["year"], found["yearTotal"], found["expenseCount"]) == (2028, 7.5, 3)
        assert [month["monthNum"] for month in found["months"]] == [f"{number:02}" for number in range(1, 13)]
        assert found["months"][1] == {
            "month": "February", "monthNum": "02", "total": 3.5, "count": 2, "byCategory": {"food": 2.5, "travel": 1},
        }  # fmt: skip
        assert (await me.get("/expenses/monthly"))["year"] == today().year
        refused(await me.send("GET", "/expenses/monthly", params={"year": "next"}), 400, "INVALID_REQUEST")


class TestBudgets:
    async def test_a_change_keeps_what_it_does_not_name_and_null_takes_away(self, me: OwnPilot):
        first = await me.post("/expenses/categories", category="food", budget=0, color="#000000")
        assert (first["budget"], first["color"]) == (0, "#000000")
        second = await me.post("/expenses/categories", category="food", budget=12.34)
        assert second["categories"]["food"] == {"budget": 12.34, "color": "#000000"}
        third = await me.post("/expenses/categories", category="food", budget=None, color=None)
        assert "budget" not in third and "budget" not in third["categories"]["food"]
        assert third["color"] != "#000000"
        assert (await me.get("/expenses/categories"))["categories"] == third["categories"]

    @pytest.mark.parametrize(
        ("body", "name"),
        [({"category": "rent", "budget": 1}, "category"), ({"budget": 1}, "category"),
         ({"category": "food", "budget": -0.01}, "budget"), ({"category": "food"}, "budget")],
    )  # fmt: skip
    async def test_what_is_wrong_is_named(self, me: OwnPilot, body: dict[str, Any], name: str):
        answer = await me.send("POST", "/expenses/categories", json=body)
        assert refused(answer, 400, "INVALID_REQUEST").startswith(f"{name}: ")

    async def test_two_at_once_are_both_kept(self, me: OwnPilot):
        await asyncio.gather(
            me.post("/expenses/categories", category="food", budget=1),
            me.post("/expenses/categories", category="food", color="#123456"),
        )
        categories = (await me.get("/expenses/categories"))["categories"]
        assert categories["food"] == {"budget": 1, "color": "#123456"}


@pytest.mark.usefixtures("account")
async def test_a_summary_costs_a_query_for_the_expenses_and_one_for_the_budgets(counting: Counting):
    for number in range(3):
        day = (today() - timedelta(days=number)).isoformat()
        await expenses.create("costs", {**LUNCH, "date": day})
    counting.reset()
    await get_expense_summary(Person("costs"), Span(None, None), PeriodName.ALL_TIME)
    assert counting.calls == {"query": 2}
