"""Many runs on few places: all of them end well, the oldest first, about."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from infra.local.environment import Environment
from shared.jobs import waiting_jobs
from tests.support.environments import connected
from tests.support.gateway import register
from tests.support.groups import groups, limited
from tests.support.values import UNLIMITED
from tests.support.waiting import eventually


@pytest.mark.parametrize("limits", [{"groups": True}, {"cores": True}, {"groups": True, "creates": True}])
async def test_runs_wait_for_room_and_all_complete_in_rough_order_of_age(
    tmp_path: Path, campaign: Any, limits: dict[str, bool]
):
    count, places = campaign.rounds(20, 200), campaign.rounds(3, 10)
    quotas = dict.fromkeys(limits, places)
    if "creates" in limits:
        quotas |= {"creates": 2 * places, "window": 5}
    environment = Environment.temporary(tmp_path, **UNLIMITED, RUNYARD_START_PAUSES=f"{campaign.rounds(1, 2)}")
    await environment.start()
    try:
        gateway = await register(environment)
        async with limited(environment, **quotas):
            ids = [(await gateway.run(f"echo {number}"))["id"] for number in range(count)]
            done = await asyncio.gather(*(gateway.reach(run_id, seconds=1500) for run_id in ids))
        assert [(run["status"], run["result"]) for run in done] == [("completed", f"{n}\n") for n in range(count)]
        started = sorted(range(count), key=lambda number: done[number]["started_at"])
        displaced = [abs(place - number) for place, number in enumerate(started)]
        print(f"{count} runs on {places} places: displaced by {max(displaced)} at most")
        assert sum(displaced) / count <= 2 * places, displaced
        async with connected(**environment.app_settings):
            assert [job.id async for job in waiting_jobs.all()] == []

        async def left() -> list[str]:
            return await groups(environment)

        await eventually(left, until=lambda found: not found)
        await gateway.http.aclose()
    finally:
        await environment.stop()
