"""Environments while the container service fails at every call, and while the host is killed at any moment."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import httpx
import pytest

from functions.dev8 import places
from functions.dev8.reconciliation import reconcile
from functions.dev8.records import IN_MOTION, RUNNING, STOPPED, DevEnvironment, TakenPlace
from functions.dev8.store import environments
from infra.local.environment import Environment
from shared import shares
from shared.workflows import WorkflowClient
from tests.support.arm_faults import FAULTS, ArmProxy, arm_proxy
from tests.support.campaign import Campaign
from tests.support.dev8 import NEW, PATH, Dev8, client_of, new_user
from tests.support.environments import connected
from tests.support.groups import groups
from tests.support.kills import kill
from tests.support.values import SHORT_CLOCKS, UNLIMITED
from tests.support.waiting import eventually

CALLS = (
    ("PUT", "/shares/"), ("POST", "/listKeys"), ("PUT", "/containerGroups/env-"), ("GET", "/containerGroups/env-"),
    ("POST", "/stop"), ("POST", "/start"), ("DELETE", "/containerGroups/env-"), ("DELETE", "/shares/"),
)  # fmt: skip
"""Every call of a life cycle, by its method and a part of its path."""

LONGEST = 150.0
"""Seconds after which no further host is killed."""

OUTAGE = 2.0
"""Seconds for which a fault lasts that does not only meet one call."""


@dataclass
class Own:
    """An environment of these tests alone, which may be killed, and the proxy through which it calls."""

    stack: Environment
    dev8: Dev8
    arm: ArmProxy

    async def send(self, method: str, path: str, **sent: Any) -> httpx.Response | None:
        """The answer to a request, None when the host dies meanwhile; no answer has another shape than documented."""
        try:
            answer = await self.dev8.http.request(method, path, **sent)
        except httpx.TransportError:
            return None
        assert answer.status_code < 500 or set(answer.json()) == {"error", "message", "code"}, answer.text
        return answer

    async def cycle(self) -> None:
        """Create an environment, stop, start and delete it, each as soon as it may be done; what fails is not done."""
        answer = await self.send("POST", PATH, json={**NEW, "userId": new_user()})
        if answer is None or answer.status_code != 201:
            return
        environment_id = answer.json()["environment"]["id"]
        for what in ("stop", "start"):
            if await self.rests(environment_id) in ("ERROR", "gone"):
                break
            await self.send("POST", f"{PATH}/{environment_id}/{what}")
        if await self.rests(environment_id) != "gone":
            await self.send("DELETE", f"{PATH}/{environment_id}")

    async def rests(self, environment_id: str) -> str:
        """The status of an environment as soon as it rests."""

        async def status() -> str:
            answer = await self.send("GET", f"{PATH}/{environment_id}")
            if answer is None or answer.status_code == 503:
                return "unknown"
            return answer.json()["environment"]["status"] if answer.status_code == 200 else "gone"

        # An order whose host was killed before its workflow began is found by a timer after 90 to 150 seconds.
        return await eventually(status, until=lambda found: found not in (*IN_MOTION, "unknown"), seconds=200)

    async def settled(self) -> list[DevEnvironment]:
        """The records once all rest, after what a crash has left was seen through."""

        async def moving() -> list[DevEnvironment]:
            found = [each async for each in environments.all()]
            moving = [each for each in found if each.status in IN_MOTION]
            for each in moving:  # instead of waiting for minutes
                try:
                    await environments.update(each.id, _age)
                except Exception:
                    pass
            if moving:
                await self.send(
                    "POST", str(self.dev8.http.base_url.join("/admin/functions/maintenance_minute")), json={}
                )
                await asyncio.sleep(1)
            return moving

        await eventually(moving, until=lambda found: not found, seconds=150)
        return [each async for each in environments.all()]

    async def agrees(self) -> None:
        """Check that records, groups, shares and places are those of the same environments."""
        records = await self.settled()
        living = {each.id for each in records if each.status in (RUNNING, STOPPED)}
        assert set(await groups(self.stack)) == living
        names = {name.removeprefix("workspace-") async for name in shares.names("dev8shares")}
        assert names == living
        known = {each.id for each in records}
        everyone = places.places.of(places.EVERYONE)
        for place in [one async for one in everyone.all() if one.environment_id not in known]:
            await everyone.update(place.id, _forget_since)  # instead of waiting for an hour
        await reconcile(cast("WorkflowClient", None))
        assert {place.environment_id async for place in everyone.all()} == known
        await asyncio.gather(*(self.dev8.delete(each.id) for each in records))


def _age(record: DevEnvironment) -> None:
    record.moved_at -= timedelta(hours=1)


def _forget_since(place: TakenPlace) -> None:
    """Let a place be old, which an interrupted creation has taken, or an interrupted deletion has left."""
    place.since -= 2 * places.STALE


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Own]:
    """An environment of these tests alone."""
    limits = {"DEV8_ENVIRONMENTS": "100", "RUNYARD_ARM_TIMEOUT": "1", "DEV8_START_DEADLINE": "30"}
    settings: dict[str, str] = {**UNLIMITED, **SHORT_CLOCKS, **limits}
    stack = Environment.temporary(tmp_path_factory.mktemp("dev8"), **settings)
    async with arm_proxy(f"http://127.0.0.1:{stack.ports['containers']}") as arm:
        stack.settings = {**stack.settings, "RUNYARD_ARM_ENDPOINT": arm.url}
        await stack.start()
        try:
            async with client_of(stack) as dev8, connected(**stack.app_settings):
                yield Own(stack, dev8, arm)
        finally:
            await stack.stop()


async def test_whatever_call_fails_record_groups_and_shares_agree_in_the_end(own: Own, campaign: Campaign):
    kinds: list[Any] = []  # call, fault, whether only one call meets it
    for call in CALLS:
        kinds += [*((call, each, True) for each in FAULTS), (call, campaign.chance.choice(FAULTS), False)]
    for (method, ending), fault, once in campaign.chance.sample(kinds, campaign.rounds(6, len(kinds))):
        own.arm.calls.clear()
        with own.arm.failing(fault, method, ending, times=1 if once else 1000):
            working = asyncio.create_task(own.cycle())
            await asyncio.wait([working], timeout=None if once else OUTAGE)
        await working
        starts = Counter(
            path for called, path, met in own.arm.calls if path.endswith("/start") and met in (None, "late")
        )
        assert max(starts.values(), default=0) <= 1, (method, ending, fault, once)
    await own.agrees()


async def test_wherever_the_host_is_killed_record_groups_and_shares_agree_in_the_end(own: Own, campaign: Campaign):
    began = time.monotonic()
    for _ in range(campaign.rounds(2, 100)):
        if time.monotonic() - began > LONGEST:
            break
        working = [asyncio.create_task(own.cycle()) for _ in range(3)]
        await asyncio.sleep(campaign.chance.uniform(0, 2.5))
        await kill(own.stack, "host")
        await asyncio.gather(*working)
    await own.agrees()


async def test_twenty_creations_of_one_user_at_once_are_exactly_as_many_as_it_may_have(own: Own):
    body = {**NEW, "userId": new_user()}
    answers = await asyncio.gather(*(own.dev8.http.post(PATH, json=body) for _ in range(20)))
    assert Counter(answer.status_code for answer in answers) == {201: 10, 400: 10}
    await own.agrees()


async def test_many_environments_run_side_by_side_each_under_its_own_url(own: Own, campaign: Campaign):
    count = campaign.rounds(4, 50)
    made = await asyncio.gather(*(own.dev8.create() for _ in range(count)))
    running = await asyncio.gather(*(own.dev8.reach(each["id"], "RUNNING", seconds=170) for each in made))
    assert len({each["vsCodeUrl"] for each in running}) == count

    async with httpx.AsyncClient(verify=False, trust_env=False, timeout=30) as http:

        async def reachable(url: str) -> bool:
            async def opened() -> int:
                try:
                    return (await http.get(url)).status_code
                except httpx.TransportError:
                    return 0

            return await eventually(opened, until=lambda status: status in (200, 302), seconds=240) > 0

        await asyncio.gather(*(reachable(each["vsCodeUrl"]) for each in running))
        await asyncio.gather(*(own.dev8.delete(each["id"]) for each in running))
        for each in running:
            with pytest.raises(httpx.TransportError):
                await http.get(each["vsCodeUrl"])
    await own.agrees()
    assert not list((own.stack.state / "containers/groups").glob("*"))
