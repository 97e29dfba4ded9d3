"""Plans made by chance, while the host is killed: each ends in the state that a plain interpreter gives."""

import asyncio
import contextlib
from collections import Counter
from typing import Any

import httpx
import pytest

from functions.ownpilot.plans.records import PlanStep, PlanStepStatus, runs, steps
from infra.local.environment import Environment
from tests.support.campaign import Campaign
from tests.support.kills import kill
from tests.support.ownpilot import OwnPilot
from tests.support.plans import Scripted, by_chance, interpret, records_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("app")

ENDED = ("completed", "failed")


async def begun(me: OwnPilot, scripted: list[Scripted]) -> tuple[str, "asyncio.Task[httpx.Response]"]:
    """A plan with these steps, and the request that carries it out."""
    plan = (await me.post("/plans", name="p", goal="g"))["plan"]["id"]
    await steps.of(plan).store(records_of(scripted, plan))
    return plan, asyncio.create_task(me.send("POST", f"/plans/{plan}/execute"))


async def ended(me: OwnPilot, plan: str) -> dict[str, Any]:
    """A plan when it has ended and its workflow too; one whose request was killed is begun again."""

    async def read() -> dict[str, Any]:
        try:
            found = await me.get(f"/plans/{plan}")
            if found["status"] == "pending":
                await me.send("POST", f"/plans/{plan}/execute")
            return found
        except (httpx.TransportError, AssertionError):
            return {"status": "unknown"}

    # A run whose workflow was never started is found by the upkeep of the next minute but one.
    found = await eventually(read, until=lambda it: it["status"] in ENDED, seconds=300)

    async def closed() -> bool:
        return not [each async for each in runs.all() if each.plan_id == plan]

    await eventually(closed, seconds=300)
    return found


def check(scripted: list[Scripted], plan: dict[str, Any], stored: list[PlanStep], events: list[dict[str, Any]]) -> None:
    """Compare a plan, its steps and its history with what the interpreter says."""
    ending, statuses, done = interpret(scripted)
    by_place = sorted(stored, key=lambda step: int(step.name))
    assert (plan["status"], [step.status.value for step in by_place]) == (ending, statuses)
    places = {step.id: int(step.name) for step in stored}
    ends = [each for each in events if each["eventType"] in ("step_completed", "step_failed")]
    assert [places[each["stepId"]] for each in ends] == done, "in this order, each once"
    begins = [each for each in events if each["eventType"] == "step_started"]
    assert [places[each["stepId"]] for each in begins] == done
    kinds = Counter(each["eventType"] for each in events)
    assert (kinds["started"], kinds[ending]) == (1, 1)
    completed = sum(step.status is PlanStepStatus.COMPLETED for step in stored)
    assert plan["progress"] == int(100 * completed / len(stored) + 0.5)


async def test_plans_end_as_they_must_whatever_is_killed(
    http: httpx.AsyncClient, stack: Environment, campaign: Campaign
):
    for _ in range(campaign.rounds(1, 20)):
        me = OwnPilot(http)
        scripted = [by_chance(campaign.chance, 10) for _ in range(campaign.rounds(4, 10))]
        made = [await begun(me, each) for each in scripted]
        for _ in range(campaign.rounds(1, 3)):
            await asyncio.sleep(campaign.chance.uniform(0.1, 2))
            await kill(stack, "host")
        for (plan, request), each in zip(made, scripted, strict=True):
            with contextlib.suppress(httpx.TransportError):
                await request
            found = await ended(me, plan)
            history = (await me.get(f"/plans/{plan}/history", limit=500))["history"][::-1]
            check(each, found, [step async for step in steps.of(plan).all()], history)
