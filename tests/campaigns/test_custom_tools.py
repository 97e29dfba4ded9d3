"""Custom tools in warm containers: what breaks their limits, containers killed at work, and people side by side."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from functions.ownpilot.custom_tools.runs import tool_runs
from infra.local.environment import Environment
from shared.jobs import JobState, jobs
from tests.support.campaign import Campaign
from tests.support.environments import connected
from tests.support.ownpilot import OwnPilot
from tests.support.values import SHORT_CLOCKS, UNLIMITED
from tests.support.workers import pool_is_full

POOL = 2
LIMITS = {
    "while (true) {}": "more than 5 seconds",
    "while (true) await null;": "more than 5 seconds",
    "const all = []; while (true) all.push('x'.repeat(1e5) + all.length);": "more than 50 MB",
    "await new Promise(() => {});": "never happens",
    "await exec('kill -9 $PPID');": "",
    "return 'x'.repeat(2e6);": "too long",
}
SLEEP = {"await exec('sleep 60');": "did not end within 30 seconds"}
"""What a tool must not do, and what its user is told."""

OWN = """
    const left = (await fs.readdir(".")).includes("mine");
    await exec(`touch mine /tmp/of-${args.who}`);
    return [left, (await fs.readdir("/tmp")).filter((name) => name.startsWith("of-"))];
"""
END_OF_RUNNER = "await exec(\"kill -9 $(cut -d' ' -f4 /proc/$PPID/stat)\"); return 1;"
"""Kills the process that would report the result."""


@pytest.fixture(scope="module")
async def environment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Environment]:
    settings = {**UNLIMITED, **SHORT_CLOCKS, "RUNYARD_WARM": f"python={POOL}", "RUNYARD_APIS": "ownpilot"}
    environment = Environment.temporary(tmp_path_factory.mktemp("tools"), **settings)
    await environment.start()
    async with connected(**environment.app_settings):
        yield environment
    await environment.stop()


@pytest.fixture
async def http(environment: Environment) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=environment.url, timeout=230, trust_env=False) as http:
        yield http


async def run(me: OwnPilot, code: str, permission: str = "shell", **args: Any) -> dict[str, Any]:
    return await me.post(
        "/custom-tools/test", code=code, permissions=[permission, "filesystem"], testArguments=args
    )  # fmt: skip


async def nothing_is_left() -> None:
    """No run waits, and no job of one goes on."""
    async for each in tool_runs.all():
        assert each.done and not each.files
        with contextlib.suppress(LookupError):
            assert (await jobs.get(each.id)).state is JobState.ENDED


async def test_what_breaks_a_limit_ends_with_the_reason_and_the_next_run_is_whole(
    http: httpx.AsyncClient, campaign: Campaign
):
    me = OwnPilot(http)
    await pool_is_full(http, POOL)
    chosen = campaign.chance.sample([*LIMITS.items()], campaign.rounds(1, len(LIMITS)))
    for code, reason in [*chosen, *(SLEEP.items() if campaign.full else [])]:
        done = await run(me, code)
        assert done["isError"] and reason in done["result"], done
        assert (await run(me, "return 6 * 7;"))["result"] == "42"
    await nothing_is_left()


async def test_a_run_whose_reporter_is_killed_fails_alone(http: httpx.AsyncClient, campaign: Campaign):
    me = OwnPilot(http)
    for _ in range(campaign.rounds(1, 10)):
        done = await run(me, END_OF_RUNNER)
        assert done["isError"], done
        assert (await run(me, "return 6 * 7;"))["result"] == "42"
    await nothing_is_left()


async def test_no_run_ever_sees_what_another_has_left(http: httpx.AsyncClient, campaign: Campaign):
    people = [OwnPilot(http) for _ in range(3)]

    async def one(number: int) -> None:
        done = await run(people[number % 3], OWN, who=number % 3)
        assert not done["isError"], done
        assert done["result"] == f'[false,["of-{number % 3}"]]', done

    await asyncio.gather(*map(one, range(campaign.rounds(3, 30))))
    await nothing_is_left()
