"""Blobs as input files of a job, and the file that it reports with its exit."""

import random
from base64 import b64encode
from datetime import UTC, datetime

import httpx
import pytest

from functions.gateway.job import KIND
from functions.jobs import activities
from functions.jobs.ending import settle
from infra.local.environment import Environment
from shared import blobs
from shared.jobs import ARTIFACTS, INPUTS, REPORT_BYTES, BlobInput, Exit, Job, JobSpec, JobState, jobs
from shared.tables.ids import new_id
from tests.support.gateway import Gateway
from tests.support.groups import removed
from tests.support.runners import RECORDS, runner_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("app")

ANSWER = '{"result": "%s", "is_error": false, "tokens": 1, "cost": 0}'
"""What a run reports of which the result is that of a model."""

REPORT_THE_SIZE = b"""mkdir out
printf '{"result": "%s", "is_error": false, "tokens": 1, "cost": 0}' "$(wc -c < folder/data)" > out/report.json
"""


async def test_a_blob_is_an_input_file_and_stays_and_a_file_is_reported_with_the_exit(
    stack: Environment, gateway: Gateway
):
    run_id, blob = await RECORDS[KIND](gateway), f"tests/{new_id()}"
    await blobs.put(ARTIFACTS, blob, b"x" * 100_000)
    inputs = {"folder/data": BlobInput(ARTIFACTS, blob), "make.sh": REPORT_THE_SIZE, "large": b"y" * 5000}
    spec = JobSpec(["sh", "make.sh"], 60, inputs=inputs, report="out/report.json")
    assert await activities._start(run_id, KIND, spec) == ["large"]
    run = await gateway.reach(run_id)
    assert (run["status"], run["result"]) == ("completed", "100000")
    end = Exit.model_validate((await jobs.get(run_id)).exit)
    assert (end.report, end.skipped) == (ANSWER % 100_000, [])
    await activities.job_remove._function.get_user_function()({"id": run_id, "kind": KIND})
    await eventually(lambda: removed(stack, run_id))
    assert (await blobs.info(ARTIFACTS, blob)).size == 100_000
    with pytest.raises(blobs.BlobNotFound):
        await blobs.info(INPUTS, f"{run_id}/large")


async def test_a_report_of_the_largest_size_that_is_not_text_is_kept_with_its_bytes_replaced(
    gateway: Gateway, http: httpx.AsyncClient
):
    runner = await runner_of(KIND, gateway, http)
    data = random.Random(1).randbytes(REPORT_BYTES)
    over = {"exit_code": 1, "reason": "exited", "size": 0, "report": b64encode(b"x" * (REPORT_BYTES + 1)).decode()}
    assert (await runner.post("exit", over)).status_code == 400
    assert (await runner.post("exit", {**over, "report": "no base64"})).status_code == 400
    assert (await runner.post("exit", {**over, "report": b64encode(data).decode()})).status_code == 200
    exit_ = (await jobs.get(runner.job.id)).exit
    assert exit_ and exit_["report"] == data.decode("utf-8", "replace")


async def test_the_report_is_there_when_the_end_is_recorded_after_a_crash(gateway: Gateway):
    end = Exit(at=datetime.now(UTC), exit_code=0, reason="exited", report=ANSWER % "kept")
    job = Job(id=await RECORDS[KIND](gateway), kind=KIND, token_hash="", timeout=60, state=JobState.ENDED)
    job.exit = end.model_dump(mode="json")
    await jobs.insert(job)
    await settle(job.id, KIND, Exit())
    assert (await gateway.get(job.id))["result"] == "kept"
