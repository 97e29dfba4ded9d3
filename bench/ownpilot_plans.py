"""OwnPilot's plans: a plan of five tools, carried out by its workflow on the local host."""

import time
import uuid

from bench.figures import Figure, times
from bench.services import Client, running

STEPS, ROUNDS, GOAL = 5, 10, 1500
BASE = "/ownpilot/api/v1/plans"


async def figures() -> list[Figure]:
    """Measure from the request to the answer, which comes when the plan is completed."""
    async with running() as own:
        await _carried_out(own)
        taken = [await _carried_out(own) for _ in range(ROUNDS)]
    return times(f"a plan of {STEPS} tools", taken, at_most=GOAL)


async def _carried_out(own: Client) -> float:
    """The seconds of a new plan."""
    url, query = f"{own.environment.url}{BASE}", {"userId": str(uuid.uuid4())}
    async with own.http.post(url, json={"name": "bench", "goal": "speed"}, params=query) as made:
        plan = (await made.json())["data"]["plan"]["id"]
    for number in range(STEPS):
        step = {"type": "tool_call", "name": "n", "orderNum": number, "config": {"toolName": "generate_uuid"}}
        async with own.http.post(f"{url}/{plan}/steps", json=step, params=query) as added:
            added.raise_for_status()
    start = time.perf_counter()
    async with own.http.post(f"{url}/{plan}/execute", params=query) as answer:
        status = (await answer.json())["data"]["result"]["status"]
    if status != "completed":
        raise RuntimeError(f"the plan is {status}")
    return time.perf_counter() - start
