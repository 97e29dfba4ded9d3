"""Reports of a runner that is not to be trusted: bounds, uploads that differ, ends of jobs that have ended."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from functions.gateway.job import KIND
from functions.gateway.records import Run
from functions.gateway.store import runs
from functions.jobs import events
from functions.jobs.ending import settle
from infra.local.environment import Environment
from shared import blobs
from shared.jobs import ARTIFACTS, LOGS, Exit, Job, JobState, jobs
from shared.tables import StorageUnavailable
from tests.support.environments import connected
from tests.support.gateway import Gateway
from tests.support.runners import FILES, POISON, Runner, runner_of


@pytest.fixture
async def runner(stack: Environment, gateway: Gateway, http: httpx.AsyncClient) -> AsyncIterator[Runner]:
    """The runner of a run of the gateway."""
    async with connected(**stack.app_settings):
        yield await runner_of(KIND, gateway, http)


async def test_exits_out_of_bounds_are_refused_and_a_bare_one_gets_through(runner: Runner, gateway: Gateway):
    reports = {**POISON, **{name: {"files": [runner.file(**file)]} for name, file in FILES.items()}}
    reports["too many files"] = {"files": [runner.file()] * 1001}
    for name, report in reports.items():
        answer = await runner.post("exit", {"exit_code": 0, "reason": "exited", "size": 0, **report})
        assert answer.status_code in (400, 409, 413, 422), (name, answer.status_code, answer.text)
    for body in (b"[" * 100_000, b"x" * 100, b"1" * 100_000, b'{"exit_code":' + b"1" * 5000 + b"}"):
        assert (await runner.post("exit", body)).status_code in (400, 413, 422)
    assert (await runner.post("exit", b" " * 17_000_000)).status_code == 413
    assert (await jobs.get(runner.job.id)).exit is None
    answer = await runner.post("exit", {"exit_code": 0, "reason": "exited", "size": 0, "at": "0001-01-01T00:00:00Z"})
    assert answer.status_code == 200
    await settle(runner.job.id, KIND, Exit(reason="lost"))
    run = await gateway.get(runner.job.id)
    assert run["status"] == "completed"
    assert run["completed_at"] > run["started_at"]


async def test_offsets_and_captures_out_of_bounds_are_refused(runner: Runner):
    for offset in (1, 2**63, 10**30, "1" * 5000):
        assert (await runner.post(f"events?offset={offset}", b"x")).status_code in (400, 409, 413, 422)
    for capture in ({"end": 2**63}, {"line": -1}, {"path": "x" * 100_000}, {"path": "\ud800"}):
        answer = await runner.post("captures", {"line": 0, "end": 1, "path": "x", **capture})
        assert answer.status_code in (400, 413, 422)


async def test_output_over_the_limit_is_refused(stack: Environment, runner: Runner):
    job = runner.job

    def grow(record: Job) -> None:
        record.size = 101_000_000

    await jobs.update(job.id, grow)
    answer = await runner.post("events?offset=101000000", b"x")
    assert (answer.status_code, answer.json()) == (413, {"error": "Output is over 100000000 bytes"})


async def test_uploads_that_are_not_as_declared_are_deleted_and_the_others_kept(runner: Runner, gateway: Gateway):
    good = await runner.upload("good", 3, b"abc")
    large = await runner.upload("large", 1, b"x" * 1_000_000)
    never = runner.file(name="never", blob=f"{KIND}/{runner.job.id}/never")
    report = {"exit_code": 0, "reason": "exited", "size": 0, "files": [good, large, never]}
    assert (await runner.post("exit", report)).status_code == 200
    for _ in range(2):  # a repeat after a crash comes to the same
        await settle(runner.job.id, KIND, Exit(reason="lost"))
        assert set(await gateway.artifacts(runner.job.id)) == {"good"}
    with pytest.raises(blobs.BlobNotFound):
        await blobs.info(ARTIFACTS, large["blob"])


async def test_a_captured_upload_that_is_larger_than_declared_is_deleted_and_recorded_with_the_reason(runner: Runner):
    large = await runner.upload("large", 1, b"x" * 1_000_000)
    answer = await runner.post("captures", {"line": 0, "end": 10, "path": "large", "file": large})
    assert answer.status_code == 200
    (captured,) = (await jobs.get(runner.job.id)).captured
    assert (captured.file, captured.reason) == (None, "1000000 bytes were uploaded instead of 1")
    with pytest.raises(blobs.BlobNotFound):
        await blobs.info(ARTIFACTS, large["blob"])


async def test_a_stored_exit_that_cannot_be_read_ends_the_job_with_a_reason(runner: Runner, gateway: Gateway):
    def spoil(record: Job) -> None:
        record.exit = {"exit_code": 0, "reason": "exited", "files": [runner.file(size=10**30)]}

    await jobs.update(runner.job.id, spoil)
    await settle(runner.job.id, KIND, Exit(reason="lost"))
    run = await gateway.get(runner.job.id)
    assert (run["status"], run["error"]) == ("failed", "Its report could not be read")


async def test_a_repeated_exit_changes_nothing_and_one_of_an_ended_job_is_410(runner: Runner):
    for code, status in ((0, 200), (7, 410)):
        answer = await runner.post("exit", {"exit_code": code, "reason": "exited", "size": 0})
        assert answer.status_code == status
    assert ((await jobs.get(runner.job.id)).exit or {})["exit_code"] == 0
    await settle(runner.job.id, KIND, Exit(reason="lost"))
    for path, body in (("exit", {"exit_code": 0, "size": 0}), ("events?offset=0", b"x"), ("files", {})):
        assert (await runner.post(path, body)).status_code == 410


async def test_a_push_for_a_run_that_has_ended_is_told_to_stop(runner: Runner):
    await runs.update(runner.job.id, Run.cancel)
    for data in (b"", b"line\n"):
        answer = await runner.post("events?offset=0", data)
        assert (answer.status_code, answer.json()) == (200, {"offset": len(data), "stop": True})
    assert (await jobs.get(runner.job.id)).state is JobState.RUNNING
    assert await blobs.get(LOGS, runner.job.id) == b"line\n"


def exit_with(size: int, output: bytes, **members: Any) -> dict[str, Any]:
    """The report of a good exit, with the last output."""
    return {"exit_code": 0, "reason": "exited", "size": size, "output": b64encode(output).decode(), **members}


class TestReports:
    async def test_a_single_push_starts_prints_and_ends_a_run(
        self, stack: Environment, runner: Runner, gateway: Gateway
    ):
        url = f"ws://127.0.0.1:{stack.ports['host']}/gateway/ws"
        async with connect(url, proxy=None) as socket:
            await socket.send(json.dumps({"type": "auth", "api_key": gateway.key}))
            await socket.send(json.dumps({"type": "ping"}))
            while json.loads(await socket.recv())["type"] != "pong":  # then the socket gets all updates
                pass
            assert (await runner.post("exit", exit_with(6, b"hello\n", ages="0:0.1", ran=0.25))).status_code == 200
            told: list[Any] = []
            while told[-2:] != ["completed", "completed"]:
                event = json.loads(await socket.recv())
                if event.get("run_id") == runner.job.id:
                    told.append(event.get("status") or (event["offset"], event["text"]))
        assert told == ["running", (0, "hello\n"), "completed", "completed"]
        run = await gateway.get(runner.job.id)
        assert (run["status"], run["result"], run["artifact_count"]) == ("completed", "hello\n", 1)
        assert 0 < (await runs.get(runner.job.id)).seconds <= 0.25
        assert await blobs.get(LOGS, runner.job.id) == b"hello\n"

    async def test_the_last_output_may_repeat_what_was_pushed_but_not_leave_a_gap(
        self, runner: Runner, gateway: Gateway
    ):
        assert (await runner.post("events?offset=0", b"hel")).status_code == 200
        assert (await runner.post("exit", exit_with(9, b"more\n"))).status_code == 409
        assert (await runner.post("exit", exit_with(2, b""))).status_code == 409
        assert (await runner.post("exit", exit_with(3, b"hello\n"))).status_code == 409
        assert (await runner.post("exit", exit_with(6, b"hello\n"))).status_code == 200
        assert (await gateway.get(runner.job.id))["result"] == "hello\n"

    async def test_an_end_that_cannot_be_recorded_now_is_left_to_the_workflow(
        self, runner: Runner, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ):
        async def unavailable(job: Job) -> None:
            raise StorageUnavailable("not now")

        signals: list[tuple[str, str, object]] = []

        class Workflows:
            async def signal(self, instance_id: str, event: str, value: object = None) -> bool:
                signals.append((instance_id, event, value))
                return True

        monkeypatch.setattr(events, "record_end", unavailable)
        body = events.Report.model_validate(exit_with(6, b"hello\n"))
        await events.push_exit(datetime.now(UTC), await jobs.get(runner.job.id), body, Workflows())  # type: ignore[arg-type]
        assert signals == [(runner.job.id, "finished", False)]
        assert (await runner.post("exit", exit_with(6, b"hello\n"))).status_code == 410
        assert (await gateway.get(runner.job.id))["status"] == "pending"
        await settle(runner.job.id, KIND, Exit(reason="lost"))
        run = await gateway.get(runner.job.id)
        assert (run["status"], run["result"]) == ("completed", "hello\n")
