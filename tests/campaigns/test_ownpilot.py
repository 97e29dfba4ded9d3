"""OwnPilot under generated requests, all of its operations; and under kills of the host in the middle of long work."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from functions.ownpilot.core.catalogue.sync import claims
from functions.ownpilot.core.custom_records import CustomRecord, custom_records
from infra.local.environment import Environment
from shared import deferred
from shared.tables import RecordNotFound
from tests.support.campaign import Campaign
from tests.support.environments import connected
from tests.support.generated import APIS, credentials, drive, operations_of
from tests.support.kills import kill
from tests.support.ownpilot import OwnPilot
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
async def callers(stack: Environment) -> dict[str, httpx.Headers]:
    return await credentials(stack)


async def test_responses_to_generated_requests_match_the_description(
    stack: Environment, callers: dict[str, httpx.Headers], campaign: Campaign
):
    operations = [*operations_of(APIS["ownpilot"])]
    for operation in campaign.chance.sample(operations, campaign.rounds(10, len(operations))):
        examples, number = campaign.rounds(5, 50), campaign.chance.randrange(10**9)
        await asyncio.to_thread(drive, operation, stack, callers, examples=examples, number=number)


async def answer(stack: Environment, document: dict[str, Any] | None) -> None:
    """Make models.dev say this, or what it says by itself."""
    paths = {"/api.json": {"text": json.dumps(document)}} if document else {}
    async with httpx.AsyncClient(trust_env=False) as client:
        set_ = await client.put(f"http://127.0.0.1:{stack.ports['providers']}/local/answers", json=paths)
        assert set_.status_code == 204


async def test_a_sync_whose_host_is_killed_takes_effect_whole_or_not_at_all(stack: Environment, campaign: Campaign):
    rounds = campaign.rounds(3, 60)
    expire, names = (lambda claim: setattr(claim, "until", datetime.now(UTC))), [f"killed-{n}" for n in range(5)]
    async with (
        connected(**stack.app_settings),
        httpx.AsyncClient(base_url=stack.url, timeout=60, trust_env=False) as http,
    ):
        me, seen = OwnPilot(http), {""}
        for number in range(rounds):
            models = {f"m{each}": {"name": f"version {number}"} for each in range(200)}
            await answer(stack, {name: {"name": f"version {number}", "models": models} for name in names})
            sync = asyncio.create_task(me.send("POST", "/model-configs/sync/apply"))
            await asyncio.sleep(campaign.chance.uniform(0, 0.3))
            await kill(stack, "host")
            with contextlib.suppress(httpx.TransportError):
                await sync
            found = {each["id"]: each for each in (await me.get("/providers"))["providers"]}
            versions = {found[name]["name"] if name in found else "" for name in names}
            assert len(versions) == 1 and versions <= {*seen, f"version {number}"}, versions
            assert "openai" in found
            seen = versions
            with contextlib.suppress(RecordNotFound):  # no sync came so far
                await claims.update((await claims.find("name", "catalogue")).id, expire)
        await me.data("POST", "/model-configs/sync/apply")
        assert {(await me.get(f"/providers/{name}"))["name"] for name in names} == {f"version {rounds - 1}"}
    await answer(stack, None)


async def end_leases() -> None:
    """Deferred work that a dead host had begun is begun anew when its message comes again, not after ten minutes."""
    async for item in deferred.items.all():
        with contextlib.suppress(RecordNotFound):  # it was put back meanwhile
            await deferred.items.update(item, lambda it: setattr(it, "until", datetime.now(UTC)))


async def test_a_table_whose_deletion_is_interrupted_by_kills_leaves_no_record(stack: Environment, campaign: Campaign):
    column = {"name": "n", "type": "number"}
    async with (
        connected(**stack.app_settings),
        httpx.AsyncClient(base_url=stack.url, timeout=60, trust_env=False) as http,
    ):
        me = OwnPilot(http)
        for _ in range(campaign.rounds(2, 20)):
            table = await me.post("/custom-data/tables", name="own", displayName="Own", columns=[column])
            old = CustomRecord(user_id=me.user, table_id=table["id"], data={"n": 1})
            records = custom_records.of(me.user)
            await asyncio.gather(*(records.insert(old.model_copy(update={"id": old.new_id()})) for _ in range(300)))
            deletion = asyncio.create_task(me.send("DELETE", "/custom-data/tables/own"))
            await asyncio.sleep(campaign.chance.uniform(0, 1.5))  # the records go a second after the definition
            await kill(stack, "host")
            await end_leases()
            with contextlib.suppress(httpx.TransportError):
                await deletion
            answer = await me.send("DELETE", "/custom-data/tables/own")
            assert answer.status_code in (200, 404), answer.text
            await me.post("/custom-data/tables", name="own", displayName="Own", columns=[column])
            assert (await me.get("/custom-data/tables/own/records"))["total"] == 0

            async def left(id_: str = table["id"]) -> int:
                return await custom_records.of(me.user).count({"table_id": id_})

            await eventually(left, until=lambda count: count == 0, seconds=120)
            await me.data("DELETE", "/custom-data/tables/own")
