"""Every process is killed again and again while twenty runs are in progress; then everything is counted."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from infra.local.environment import Environment
from tests.support.campaign import Campaign
from tests.support.gateway import Gateway, register
from tests.support.kills import (
    InFlight,
    Process,
    all_runs,
    counted_right,
    is_whole,
    kill,
    no_container_left,
    reach_end,
)
from tests.support.values import SHORT_CLOCKS, UNLIMITED

IN_FLIGHT = 20


@dataclass
class Own:
    """An environment whose storage is on disk, a client of its gateway, and its runs in progress."""

    environment: Environment
    gateway: Gateway
    flight: InFlight


@pytest.fixture
async def own(tmp_path: Path, campaign: Campaign) -> AsyncIterator[Own]:
    environment = replace(Environment.temporary(tmp_path, **UNLIMITED, **SHORT_CLOCKS), keep=True)
    await environment.start()
    try:
        gateway = await register(environment)
        assert environment.storage
        await environment.storage.stop()  # which writes the client's key to the disk
        await environment.start_storage()
        pauses = [round(campaign.chance.uniform(0.05, 0.4 if campaign.full else 0.15), 2) for _ in range(7)]
        flight = InFlight(gateway, IN_FLIGHT, pauses)
        await flight.begun()
        yield Own(environment, gateway, flight)
        await gateway.http.aclose()
    finally:
        await environment.stop()


async def test_no_kill_of_the_host_or_of_a_service_loses_or_repeats_anything(own: Own, campaign: Campaign):
    often: dict[Process, int] = {
        "host": campaign.rounds(4, 100),
        "containers": campaign.rounds(1, 20),
        "webpubsub": campaign.rounds(1, 20),
    }
    kills: list[Process] = [process for process, times in often.items() for _ in range(times)]
    campaign.chance.shuffle(kills)
    for process in kills:
        await asyncio.sleep(campaign.chance.uniform(0.1, 3))
        await kill(own.environment, process)
    await own.flight.end()
    await no_container_left(own.environment)
    # With those whose acceptance did not reach the client, because the host was killed in that moment.
    runs = [await reach_end(own.gateway, run["id"]) for run in await all_runs(own.gateway)]
    assert {run["id"] for run in runs} >= set(own.flight.accepted)
    for run in runs:
        await is_whole(own.gateway, run)
    await counted_right(own.gateway, runs)


async def test_after_kills_of_storage_each_remaining_run_ends_and_is_counted(own: Own, campaign: Campaign):
    """The emulated storage loses the last seconds of what it has acknowledged: whole runs, or parts of their output."""
    # The sample kills none: putting right what storage has lost takes the upkeep minutes.
    for _ in range(campaign.rounds(0, 20)):
        await asyncio.sleep(campaign.chance.uniform(0.1, 6))
        await kill(own.environment, "storage")
    await own.flight.end()
    await no_container_left(own.environment)
    runs = [await reach_end(own.gateway, run["id"]) for run in await all_runs(own.gateway)]
    for run in runs:
        assert run["status"] == "completed" or run["error"], run
    await counted_right(own.gateway, runs)
    run = await own.gateway.reach((await own.gateway.run("echo as before"))["id"])
    assert (run["status"], run["result"]) == ("completed", "as before\n"), run["error"]
