"""Waiting for the end of a job."""

import asyncio
import time

import pytest

import function_app  # noqa: F401 - registers the kinds of jobs
from functions.gateway.job import KIND
from functions.jobs.ending import settle
from shared import jobs, notices
from shared.jobs import Exit, wait_until_ended
from shared.tables.ids import new_id
from tests.support.gateway import Gateway
from tests.support.runners import RECORDS

pytestmark = pytest.mark.usefixtures("app")


@pytest.fixture(autouse=True)
def nobody_waits_afterwards():
    yield
    assert len(jobs.ended_jobs) == 0


async def test_an_end_that_this_process_records_wakes_all_who_wait_without_a_look_at_the_records(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(notices, "FIRST_PAUSE", 600.0)
    job_id = await RECORDS[KIND](gateway)
    waiting = [asyncio.create_task(wait_until_ended(job_id, 600)) for _ in range(3)]
    await asyncio.sleep(0)
    await settle(job_id, KIND, Exit(reason="cancelled"))
    assert await asyncio.wait_for(asyncio.gather(*waiting), 60) == [True, True, True]


async def test_an_end_that_another_process_records_is_seen_in_the_records_once_the_run_is_final(gateway: Gateway):
    run = await gateway.run("sleep 0.2")
    assert await wait_until_ended(run["id"], 60)
    assert (await gateway.get(run["id"]))["status"] == "completed"
    assert await wait_until_ended(run["id"], 0)


async def test_an_exit_that_its_kind_has_not_recorded_yet_is_no_end(gateway: Gateway):
    job_id = await RECORDS[KIND](gateway)
    job = jobs.Job(id=job_id, kind=KIND, token_hash="", timeout=60, exit=Exit().model_dump(mode="json"))
    await jobs.jobs.insert(job)
    assert not await wait_until_ended(job_id, 0.1)


async def test_a_job_that_goes_on_or_has_no_record_has_not_ended_in_time(gateway: Gateway):
    before = time.monotonic()
    assert not await wait_until_ended(await RECORDS[KIND](gateway), 0.2)
    assert not await wait_until_ended(new_id(), 0.0)
    assert time.monotonic() - before >= 0.2


async def test_one_who_no_longer_waits_leaves_nothing_behind(gateway: Gateway):
    waiting = asyncio.create_task(wait_until_ended(await RECORDS[KIND](gateway), 600))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
