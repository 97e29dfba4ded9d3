"""Warm containers: jobs that run in containers which waited for them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

import function_app  # noqa: F401 - registers the kinds of jobs
from bench.recorder import Recorder, recording
from functions.gateway.job import KIND
from functions.jobs import activities
from infra.emulator import azurite
from infra.local.environment import Environment
from shared import containers, realtime, warm
from shared.jobs import WORKFLOW, Job, JobSpec, jobs, wait_until_ended
from shared.tables.ids import new_id
from shared.warm import Worker, WorkerState, workers
from tests.support.environments import connected
from tests.support.gateway import Gateway, register
from tests.support.groups import groups, processes_with
from tests.support.ownpilot import OwnPilot
from tests.support.runners import RECORDS
from tests.support.values import SHORT_CLOCKS, UNLIMITED
from tests.support.waiting import eventually
from tests.support.workers import all_workers, pool_is_full, spare_workers, worker_of

SIZE = 2
CALLS = 14
"""Calls of tables of a run in a warm container that its client has already, from the request to the next `done`."""


@dataclass
class Own:
    """An environment with a pool, and a client of the gateway."""

    environment: Environment
    gateway: Gateway
    recorder: Recorder

    @property
    def http(self) -> httpx.AsyncClient:
        return self.gateway.http

    async def done(self, command: str, **options: Any) -> dict[str, Any]:
        """A run of a shell command at its end."""
        return await self.gateway.reach((await self.gateway.run(command, **options))["id"])

    async def placed(self, command: str, **options: Any) -> tuple[str, Worker]:
        """The id of a run that goes on in a warm container, and its worker."""
        run = await self.gateway.run(command, **options)
        await self.gateway.reach(run["id"], "running")
        worker = await worker_of(run["id"])
        assert worker is not None, "the run has a container of its own"
        return run["id"], worker

    async def free(self, worker: Worker) -> Worker:
        """A worker once it waits again."""
        return await eventually(lambda: workers.get(worker.id), until=lambda found: found.state is WorkerState.IDLE)


@pytest.fixture(scope="module")
async def recorded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Environment, Recorder]]:
    """An environment with a pool, whose storage is reached through a recorder of requests."""
    settings = {**UNLIMITED, **SHORT_CLOCKS, "RUNYARD_WARM": f"python={SIZE}"}
    environment = Environment.temporary(tmp_path_factory.mktemp("warm"), **settings)
    async with recording({"blob": environment.ports["blob"], "table": environment.ports["table"]}) as recorder:
        ports = {**environment.ports, **recorder.ports}
        through = azurite.connection_string(ports["blob"], ports["queue"], ports["table"], environment.keys.storage)
        environment.settings = {**settings, "AzureWebJobsStorage": through}
        await environment.start()
        environment.allow(f"http://127.0.0.1:{ports['blob']}/{azurite.ACCOUNT}/")
        yield environment, recorder
        await environment.stop()


@pytest.fixture
async def own(recorded: tuple[Environment, Recorder]) -> AsyncIterator[Own]:
    """A client without workers of its own, and a full pool."""
    environment, recorder = recorded
    gateway = await register(environment)
    async with connected(**environment.app_settings):
        await pool_is_full(gateway.http, SIZE)
        yield Own(environment, gateway, recorder)
    await gateway.http.aclose()


class TestTrees:
    async def test_the_files_of_a_workspace_stay_in_its_container_and_only_changed_ones_are_sent(self, own: Own):
        me = OwnPilot(own.http)
        workspace = (await me.post("/workspaces", name="w"))["id"]
        at = f"/workspaces/{workspace}"
        for name in ("a", "b", "c"):
            await me.data("PUT", f"{at}/files/{name}", json={"content": name})

        async def run(code: str) -> tuple[str, str, int]:
            """What it has printed, the worker on which it ran, and how many files were downloaded for it."""
            own.recorder.passed.clear()
            done = await me.post(f"{at}/execute", language="shell", code=code)
            worker = await worker_of(done["executionId"])
            assert worker is not None, "the execution has a container of its own"
            await own.free(worker)
            fetched = [each for each in own.recorder.passed if each.method == "GET" and "/workspaces/" in each.path]
            return done["stdout"], worker.id, len(fetched)

        _, worker, fetched = await run("cat a b c; rm a; echo new > b; echo d > d; echo left > /tmp/left")
        assert fetched == 3
        await me.data("PUT", f"{at}/files/c", json={"content": "changed"})
        assert await run("cat b c d; ls") == ("new\nchangedd\nb\nc\nd\n", worker, 1)
        assert await run("ls -A ../workspace | wc -l") == ("5\n", worker, 0)
        other = OwnPilot(own.http)
        theirs = (await other.post("/workspaces", name="w"))["id"]
        await pool_is_full(own.http, SIZE)
        done = await other.post(f"/workspaces/{theirs}/execute", language="shell", code="ls -A . /tmp")
        assert "left" not in done["stdout"] and (await worker_of(done["executionId"])) is not None
        await me.data("DELETE", at)
        await eventually(all_workers, until=lambda found: worker not in {each.id for each in found})


class TestPlacing:
    async def test_a_run_takes_a_waiting_container_and_the_pool_is_filled_again(self, own: Own):
        waiting = {worker.id for worker in await spare_workers()}
        done = await own.done("mkdir artifacts; echo kept > artifacts/a.txt; echo hello; exit 3")
        worker = await worker_of(done["id"])
        assert worker and worker.id in waiting
        assert worker.owner == f"gateway {own.gateway.id}"
        assert (done["status"], done["result"], done["error"]) == ("failed", "hello\n", "Exited with code 3")
        assert set(await own.gateway.artifacts(done["id"])) == {"a.txt", "claude.log"}
        await eventually(spare_workers, until=lambda found: len(found) == SIZE)
        assert f"job-{done['id']}" not in await groups(own.environment)

    async def test_the_next_job_of_the_owner_gets_the_same_container_and_nothing_of_the_one_before(self, own: Own):
        left = "echo x > left; chmod 0 .; (trap '' TERM; exec setsid sleep 987654) & sleep 0.2"
        first = await own.done(left)
        worker = await worker_of(first["id"])
        assert worker
        await own.free(worker)
        assert await processes_with("987654") == []
        second = await own.done("ls -A")
        assert second["result"] == "main.sh\n"
        again = await worker_of(second["id"])
        assert again and again.id == worker.id

    async def test_another_owner_never_gets_the_container(self, own: Own):
        mine = await worker_of((await own.done("true"))["id"])
        assert mine
        await own.free(mine)
        other = await register(own.environment)
        theirs = await worker_of((await other.reach((await other.run("true"))["id"]))["id"])
        await other.http.aclose()
        assert theirs is None or theirs.id != mine.id

    async def test_a_job_sees_neither_the_token_of_the_hub_nor_an_order(self, own: Own):
        program = "env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>&1 | tr '\\0' '\\n'; true"
        shown = (await own.done(program))["result"]
        assert "RUNYARD_WARM" not in shown
        assert "access_token" not in shown and "eyJ" not in shown and '"token"' not in shown

    async def test_without_a_free_container_a_run_gets_its_own(self, own: Own):
        going = [await own.placed("sleep 600") for _ in range(SIZE)]
        busy = await eventually(spare_workers, until=lambda found: len(found) == SIZE)
        for worker in busy:
            await workers.update(worker.id, lambda record: record.claim(f"gateway {own.gateway.id}", "held"))
        done = await own.done("echo own")
        assert done["result"] == "own\n"
        assert await worker_of(done["id"]) is None
        for worker in busy:
            await workers.update(worker.id, lambda record: record.finish("held"))
        for run_id, _ in going:
            await own.http.delete(f"/gateway/api/runs/{run_id}")

    @pytest.mark.parametrize(
        "change",
        [
            {"owner": ""},
            {"secrets": {"A": "1"}},
            {"subnet": "/subscriptions/s/subnets/code"},
            {"image": "other"},
            {"cpu": 2.0},
            {"memory_gb": 3.0},
            {"directory": "a"},
        ],
    )
    def test_a_job_without_an_owner_or_with_wishes_that_a_warm_container_lacks_is_not_placed(
        self, change: dict[str, Any]
    ):
        assert warm.fits(JobSpec(["true"], 60, owner="me"))
        assert not warm.fits(JobSpec(["true"], 60, **{"owner": "me", **change}))

    async def test_an_order_that_is_too_large_for_the_hub_is_not_sent_and_its_worker_is_free_again(self, own: Own):
        spec = JobSpec(["true"], 60, owner="me", environment={"A": "x" * warm.LARGEST_ORDER})
        assert not await warm.place_spec(KIND, await RECORDS[KIND](own.gateway), spec)
        assert all(worker.state is WorkerState.IDLE for worker in await all_workers() if worker.owner == "gateway me")

    async def test_a_request_places_its_job_itself_and_waits_for_the_end(self, own: Own):
        run_id = await RECORDS[KIND](own.gateway)
        assert await warm.place(KIND, run_id)
        assert await wait_until_ended(run_id, 60)
        management = f"/runtime/webhooks/durabletask/orchestrators/{WORKFLOW}/{run_id}"
        assert (await own.http.post(management, json=KIND)).status_code == 202  # it sees that all is done
        status = f"/runtime/webhooks/durabletask/instances/{run_id}"
        await eventually(
            lambda: own.http.get(status), until=lambda answer: answer.json().get("runtimeStatus") == "Completed"
        )
        assert f"job-{run_id}" not in await groups(own.environment)

    async def test_a_placed_job_costs_few_calls_of_storage(self, own: Own):
        worker = await worker_of((await own.done("echo first"))["id"])
        assert worker
        await own.free(worker)
        await own.recorder.quiet()
        own.recorder.passed.clear()
        run = await own.gateway.run("echo hello")
        await asyncio.sleep(1)
        await own.recorder.quiet()
        own_rows = [f"r~{Job.id_form.row_key(record_id)}" for record_id in (worker.id, run["id"])]
        calls = [
            f"{call.service} {call.method} {call.path}"
            for call in own.recorder.passed
            if "RowKey" not in call.path
            or any(row in call.path for row in own_rows)  # other workers are probed meanwhile
        ]
        assert (await own.gateway.reach(run["id"]))["result"] == "hello\n"
        assert len([call for call in calls if call.startswith("table")]) <= CALLS, "\n".join(calls)


class TestEnds:
    async def test_a_cancelled_job_is_gone_within_seconds_and_its_container_waits_for_the_next_one(self, own: Own):
        run_id, worker = await own.placed("trap '' TERM; sleep 876543 & sleep 876543")
        assert (await own.http.delete(f"/gateway/api/runs/{run_id}")).status_code == 200
        await eventually(lambda: processes_with("876543"), until=lambda found: not found, seconds=10)
        assert (await own.free(worker)).job == run_id
        assert (await own.gateway.get(run_id))["status"] == "cancelled"

    async def test_a_job_over_its_time_ends_as_timed_out(self, own: Own):
        done = await own.done("sleep 600", timeout=1)
        assert (done["status"], done["error"]) == ("failed", "Timed out after 1 second")
        assert await worker_of(done["id"])

    async def test_a_job_whose_container_dies_ends_with_the_reason_and_the_worker_is_forgotten(self, own: Own):
        run_id, worker = await own.placed("sleep 600")
        await containers.stop(f"job-{worker.id}")
        done = await own.gateway.reach(run_id)
        assert done["status"] == "failed"
        assert done["error"].startswith("The container was stopped from outside")
        await eventually(lambda: _forgotten(worker))
        await eventually(lambda: groups(own.environment), until=lambda found: f"job-{worker.id}" not in found)

    async def test_a_job_whose_runner_dies_is_lost_and_its_container_waits_for_the_next_one(self, own: Own):
        run_id, worker = await own.placed("kill -9 $PPID; sleep 600")
        done = await own.gateway.reach(run_id)
        assert (done["status"], done["error"]) == ("failed", "The runner ended without a report")
        assert (await own.free(worker)).job == run_id

    async def test_a_job_that_kills_its_worker_is_lost_and_harms_no_other(self, own: Own):
        program = "import os, signal\nos.kill(-1, signal.SIGKILL)"
        done = await own.gateway.reach((await own.gateway.run(program, "python"))["id"])
        assert done["status"] == "failed"
        assert (await own.done("echo next"))["result"] == "next\n"

    async def test_a_worker_that_does_not_say_that_it_has_stopped_is_removed(
        self, own: Own, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(activities, "STOPPING", 0.5)
        run_id, worker = await own.placed("sleep 600")
        for pid in await processes_with("worker.py"):  # none of them can say anything now
            os.kill(pid, signal.SIGSTOP)
        await activities._stop(worker.id, run_id)
        for pid in await processes_with("worker.py"):
            os.kill(pid, signal.SIGCONT)
        await eventually(lambda: groups(own.environment), until=lambda found: f"job-{worker.id}" not in found)
        assert (await own.gateway.reach(run_id))["status"] == "failed"

    async def test_the_hub_says_within_a_second_or_two_that_an_idle_worker_is_gone(self, own: Own):
        worker = (await spare_workers())[0]
        await containers.stop(f"job-{worker.id}")

        async def is_used() -> bool:
            return any(one.id == worker.id for one in await spare_workers())

        await eventually(is_used, until=lambda found: not found, seconds=10)
        await pool_is_full(own.http, SIZE)


class TestLostOrders:
    async def test_an_order_that_no_worker_answers_is_void_and_the_job_gets_its_own_container(self, own: Own):
        silent = [
            await workers.insert(Worker(state=WorkerState.IDLE, owner="gateway silent")) for _ in range(warm.ATTEMPTS)
        ]
        run_id = await RECORDS[KIND](own.gateway)
        spec = JobSpec(["echo", "anyway"], 60, owner="silent")
        assert not await warm.place_spec(KIND, run_id, spec)
        assert ((await jobs.get(run_id)).worker, (await jobs.get(run_id)).token_hash) == ("", "")
        assert {(await workers.get(worker.id)).state for worker in silent} == {WorkerState.GONE}
        await activities._start(run_id, KIND, spec)
        assert (await own.gateway.reach(run_id))["result"] == "anyway\n"
        for worker in silent:
            await workers.delete(worker.id)

    async def test_a_worker_that_refuses_is_replaced_at_once(self, own: Own, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(warm, "WORD", 600.0)
        worker = await workers.insert(Worker(state=WorkerState.IDLE, owner="gateway silent"))

        async def refuse(hub: str, user: str, message: dict[str, Any]) -> bool:
            asyncio.get_running_loop().call_later(0.05, warm.words.give, message.get("job", ""), False)
            return True

        monkeypatch.setattr(realtime, "send", refuse)
        monkeypatch.setattr(warm, "ATTEMPTS", 1)
        assert not await warm.place_spec(KIND, await RECORDS[KIND](own.gateway), JobSpec(["true"], 60, owner="silent"))
        await workers.delete(worker.id)

    async def test_a_job_that_was_placed_by_a_process_that_died_starts_anew(self, own: Own):
        run_id, worker = await RECORDS[KIND](own.gateway), await workers.insert(Worker(state=WorkerState.BUSY))
        long_ago = datetime.now(UTC) - timedelta(minutes=1)
        job = await jobs.insert(Job(id=run_id, kind=KIND, token_hash="x", timeout=60, worker=worker.id))
        assert await activities.job_probe._function.get_user_function()({"id": run_id, "kind": KIND}) == {
            "reason": "lost",
            "message": "",
        }
        assert not await activities._was_not_taken(job)  # the process may wait for the answer still
        job.updated_at = long_ago
        assert await activities._was_not_taken(job)
        assert ((await jobs.get(run_id)).worker, (await workers.get(worker.id)).state) == ("", WorkerState.GONE)
        await workers.delete(worker.id)

    async def test_a_job_that_has_begun_is_not_taken_back(self, own: Own):
        run_id, _ = await own.placed("sleep 600")
        assert not await warm.take_back(run_id, (await jobs.get(run_id)).token_hash)
        await own.http.delete(f"/gateway/api/runs/{run_id}")

    async def test_a_lost_word_that_a_job_is_done_costs_the_worker_and_no_more(self, own: Own):
        done = await own.done("true")
        worker = await worker_of(done["id"])
        assert worker
        await own.free(worker)
        stuck = datetime.now(UTC) - timedelta(minutes=2)

        def lose(record: Worker) -> None:
            record.state, record.used = WorkerState.BUSY, stuck

        await workers.update(worker.id, lose)
        await own.http.post("/admin/functions/maintenance_minute", json={})
        await eventually(lambda: _forgotten(worker))
        assert (await own.done("echo next"))["result"] == "next\n"


class TestHub:
    async def test_admits_nobody_without_a_token(self, own: Own):
        url = realtime.client_url(warm.HUB)
        for refused in (url, f"{url}?access_token=x"):
            with pytest.raises(InvalidStatus) as error:
                await connect(refused, proxy=None)
            assert error.value.response.status_code == 401

    async def test_a_client_speaks_for_its_own_worker_only(self, own: Own):
        worker = await workers.insert(Worker(state=WorkerState.BUSY, job="a"))
        token = await realtime.client_token(warm.HUB, new_id(), 5)
        async with connect(f"{realtime.client_url(warm.HUB)}?access_token={token}", proxy=None) as socket:
            for text in (
                '{"type": "done", "job": "a"}',
                "[]",
                "x",
                '{"type": "accepted", "job": "x"}',
                '{"type": 1}',
            ):
                await socket.send(text)
            await socket.send('{"type": "ready"}')
            assert await socket.recv() == '{"type":"end"}'  # it has no record
        assert (await workers.get(worker.id)).state is WorkerState.BUSY
        await workers.delete(worker.id)


class TestPool:
    async def test_workers_that_are_too_many_are_ended(self, own: Own):
        old = new_id(datetime.now(UTC) - timedelta(minutes=2))
        extra = await workers.insert(Worker(id=old, state=WorkerState.IDLE))
        await pool_is_full(own.http, SIZE)
        await eventually(lambda: _forgotten(extra), seconds=150)  # when the timer was running, its next run does it


async def _forgotten(worker: Worker) -> bool:
    return all(one.id != worker.id for one in await all_workers())
