"""Alerts: raised once for each failed run, listed, marked as read, deleted."""

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import pytest

from infra.local.environment import Environment
from tests.support.gateway import Gateway, register
from tests.support.values import UNKNOWN
from tests.support.waiting import eventually


@pytest.fixture
async def owner(stack: Environment) -> AsyncIterator[Gateway]:
    """A client of which a test knows every alert."""
    owner = await register(stack)
    yield owner
    await owner.http.aclose()


async def failed(owner: Gateway) -> str:
    """The id of a run that a client declared failed: it raises an alert as any other does."""
    run = await owner.run("sleep 300")
    answer = await owner.http.patch(f"/gateway/api/runs/{run['id']}", json={"status": "failed", "error": "no luck"})
    assert answer.status_code == 200
    return run["id"]


async def alerts_of(owner: Gateway, **params: Any) -> dict[str, Any]:
    answer = await owner.http.get("/gateway/api/alerts", params={"client_id": owner.id, **params})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_failing_program_raises_one(owner: Gateway):
    run = await owner.reach((await owner.run("exit 3"))["id"])
    page = await eventually(lambda: alerts_of(owner, run_id=run["id"]), until=lambda found: found["total"])
    assert (page["total"], page["unread_count"]) == (1, 1)
    (alert,) = page["alerts"]
    assert set(alert) == {"id", "type", "message", "run_id", "client_id", "created_at", "read", "metadata"}
    assert (alert["type"], alert["message"]) == ("error", "Run failed: Exited with code 3")
    assert (alert["run_id"], alert["client_id"], alert["read"]) == (run["id"], owner.id, False)


class TestListAlerts:
    async def test_newest_first_in_pages(self, owner: Gateway):
        runs = [await failed(owner) for _ in range(3)]
        assert [alert["run_id"] for alert in (await alerts_of(owner))["alerts"]] == runs[::-1]
        page = await alerts_of(owner, limit=1, offset=1)
        assert ([alert["run_id"] for alert in page["alerts"]], page["total"]) == ([runs[1]], 3)
        oldest = await alerts_of(owner, sort_order="asc", limit=1)
        assert [alert["run_id"] for alert in oldest["alerts"]] == runs[:1]

    async def test_unread_leaves_out_what_was_read_and_unread_count_ignores_it(self, owner: Gateway):
        runs = [await failed(owner) for _ in range(2)]
        read = (await alerts_of(owner, run_id=runs[0]))["alerts"][0]["id"]
        await owner.http.post(f"/gateway/api/alerts/{read}/read")
        page = await alerts_of(owner)
        assert (page["total"], page["unread_count"]) == (2, 1)
        page = await alerts_of(owner, unread="true")
        assert ([alert["run_id"] for alert in page["alerts"]], page["total"], page["unread_count"]) == (runs[1:], 1, 1)
        assert (await alerts_of(owner, unread="false"))["total"] == 2

    @pytest.mark.parametrize("of_run", [False, True])
    async def test_every_combination_of_filters_and_orders_is_answered(self, owner: Gateway, of_run: bool):
        run = await failed(owner)
        for kind, unread, mine, sort_by, order in product(
            (None, "error", "info"), (None, "true"), (True, False), ("created_at", "type"), ("asc", "desc")
        ):
            given = {"type": kind, "unread": unread, "run_id": run if of_run else None, "limit": 1000}
            given |= {"client_id": owner.id if mine else None, "sort_by": sort_by, "sort_order": order}
            params = {name: value for name, value in given.items() if value is not None}
            answer = await owner.http.get("/gateway/api/alerts", params=params)
            assert answer.status_code == 200, params
            page = answer.json()
            found = [alert["run_id"] for alert in page["alerts"]]
            assert page["total"] == len(found)
            assert (run in found) == (kind != "info"), params
            assert page["unread_count"] == sum(not alert["read"] for alert in page["alerts"])

    @pytest.mark.parametrize("query", ["type=bad", "unread=maybe", "unread=1", "sort_by=read", "sort_order=up"])
    async def test_a_query_that_breaks_a_rule_is_refused(self, gateway: Gateway, query: str):
        assert (await gateway.http.get(f"/gateway/api/alerts?{query}")).status_code == 400

    async def test_of_a_run_that_does_not_exist(self, gateway: Gateway):
        answer = await gateway.http.get(f"/gateway/api/alerts?run_id={UNKNOWN}")
        assert (answer.status_code, answer.json()) == (200, {"alerts": [], "total": 0, "unread_count": 0})


