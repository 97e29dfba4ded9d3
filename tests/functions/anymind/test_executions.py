"""Executions: a handler is called in a container of its own."""

import json
import time
import uuid
from typing import Any

import pytest

from functions.anymind import execution_job, runtime
from functions.anymind.execution_job import AnymindExecution, ExecutionReport, outcome
from functions.anymind.records import Execution, ExecutionStatus
from functions.anymind.store import executions, versions
from infra.local.environment import Environment
from shared import tables
from shared.jobs import Exit, SkippedFile
from tests.support.agents import CODE, agent_of, execute, logs, ready, running, upload
from tests.support.anymind import BASE, Anymind, refused, registered
from tests.support.groups import processes_with, removed
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
async def agent(anymind: Anymind) -> int:
    """An agent that runs the code which it is called with."""
    return await ready(anymind, agent_of(CODE))


class TestExecute:
    async def test_the_answer_is_the_execution_that_has_ended(self, anymind: Anymind, agent: int):
        done = await execute(anymind, agent, code="result = {'a': [1, None, 'ü']}")
        assert isinstance(done.pop("id"), int)
        assert done.pop("created_at") <= done.pop("updated_at")
        assert done == {
            "agent_version_id": (await anymind.ok("GET", f"/agents/{agent}"))["current_version_id"],
            "user_id": anymind.id,
            "status": "completed",
            "input_data": {"code": "result = {'a': [1, None, 'ü']}"},
            "output_data": {"a": [1, None, "ü"]},
            "error_message": None,
        }

    @pytest.mark.parametrize(
        ("code", "output", "error"),
        [
            ("", {"result": None}, None),
            ("result = [1]", {"result": [1]}, None),
            ("raise ValueError('broken: token=abc12345')", None, "broken: token=[REDACTED]"),
            ("raise ValueError('caf\\udce9')", None, "caf\\udce9"),
            ("import os; os.kill(os.getpid(), 9)", None, "The agent's process was killed by SIGKILL"),
            ("import os; os.kill(os.getppid(), 9)", None, "Ended with code 137 and no result"),
            ("result = []\nfor _ in range(200): result = [result]", None, "The result must be nested at most 100"),
            ("result = '\\ud800'", None, "The result must not contain half of a surrogate pair"),
            ("bytearray(10 << 30)", None, "Ran out of memory (1.5 GB)"),
        ],
    )
    async def test_whatever_the_handler_does_is_a_result_or_a_failure(
        self, anymind: Anymind, agent: int, code: str, output: Any, error: str | None
    ):
        done = await execute(anymind, agent, code=code)
        assert (done["status"], done["output_data"]) == ("completed" if error is None else "failed", output)
        assert (done["error_message"] or "").startswith(error or "")

    async def test_an_agent_may_have_modules_of_names_that_are_in_use(self, anymind: Anymind):
        word = "def word():\n    return {!r}\n"
        main = "import supervision, token\ndef handle(_):\n    raise ValueError(supervision.word() + token.word())\n"
        own = agent_of(main, supervision_py=word.format("a"), token_py=word.format("b"))
        assert (await execute(anymind, await ready(anymind, own)))["error_message"] == "ab"

    @pytest.mark.parametrize(
        ("body", "field"), [({}, "payload"), ({"payload": None}, "payload"), ({"payload": [1]}, "payload")]
    )
    async def test_a_payload_that_is_no_object_is_refused(self, anymind: Anymind, agent: int, body: Any, field: str):
        answer = await anymind.http.post(f"{BASE}/runtime/{agent}/execute", json=body)
        assert refused(answer, 400).startswith(f"{field}: ")

    async def test_an_empty_payload_is_one(self, anymind: Anymind, agent: int):
        assert (await execute(anymind, agent))["error_message"] == "'code'"

    async def test_a_payload_and_a_result_of_five_megabytes_come_through(self, anymind: Anymind, agent: int):
        text = "x" * 5_000_000
        done = await execute(anymind, agent, code="result = {'text': 'y' * 5_000_000}", text=text)
        assert done["output_data"] == {"text": "y" * 5_000_000}
        again = await anymind.ok("GET", f"/runtime/executions/{done['id']}")
        assert (again["input_data"]["text"], again["output_data"]) == (text, done["output_data"])

    async def test_a_payload_and_a_result_may_have_as_many_members(self, anymind: Anymind, agent: int):
        numbers = list(range(150_000))
        done = await execute(anymind, agent, code="result = list(range(150_000))", numbers=numbers)
        assert (done["input_data"]["numbers"], done["output_data"]) == (numbers, {"result": numbers})
        body = {"agent_version_id": done["agent_version_id"], "input_data": done["input_data"]}
        again = await anymind.ok("POST", "/runtime/execute", 201, json=body)
        assert again["output_data"] == {"result": numbers}

    async def test_a_payload_over_the_limit_is_refused(self, anymind: Anymind, agent: int):
        body = json.dumps({"payload": {"text": "x" * runtime.MAX_INPUT}})
        answer = await anymind.http.post(
            f"{BASE}/runtime/{agent}/execute", content=body, headers={"Content-Type": "application/json"}
        )
        assert refused(answer, 413) == "Body too large"

    async def test_an_agent_without_a_ready_version_is_refused(self, anymind: Anymind):
        draft = (await anymind.agent())["id"]
        answer = await anymind.http.post(f"{BASE}/runtime/{draft}/execute", json={"payload": {}})
        assert refused(answer, 400) == "The agent has no ready version"

    async def test_a_repeated_request_makes_one_execution(self, anymind: Anymind, agent: int):
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        first, second = [
            await anymind.http.post(f"{BASE}/runtime/{agent}/execute", json={"payload": {}}, headers=headers)
            for _ in range(2)
        ]
        assert first.status_code == second.status_code == 201
        assert first.json() == second.json()

    async def test_a_request_answers_before_an_execution_that_takes_too_long(
        self, anymind: Anymind, agent: int, app: None, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(runtime, "PATIENCE", 0.1)
        version = (await anymind.ok("GET", f"/agents/{agent}"))["current_version_id"]

        execution = await runtime._execute(await versions.get(str(version)), {}, NoWorkflows())  # pyright: ignore[reportArgumentType]
        assert execution.status is ExecutionStatus.RUNNING
        await executions.update(execution, lambda record: record.cancel(record.created_at))  # no workflow will end it

    async def test_an_accepted_execution_is_answered_though_storage_fails_afterwards(
        self, anymind: Anymind, agent: int, app: None, monkeypatch: pytest.MonkeyPatch
    ):
        version = (await anymind.ok("GET", f"/agents/{agent}"))["current_version_id"]
        stored = await versions.get(str(version))

        async def fail(_: str) -> Execution:
            raise tables.StorageUnavailable("away")

        monkeypatch.setattr(runtime, "PATIENCE", 0.1)
        monkeypatch.setattr(executions, "get", fail)
        execution = await runtime._execute(stored, {}, NoWorkflows())  # pyright: ignore[reportArgumentType]
        assert execution.status is ExecutionStatus.RUNNING
        monkeypatch.undo()
        await executions.update(execution, lambda record: record.cancel(record.created_at))


class NoWorkflows:
    """Starts no workflow."""

    async def start_now_or_later(self, *_: object) -> None:
        """Start nothing."""


class TestExecuteVersion:
    async def test_it_is_executed(self, anymind: Anymind, agent: int):
        version = (await anymind.ok("GET", f"/agents/{agent}"))["current_version_id"]
        body = {"agent_version_id": version, "input_data": {"code": "result = {'b': 2}"}}
        done = await anymind.ok("POST", "/runtime/execute", 201, json=body)
        assert (done["status"], done["output_data"]) == ("completed", {"b": 2})

    async def test_one_that_is_not_ready_is_refused(self, anymind: Anymind):
        version = await upload(anymind, b"no archive")
        body = {"agent_version_id": version["id"], "input_data": {}}
        text = refused(await anymind.http.post(f"{BASE}/runtime/execute", json=body), 400)
        assert text.startswith("Version v1 is not ready: its status is ")

    @pytest.mark.parametrize("version", [0, 999_999_999])
    async def test_an_unknown_one_is_not_found(self, anymind: Anymind, version: int):
        body = {"agent_version_id": version, "input_data": {}}
        answer = await anymind.http.post(f"{BASE}/runtime/execute", json=body)
        assert refused(answer, 404) == "Agent version not found"


class TestList:
    async def test_executions_come_by_id_in_parts(self, anymind: Anymind, agent: int):
        made = [(await execute(anymind, agent))["id"] for _ in range(2)]
        whole = [each["id"] for each in await anymind.ok("GET", "/runtime/executions?limit=1000")]
        assert whole == sorted(whole)
        assert whole[-2:] == made
        part = await anymind.ok("GET", f"/runtime/executions?skip={len(whole) - 2}&limit=1")
        assert [each["id"] for each in part] == made[:1]

    async def test_a_version_has_its_own(self, anymind: Anymind, agent: int):
        version = (await anymind.ok("GET", f"/agents/{agent}"))["current_version_id"]
        found = await anymind.ok("GET", f"/runtime/executions?agent_version_id={version}")
        assert {each["agent_version_id"] for each in found} == {version}

    async def test_a_list_with_too_long_inputs_and_outputs_is_refused_and_a_shorter_one_is_not(
        self, stack: Environment, app: None
    ):
        async with registered(stack) as user:
            sizes: dict[str, Any] = {"input_size": runtime.MAX_LIST // 2, "output_size": 1}
            owned: dict[str, Any] = {"agent_id": "0", "agent_version_id": "0", "user_id": str(user.id)}
            ended: dict[str, Any] = {"status": ExecutionStatus.COMPLETED, "input_data": {}}
            for _ in range(2):
                await executions.insert(Execution(**owned, **ended, **sizes))
            assert "smaller limit" in refused(await user.http.get(f"{BASE}/runtime/executions"), 413)
            assert len(await user.ok("GET", "/runtime/executions?limit=1")) == 1

    async def test_the_sizes_of_input_and_output_are_kept(self, anymind: Anymind, agent: int, app: None):
        done = await execute(anymind, agent, code="result = {'text': 'y' * 100_000}", text="x" * 1000)
        stored = await executions.get(str(done["id"]))
        assert 1000 < stored.input_size < 1200
        assert 100_000 < stored.output_size < 101_000

    @pytest.mark.parametrize("version", ["x", "-1", "1.5", ""])
    async def test_a_version_that_is_no_number_is_refused(self, anymind: Anymind, version: str):
        answer = await anymind.http.get(f"{BASE}/runtime/executions?agent_version_id={version}")
        assert refused(answer, 400).startswith("agent_version_id: ")

    async def test_nothing_of_another_user_is_seen(self, stack: Environment, anymind: Anymind, agent: int):
        execution = (await execute(anymind, agent))["id"]
        version = (await anymind.ok("GET", f"/agents/{agent}"))["current_version_id"]
        async with registered(stack) as stranger:
            assert await stranger.ok("GET", f"/runtime/executions?agent_version_id={version}") == []
            path = f"{BASE}/runtime/executions/{execution}"
            assert refused(await stranger.http.get(path), 404) == "Execution not found"
            assert refused(await stranger.http.post(f"{path}/cancel"), 404) == "Execution not found"
            assert refused(await stranger.http.get(f"{BASE}/logs/executions/{execution}/logs"), 404)
            answer = await stranger.http.post(f"{BASE}/runtime/{agent}/execute", json={"payload": {}})
            assert refused(answer, 404) == "Agent not found"
            body = {"agent_version_id": version, "input_data": {}}
            answer = await stranger.http.post(f"{BASE}/runtime/execute", json=body)
            assert refused(answer, 404) == "Agent version not found"


async def test_one_that_comes_while_its_agent_is_deleted_leaves_nothing(app: None):
    late = Execution(agent_id="1", agent_version_id="900000000", user_id="1", input_data={})
    late = await executions.insert(late)
    assert await AnymindExecution().prepare(late.job_id) is None
    with pytest.raises(tables.RecordNotFound):
        await executions.get(late.id)


class TestCancel:
    async def test_the_process_is_ended_and_the_waiting_request_answers(
        self, stack: Environment, anymind: Anymind, agent: int, app: None
    ):
        mark = f"cancelled-{uuid.uuid4().hex}"
        code = f"import subprocess; subprocess.run(['sh', '-c', 'sleep 29; : {mark}'])"
        execution, waiting = await running(anymind, agent, code=code)
        await eventually(lambda: processes_with(f"sleep 29; : {mark}"))
        began = time.monotonic()
        cancelled = await anymind.ok("POST", f"/runtime/executions/{execution}/cancel")
        assert cancelled["status"] == "cancelled"
        await eventually(lambda: processes_with(f"sleep 29; : {mark}"), until=lambda found: not found)
        assert time.monotonic() - began < 20  # before it would have ended by itself
        assert (await waiting)["status"] == "cancelled"
        job_id = (await executions.get(str(execution))).job_id
        await eventually(lambda: removed(stack, job_id))
        assert (await logs(anymind, execution))[-1] == ("WARNING", f"Execution {execution} was cancelled")

    async def test_one_that_has_ended_stays_as_it_is(self, anymind: Anymind, agent: int):
        done = await execute(anymind, agent, code="result = {}")
        assert await anymind.ok("POST", f"/runtime/executions/{done['id']}/cancel") == done

    async def test_a_late_end_does_not_change_it(self, anymind: Anymind, agent: int, app: None):
        execution = Execution(agent_id=str(agent), agent_version_id="1", user_id=str(anymind.id), input_data={})
        execution.cancel(execution.created_at)
        execution.end(ExecutionStatus.COMPLETED, execution.created_at, output={})
        assert (execution.status, execution.output_data) == (ExecutionStatus.CANCELLED, None)


class TestOutcome:
    """What an execution becomes whose container has not reported as it should."""

    @pytest.mark.parametrize(
        ("end", "error"),
        [
            (Exit(reason="exited", exit_code=1), "Ended with code 1 and no result"),
            (Exit(reason="exited", exit_code=137, message="Ran out of memory"), "Ran out of memory"),
            (Exit(reason="exited", skipped=[SkippedFile(name="r", reason="File is over 1")]), "File is over 1"),
            (Exit(reason="timeout"), "Timed out after 120 seconds"),
            (Exit(reason="unstartable"), "The container could not be started"),
            (Exit(reason="lost"), "The container stopped without reporting a result"),
            (Exit(reason="lost", message="Ran out of memory (1.5 GB)"), "Ran out of memory (1.5 GB)"),
        ],
    )
    async def test_one_without_a_report_has_failed(self, end: Exit, error: str):
        assert await outcome(end, ExecutionReport()) == (ExecutionStatus.FAILED, None, error)

    async def test_a_forged_result_that_is_no_json_has_failed(self):
        status, output, error = await outcome(Exit(reason="exited"), ExecutionReport(result="{"))
        assert (status, output) == (ExecutionStatus.FAILED, None)
        assert (error or "").startswith("The result cannot be read")

    async def test_a_result_with_very_many_members_has_failed_without_being_parsed(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(execution_job.json, "loads", lambda _: pytest.fail("it was parsed"))
        report = ExecutionReport(result=f"[{','.join(['{}'] * (execution_job.MAX_MEMBERS + 1))}]")
        error = "The result must have at most 200000 members and elements"
        assert await outcome(Exit(reason="exited"), report) == (ExecutionStatus.FAILED, None, error)

    def test_a_job_that_waits_is_pending_until_it_runs(self):
        execution = Execution(agent_id="1", agent_version_id="1", user_id="1", input_data={})
        assert execution.status is ExecutionStatus.RUNNING
        execution.wait()
        assert execution.status is ExecutionStatus.PENDING
        execution.run()
        assert execution.status is ExecutionStatus.RUNNING
