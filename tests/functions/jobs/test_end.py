"""The end of a job that is still printing: output in its log counts, later output is refused."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from starlette.requests import Request

import function_app  # noqa: F401 - registers the kinds of jobs
from functions.gateway.job import KIND
from functions.gateway.records import Run
from functions.gateway.store import runs
from functions.jobs.ending import settle
from functions.jobs.events import push_output
from infra.local.environment import Environment
from shared import blobs
from shared.http.errors import Gone
from shared.jobs import LOGS, Exit, Job, JobState, jobs, new_token
from tests.support.environments import connected
from tests.support.gateway import Gateway


@pytest.fixture
async def job(stack: Environment, gateway: Gateway) -> AsyncIterator[Job]:
    """The job of a run, without a container; its first output is in the log and not counted yet."""
    async with connected(**stack.app_settings):
        now = datetime.now(UTC)
        run = Run(client_id=gateway.id, prompt="", model="bash", options={"timeout": 60}, started_at=now)
        await runs.insert(run)
        job = await jobs.insert(Job(id=run.id, kind=KIND, token_hash=new_token()[1], timeout=60))
        await blobs.append(LOGS, run.id, 0, b"started\n")
        yield job


async def test_output_that_was_stored_but_not_yet_counted_is_kept(job: Job, gateway: Gateway):
    await settle(job.id, KIND, Exit(reason="timeout"))
    log = (await gateway.artifacts(job.id))["claude.log"]
    assert (log["size"], await gateway.download(log["id"])) == (8, b"started\n")
    assert (await gateway.get(job.id))["result"] == "started\n"


async def test_a_push_that_arrives_while_the_job_ends_is_refused_and_not_counted(job: Job):
    await settle(job.id, KIND, Exit(reason="cancelled"))

    async def body() -> dict[str, object]:
        return {"type": "http.request", "body": b"started\n"}

    with pytest.raises(Gone):  # the push had read the job before it ended
        await push_output(datetime.now(UTC), job, Request({"type": "http", "method": "POST", "headers": []}, body), 0)
    found = await jobs.get(job.id)
    assert (found.state, found.size, (found.exit or {})["size"]) == (JobState.ENDED, 8, 8)
