"""Triggers: a year of schedules, clocks that jump, and kills of the host while many fire."""

import asyncio
import contextlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from functions.ownpilot.core.cron import next_due, zone_of
from functions.ownpilot.core.trigger_store import firings, note_due, stored_triggers
from functions.ownpilot.triggers.timers import fire_due
from infra.local.environment import Environment
from shared.workflows import WorkflowClient
from tests.support.campaign import Campaign
from tests.support.cron import due_in, minutes_of, utc
from tests.support.environments import connected
from tests.support.kills import kill
from tests.support.ownpilot import OwnPilot
from tests.support.waiting import eventually

ZONES = [
    "UTC", "Europe/Berlin", "Europe/London", "Europe/Dublin", "Europe/Lisbon", "Africa/Cairo", "Africa/Casablanca",
    "America/New_York", "America/Sao_Paulo", "America/St_Johns", "America/Havana", "America/Santiago",
    "America/Asuncion", "Asia/Beirut", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Gaza", "Australia/Lord_Howe",
    "Australia/Adelaide", "Pacific/Chatham", "Pacific/Kiritimati", "Atlantic/Azores",
]  # fmt: skip
EXPRESSIONS = [
    "0 9 * * 1-5", "30 2 * * *", "0,30 0-3 * * *", "15 */2 * * *", "0 * * * *", "*/20 * * * *", "59 23 31 * *",
    "5 1 1,15 * SUN", "0 0 * * *", "45 1-3 * 3,10 *",
]  # fmt: skip
DAYS = 366


def test_a_year_of_schedules_in_every_zone_is_what_a_slow_reference_says(campaign: Campaign):
    zones = ZONES if campaign.full else campaign.chance.sample(ZONES, 2)
    for zone in zones:
        year = campaign.chance.randrange(2024, 2031)
        first = 0 if campaign.full else campaign.chance.choice([60, 270])  # when many clocks change
        start = utc(f"{year}-01-01T00:00") + timedelta(days=first)
        minutes = minutes_of(zone, start, start + timedelta(days=campaign.rounds(50, DAYS)))
        for expression in campaign.chance.sample(EXPRESSIONS, 4):
            at = start - timedelta(minutes=1)
            for due in due_in(expression, minutes):
                at = next_due(expression, zone_of(zone), at)
                assert at == due, (zone, expression, due)


class Started(WorkflowClient):
    """Takes the place of workflows: counts the orders of firings, each of which ends at once."""

    def __init__(self) -> None:
        self.occasions: Counter[str] = Counter()

    async def start(self, name: str, instance_id: str, value: Any = None) -> None:
        self.occasions[value["occasion"]] += 1

    async def status(self, instance_id: str) -> str | None:
        return "COMPLETED"


async def make(me: OwnPilot, cron: str) -> str:
    body = {"name": "t", "type": "schedule", "config": {"cron": cron}, "action": {"type": "notification"}}
    return (await me.post("/triggers", **body))["trigger"]["id"]


def named(trigger: str, at: datetime) -> str:
    return f"{trigger} {at:%Y%m%dT%H%M%SZ}"


async def test_clocks_that_jump_fire_no_time_twice_and_miss_none_for_good(stack: Environment, campaign: Campaign):
    async with (
        connected(**stack.app_settings),
        httpx.AsyncClient(base_url=stack.url, timeout=60, trust_env=False) as http,
    ):
        me, started = OwnPilot(http), Started()
        # In a year: the timer of the real host takes none of it.
        start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=400)
        trigger = await make(me, "*/3 * * * *")
        await note_due(me.user, trigger, start)
        await stored_triggers.of(me.user).update(trigger, lambda it: setattr(it, "next_fire", start))
        steps, highest = campaign.rounds(20, 400), start
        for minute in range(steps):
            true = start + timedelta(minutes=minute)
            jump = timedelta(seconds=campaign.chance.choice([0, 0, 0, -3600, 600]))
            highest = max(highest, true + jump)
            await asyncio.gather(fire_due(started, true), fire_due(started, true + jump), fire_due(started, true))
        mine = {each for each in started.occasions if each.startswith(trigger)}
        possible = {named(trigger, start + timedelta(minutes=3 * each)) for each in range(steps + 20)}
        assert named(trigger, start) in mine and mine <= possible
        # A jump ahead passes over the times in between; afterwards the true clock goes on behind it.
        end = highest + timedelta(minutes=4)
        before = len(mine)
        await fire_due(started, end)
        assert len({each for each in started.occasions if each.startswith(trigger)}) == before + 1


async def test_each_due_time_has_one_line_of_history_however_often_the_host_is_killed(
    stack: Environment, campaign: Campaign
):
    async with (
        connected(**stack.app_settings),
        httpx.AsyncClient(base_url=stack.url, timeout=60, trust_env=False) as http,
    ):
        me = OwnPilot(http)
        rounds, each_time, wanted = campaign.rounds(2, 20), 10, set[str]()

        async def minute() -> None:
            with contextlib.suppress(httpx.TransportError):
                await http.post("/admin/functions/maintenance_minute", json={})

        at = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
        for _ in range(rounds):
            for trigger in [await make(me, "0 0 29 2 *") for _ in range(each_time)]:
                await note_due(me.user, trigger, at)
                await stored_triggers.of(me.user).update(trigger, lambda it: setattr(it, "next_fire", at))
                wanted.add(named(trigger, at))
            firing = asyncio.create_task(minute())
            await asyncio.sleep(campaign.chance.uniform(0, 1.5))
            await kill(stack, "host")
            await firing

        async def lines() -> Counter[str]:
            await minute()
            await asyncio.sleep(1)
            return Counter([each.occasion or "" async for each in firings.of(me.user).all()])

        found = await eventually(lines, seconds=400, until=lambda it: set(it) == wanted)
        assert set(found.values()) == {1}

        async def counts() -> set[int]:
            fired = {each.partition(" ")[0] for each in wanted}
            return {each.fire_count async for each in stored_triggers.of(me.user).all() if each.id in fired}

        await eventually(counts, until=lambda it: it == {1})
