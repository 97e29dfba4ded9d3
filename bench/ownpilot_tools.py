"""Custom tools of OwnPilot: a run in the app's instance, and one in a warm container of its user."""

import time

import httpx

from bench.figures import Figure, times
from bench.services import running
from tests.support.ownpilot import OwnPilot
from tests.support.workers import pool_is_full

RUNS = 50
CODE = "return utils.slugify(args.text);"


async def run() -> list[Figure]:
    """Measure both engines, from the request to the response, with one run after the other."""
    async with running(RUNYARD_WARM="python=1") as own:
        async with httpx.AsyncClient(base_url=own.environment.url, timeout=60, trust_env=False) as http:
            me = OwnPilot(http)
            await pool_is_full(http, 1)
            return [
                *times("a custom tool in QuickJS", await _runs(me, "inside", []), at_most=120),
                *times("a custom tool in a warm container", await _runs(me, "outside", ["network"]), at_most=200),
            ]


async def _runs(me: OwnPilot, name: str, permissions: list[str]) -> list[float]:
    tool = await me.post(
        "/custom-tools", name=name, description="A slug", parameters={}, code=CODE, permissions=permissions
    )  # fmt: skip
    taken: list[float] = []
    for number in range(RUNS + 1):
        start = time.perf_counter()
        done = await me.post(f"/custom-tools/{tool['id']}/execute", arguments={"text": f"Run {number}"})
        taken.append(time.perf_counter() - start)
        if done["result"] != f"run-{number}":
            raise RuntimeError(f"a run has ended wrongly: {done}")
    return taken[1:]
