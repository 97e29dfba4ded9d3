"""Warm containers under fire: workers killed while they wait, are claimed and work, and the host and the hub too.

Every run ends; one whose container was killed may have failed, each other one is whole. No container had two owners,
and only those that wait for jobs are left.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.gateway.job import KIND
from functions.gateway.records import Run
from functions.gateway.store import runs
from infra.local.environment import Environment
from shared import realtime, warm
from shared.jobs import WORKFLOW, jobs
from shared.warm import WorkerState
from tests.support.campaign import Campaign
from tests.support.environments import connected
from tests.support.gateway import Gateway, register
from tests.support.groups import groups, processes_with
from tests.support.kills import all_runs, counted_right, is_whole, kill, reach_end, start_numbered
from tests.support.values import SHORT_CLOCKS, UNLIMITED
from tests.support.waiting import eventually
from tests.support.workers import all_workers, pool_is_full

POOL = 3
LOST = ("The container", "The runner ended without a report", "Ran out of memory")
"""How the error of a run begins whose container, or runner, was killed."""


@pytest.fixture
async def environment(tmp_path: Path) -> AsyncIterator[Environment]:
    settings = {**UNLIMITED, **SHORT_CLOCKS, "RUNYARD_WARM": f"python={POOL}", "RUNYARD_WARM_IDLE": "10"}
    environment = Environment.temporary(tmp_path, **settings)
    await environment.start()
    async with connected(**environment.app_settings):
        yield environment
    await environment.stop()


class Fire:
    """What is killed, at random."""

    def __init__(self, environment: Environment, campaign: Campaign):
        self.environment, self.chance = environment, campaign.chance

    async def once(self) -> None:
        match self.chance.choice(["worker", "worker", "runner", "host", "hub"]):
            case "worker":
                await self._kill("worker.py")
            case "runner":
                await self._kill("runner.py")
            case "host":
                await kill(self.environment, "host")
            case _:
                await kill(self.environment, "webpubsub")

    async def _kill(self, program: str) -> None:
        found = await processes_with(str(self.environment.state / "runner" / program))
        if found:
            try:
                os.kill(self.chance.choice(sorted(found)), signal.SIGKILL)
            except ProcessLookupError:
                return


async def runs_of(gateway: Gateway, campaign: Campaign, count: int, first: int) -> list[str]:
    """Start numbered runs one after the other; the host may be away for a moment."""
    found: list[str] = []
    for number in range(first, first + count):

        async def start(number: int = number) -> str | None:
            try:
                return await start_numbered(gateway, number, 0.02)
            except Exception:  # the host is being started again
                return None

        found.append(await eventually(start) or "")
        await asyncio.sleep(campaign.chance.random() / 2)
    return found


async def ended_well_or_lost(gateway: Gateway, run: dict[str, Any]) -> None:
    if run["status"] == "failed" and str(run["error"]).startswith(LOST):
        return
    await is_whole(gateway, run)


async def owners_are_apart(runs: list[dict[str, Any]]) -> None:
    """Check that all placed runs of one container are of one client."""
    owners: dict[str, set[str]] = {}
    for run in runs:
        worker = (await jobs.get(run["id"])).worker
        if worker:
            owners.setdefault(worker, set()).add(run["client_id"])
    assert {len(found) for found in owners.values()} <= {1}


async def test_kills_of_workers_host_and_hub_lose_no_run_and_share_no_container(
    environment: Environment, campaign: Campaign
):
    gateways = [await register(environment) for _ in range(2)]
    await pool_is_full(gateways[0].http, POOL)
    fire, each = Fire(environment, campaign), campaign.rounds(8, 60)
    work = [
        asyncio.create_task(runs_of(gateway, campaign, each, 1 + 1000 * place))
        for place, gateway in enumerate(gateways)
    ]
    for _ in range(campaign.rounds(5, 40)):
        await asyncio.sleep(campaign.chance.random() * 2)
        await fire.once()
        with contextlib.suppress(httpx.TransportError):  # a killed hub takes all workers along
            await gateways[0].http.post("/admin/functions/maintenance_minute", json={})
    accepted = await asyncio.gather(*work)
    there = {run["id"] for run in await all_runs(gateways[0])}  # also those whose acceptance a kill has kept back
    assert {run_id for ids in accepted for run_id in ids} <= there
    ended = [await reach_end(gateways[0], run_id, seconds=240) for run_id in there]
    for run in ended:
        await ended_well_or_lost(gateways[0], run)
    await owners_are_apart(ended)
    await counted_right(gateways[0], await all_runs(gateways[0]))
    await only_the_pool_is_left(environment, gateways[0])
    for gateway in gateways:
        await gateway.http.aclose()


async def only_the_pool_is_left(environment: Environment, gateway: Gateway) -> None:
    """Wait until only containers exist that wait for their first job, as many as are wanted."""

    async def rest() -> bool:
        await gateway.http.post("/admin/functions/maintenance_minute", json={})
        found, there = await all_workers(), await groups(environment)
        waiting = [one for one in found if one.state is WorkerState.IDLE and not one.owner]
        return len(waiting) == POOL == len(found) and {f"job-{one.id}" for one in waiting} == {*there}

    await eventually(rest, seconds=420)


async def test_a_lost_order_costs_two_seconds_and_no_run(
    environment: Environment, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
):
    gateway = await register(environment)
    await pool_is_full(gateway.http, POOL)
    sent = realtime.send

    async def lossy(hub: str, user: str, message: dict[str, Any]) -> bool:
        lost = message["type"] == "order" and campaign.chance.random() < 0.7
        return True if lost else await sent(hub, user, message)

    monkeypatch.setattr(realtime, "send", lossy)
    for number in range(campaign.rounds(4, 20)):
        at = datetime.now(UTC)
        options = {"timeout": 60}
        run = Run(client_id=gateway.id, prompt=f"echo {number}", model="bash", options=options, started_at=at)
        await runs.insert(run)
        await warm.place(KIND, run.id)
        start = f"/runtime/webhooks/durabletask/orchestrators/{WORKFLOW}/{run.id}"
        assert (await gateway.http.post(start, json=KIND)).status_code == 202
        done = await gateway.reach(run.id)
        assert (done["status"], done["result"]) == ("completed", f"{number}\n")
    await gateway.http.aclose()
