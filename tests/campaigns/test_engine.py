"""The emulated Durable Functions: killed before every statement, random programs, a thousand instances."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.infra.emulator.durable.harness import EngineServer, TaskHub
from tests.infra.emulator.durable.kills import lives, ran_twice
from tests.infra.emulator.durable.load import complete_chains
from tests.infra.emulator.durable.programs import check, functions
from tests.support.campaign import Campaign

pytestmark = pytest.mark.filterwarnings("ignore:azure.functions df_loads was called without expected_type")


async def test_killed_before_any_statement_it_loses_nothing_and_applies_nothing_twice(
    tmp_path: Path, campaign: Campaign
):
    """Two processes, each with every second moment of those that are tried."""
    every = campaign.rounds(15, 1)
    first = campaign.chance.randint(1, every)
    runs = await asyncio.gather(*(lives(tmp_path, first + part * every, 2 * every) for part in range(2)))
    reports = [report for run in runs for report in run]
    moments = sorted(report["killed_before"] for report in reports)
    assert moments[: 200 // every] == list(range(first, 201, every))[: 200 // every]
    twice = Counter(name for report in reports for name in ran_twice(report))
    print(f"{len(moments)} moments; ran twice: {dict(twice)}")
    assert twice or not campaign.full, "no activity was interrupted, so the campaign does not test anything"


@pytest.fixture
async def server() -> AsyncIterator[EngineServer]:
    server = EngineServer()
    await server.start()
    yield server
    await server.stop()


@pytest.mark.parametrize("schema", [0, 1, 2], ids=["V1", "V2", "V3"])
async def test_random_programs_have_the_same_result_as_a_direct_evaluation(
    server: EngineServer, schema: int, tmp_path: Path, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
):
    """Each round with a database of its own, and with histories from memory or from the file."""
    for number in range(campaign.rounds(1, 20)):
        monkeypatch.setattr("infra.emulator.durable.rows.CACHE_CHARACTERS", campaign.chance.choice([64 << 20, 1]))
        hub = await TaskHub(functions, server, tmp_path / f"{number}.db", schema=schema).start()
        await check(hub, campaign.chance, 40)
        await hub.stop()


async def test_thousands_of_instances_of_five_activities_complete(tmp_path: Path, campaign: Campaign):
    await complete_chains(tmp_path / "durable.db", campaign.rounds(200, 5000))