class TestOneAlert:
    async def test_it_can_be_read_marked_and_deleted(self, owner: Gateway):
        run = await failed(owner)
        listed = (await alerts_of(owner))["alerts"][0]
        url = f"/gateway/api/alerts/{listed['id']}"
        assert (await owner.http.get(url)).json() == listed
        for _ in range(2):
            answer = await owner.http.post(f"{url}/read")
            assert (answer.status_code, answer.json()) == (200, {"id": listed["id"], "read": True})
        assert (await owner.http.get(url)).json()["read"] is True
        answer = await owner.http.delete(url)
        assert (answer.status_code, answer.json()) == (200, {"message": "Alert deleted"})
        for again in (await owner.http.get(url), await owner.http.delete(url), await owner.http.post(f"{url}/read")):
            assert (again.status_code, again.json()) == (404, {"error": "Alert not found"})
        assert (await alerts_of(owner, run_id=run))["total"] == 0


class TestMarkAllRead:
    async def test_only_the_callers_are_marked(self, owner: Gateway, stack: Environment):
        stranger = await register(stack)
        await asyncio.gather(failed(owner), failed(owner), failed(stranger))
        answer = await owner.http.post("/gateway/api/alerts/mark-all-read")
        assert (answer.status_code, answer.json()) == (200, {"marked_count": 2})
        assert (await alerts_of(owner))["unread_count"] == 0
        assert (await alerts_of(stranger))["unread_count"] == 1
        assert (await owner.http.post("/gateway/api/alerts/mark-all-read")).json() == {"marked_count": 0}
        await stranger.http.aclose()

    async def test_of_one_run(self, owner: Gateway, gateway: Gateway):
        run, _ = await failed(owner), await failed(owner)
        url = "/gateway/api/alerts/mark-all-read"
        assert (await gateway.http.post(url, params={"run_id": run})).json() == {"marked_count": 0}  # not its own
        assert (await owner.http.post(url, params={"run_id": run})).json() == {"marked_count": 1}
        assert (await alerts_of(owner))["unread_count"] == 1


class TestClear:
    async def test_of_one_run_read_or_not(self, owner: Gateway, gateway: Gateway):
        run, other = await failed(owner), await failed(owner)
        url = "/gateway/api/alerts/clear"
        assert (await gateway.http.delete(url, params={"run_id": run, "read": "true"})).json() == {"deleted_count": 0}
        assert (await gateway.http.delete(url, params={"run_id": run, "type": "info"})).json() == {"deleted_count": 0}
        answer = await gateway.http.delete(url, params={"run_id": run, "read": "false"})  # everybody's
        assert (answer.status_code, answer.json()) == (200, {"deleted_count": 1})
        assert [alert["run_id"] for alert in (await alerts_of(owner))["alerts"]] == [other]

    async def test_all_of_a_kind(self, owner: Gateway):
        await asyncio.gather(*(failed(owner) for _ in range(3)))
        before = (await owner.http.get("/gateway/api/alerts?type=error&limit=1")).json()["total"]
        answer = await owner.http.delete("/gateway/api/alerts/clear?type=error")
        assert answer.json()["deleted_count"] >= before
        assert (await alerts_of(owner))["total"] == 0

    @pytest.mark.parametrize("query", ["read=maybe", "type=bad"])
    async def test_a_query_that_breaks_a_rule_is_refused(self, gateway: Gateway, query: str):
        assert (await gateway.http.delete(f"/gateway/api/alerts/clear?{query}")).status_code == 400
