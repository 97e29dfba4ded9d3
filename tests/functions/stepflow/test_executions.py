"""Executions: created, listed, read, cancelled and deleted."""

import asyncio
import time
from typing import Any

import pytest

from functions.stepflow.executions import MAX_LIST, list_active_executions
from functions.stepflow.records import Execution, ExecutionStatus
from functions.stepflow.store import executions as store
from tests.support.stepflow import StepFlow, refused
from tests.support.values import UNKNOWN
from tests.support.waiting import eventually

EXECUTION = {
    "id", "name", "command", "working_directory", "status", "exit_code", "error_message", "created_at", "started_at",
    "completed_at", "environment", "user", "tags", "total_steps", "completed_steps", "current_step_index",
    "duration_seconds", "progress_percentage", "metadata",
}  # fmt: skip
STEP = {
    "id", "execution_id", "name", "description", "index", "status", "exit_code", "error_message", "created_at",
    "started_at", "completed_at", "estimated_duration", "stop_on_error", "duration_seconds", "metadata", "logs",
}  # fmt: skip


class TestCreateExecution:
    async def test_a_new_execution_is_pending_and_listed(self, stepflow: StepFlow):
        answer = await stepflow.http.post("/api/executions", json={"command": "sleep 30"})
        body = answer.json()
        assert (answer.status_code, body["success"], body["error"]) == (201, True, None)
        assert set(body["data"]) == {"execution_id", "status", "created_at"}
        assert body["data"]["status"] == "pending"
        assert body["data"]["created_at"].endswith("Z")
        listed = (await stepflow.data("/api/executions", limit=1))["executions"][0]
        assert listed["id"] == body["data"]["execution_id"]
        await stepflow.http.delete(f"/api/executions/{listed['id']}")

    async def test_every_given_field_is_shown(self, stepflow: StepFlow):
        members = {
            "name": "My Script",
            "working_directory": "/workspace/deep/er",
            "environment": {"MODEL_TYPE": "neural", "PYTHONUNBUFFERED": "mine"},
            "tags": ["ml", "training"],
            "metadata": {"project": "x", "nested": {"a": [1, None, True]}},
            "user": "developer",
        }
        found = await stepflow.run('pwd; echo "$MODEL_TYPE $PYTHONUNBUFFERED"', **members)
        execution = found["execution"]
        assert set(execution) == EXECUTION
        assert {name: execution[name] for name in members} == members
        directory, variables = await stepflow.logs(execution["id"])
        assert directory.endswith("/workspace/deep/er")
        assert variables == "neural mine"

    async def test_missing_fields_have_defaults(self, stepflow: StepFlow):
        command = 'pwd; echo "$PYTHONUNBUFFERED"'
        found = await stepflow.run(command, name=None, tags=None, timeout=None)
        execution = found["execution"]
        assert (execution["name"], execution["working_directory"], execution["user"]) == (
            command, "/workspace", "anonymous",
        )  # fmt: skip
        assert (execution["environment"], execution["tags"], execution["metadata"]) == ({}, [], {})
        assert (execution["total_steps"], execution["current_step_index"], execution["progress_percentage"]) == (
            0,
            -1,
            0.0,
        )
        directory, unbuffered = await stepflow.logs(execution["id"])
        assert unbuffered == "1"
        assert directory.endswith("/workspace")  # below the container's folder where there is no sandbox

    async def test_a_list_of_words_is_quoted_as_one_command(self, stepflow: StepFlow):
        found = await stepflow.run(["printf", "%s\n", "a b", "$HOME", "it's"])
        assert found["execution"]["command"] == "printf '%s\n' 'a b' '$HOME' 'it'\"'\"'s'"
        assert await stepflow.logs(found["execution"]["id"]) == ["a b", "$HOME", "it's"]

    async def test_the_command_is_run_by_a_shell(self, stepflow: StepFlow):
        found = await stepflow.run("for i in 1 2; do echo \"$i b\"; done | tr b c && false || echo 'it''s'")
        assert await stepflow.logs(found["execution"]["id"]) == ["1 c", "2 c", "its"]

    async def test_a_command_of_forty_thousand_characters_is_stored_and_run_whole(self, stepflow: StepFlow):
        command = "echo " + "ä" * 39_990 + "ende"
        found = await stepflow.run(command)
        assert found["execution"]["name"] == command[:1000]  # a list would show the command twice otherwise
        assert (found["execution"]["command"], found["execution"]["status"]) == (command, "completed")
        assert await stepflow.logs(found["execution"]["id"]) == [command[5:]]
        listed = (await stepflow.data("/api/executions", limit=1000))["executions"]
        assert command in [execution["command"] for execution in listed]

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"command": ""},
            {"command": " \n"},
            {"command": 5},
            {"command": None},
            {"command": []},
            {"command": [1]},
            {"command": {"a": "b"}},
            {"command": "true", "name": 5},
            {"command": "true", "environment": {"A": 1}},
            {"command": "true", "environment": ["A"]},
            {"command": "true", "environment": {"": "x"}},
            {"command": "true", "environment": {"A=B": "x"}},
            {"command": "true", "environment": {"A": "x" * 70_000}},
            {"command": "true", "tags": "x"},
            {"command": "true", "tags": [1]},
            {"command": "true", "metadata": []},
            {"command": "true", "metadata": "x"},
            {"command": "true", "name": "x" * 1001},
            {"command": "true", "tags": ["x"] * 101},
            {"command": "true", "tags": ["x" * 201]},
            {"command": "true", "metadata": {"x": "ä" * 33_000}},
            {"command": "true", "working_directory": 5},
            {"command": "true", "user": 5},
            {"command": "true", "timeout": 0},
            {"command": "true", "timeout": 1.5},
            {"command": "true", "timeout": "5"},
            {"command": "true", "timeout": 86_401},
            [],
            ["true"],
            "true",
            None,
        ],
    )
    async def test_an_invalid_body_is_refused(self, stepflow: StepFlow, body: object):
        refused(await stepflow.http.post("/api/executions", json=body), 400)

    @pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 5000, b'{"command": "\\ud800"}'])
    async def test_a_body_that_is_not_json_is_refused(self, stepflow: StepFlow, content: bytes):
        headers = {"Content-Type": "application/json"}
        refused(await stepflow.http.post("/api/executions", content=content, headers=headers), 400)

    async def test_the_same_idempotency_key_creates_one_execution(self, stepflow: StepFlow):
        body, headers = {"command": "true"}, {"Idempotency-Key": f"key-{time.time_ns()}"}
        first = await stepflow.http.post("/api/executions", json=body, headers=headers)
        second = await stepflow.http.post("/api/executions", json=body, headers=headers)
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json()["data"] == second.json()["data"]
        other = await stepflow.http.post("/api/executions", json={"command": "false"}, headers=headers)
        refused(other, 409)


class TestGetExecution:
    @pytest.mark.parametrize("execution_id", [UNKNOWN, "x", "a%20b", "..%2fx", "1"])
    async def test_an_unknown_id_is_404(self, stepflow: StepFlow, execution_id: str):
        refused(await stepflow.http.get(f"/api/executions/{execution_id}"), 404)

    async def test_an_execution_has_the_documented_keys(self, stepflow: StepFlow):
        found = await stepflow.run("echo STEP_START: one; echo line; echo > f.txt; echo ARTIFACT: f.txt")
        assert set(found) == {"execution", "steps", "artifacts"}
        assert set(found["execution"]) == EXECUTION
        step = found["steps"][0]
        assert set(step) >= STEP
        assert step["execution_id"] == found["execution"]["id"]
        assert (step["index"], step["status"], step["exit_code"]) == (0, "completed", 0)
        assert [set(line) for line in step["logs"]] == [{"timestamp", "content", "level"}]
        assert (step["logs"][0]["content"], step["logs"][0]["level"]) == ("line", "info")

    async def test_steps_and_durations_are_updated_while_the_command_runs(self, stepflow: StepFlow):
        execution_id = await stepflow.create("echo STEP_START: a; echo STEP_START: b; sleep 60")
        path = f"/api/executions/{execution_id}"
        first = await eventually(lambda: stepflow.data(path), until=lambda found: len(found["steps"]) == 2)
        assert first["execution"]["status"] == "running"
        assert first["execution"]["progress_percentage"] == 50.0
        assert first["execution"]["current_step_index"] == 1
        assert [step["status"] for step in first["steps"]] == ["completed", "running"]

        def longer(found: Any) -> bool:
            return (
                found["execution"]["duration_seconds"] > first["execution"]["duration_seconds"]
                and found["steps"][1]["duration_seconds"] > first["steps"][1]["duration_seconds"]
            )

        await eventually(lambda: stepflow.data(path), until=longer)
        await stepflow.http.delete(path)

    async def test_each_step_shows_its_newest_lines_and_all_of_them_together_a_thousand(self, stepflow: StepFlow):
        lengths = [300, 50, 900, 3, 0, 250, 201, 200]
        found = await stepflow.run(
            "".join(f"echo STEP_START: s{n}; seq {length}; " for n, length in enumerate(lengths))
        )
        steps = found["steps"]
        assert [step["log_count"] for step in steps] == lengths
        shown = [200, 200, 200, 0, 3, 200, 50, 147]  # of the newest step first, until there are a thousand
        for step, length, count in zip(steps, lengths, shown[::-1], strict=True):
            assert [line["content"] for line in step["logs"]] == [str(n) for n in range(length - count + 1, length + 1)]

    async def test_steps_and_lines_have_the_times_at_which_they_were_printed(self, stepflow: StepFlow):
        # While the runner uploads the file, what follows is held back and then arrives at once.
        command = (
            "head -c 3000000 /dev/zero > f; echo STEP_START: a; echo ARTIFACT: f; sleep 0.3; echo one; sleep 0.3; "
            "echo STEP_START: b; sleep 0.6; echo two"
        )
        found = await stepflow.run(command)
        first, second = found["steps"]
        assert first["duration_seconds"] >= 0.3  # of 0.6, since an age does not include the way to the app
        assert second["duration_seconds"] >= 0.3
        times = [line["timestamp"] for step in found["steps"] for line in step["logs"]]
        moments = [first["started_at"], times[0], first["completed_at"], second["started_at"], times[1]]
        assert moments == sorted(moments)
        assert first["started_at"] <= found["artifacts"][0]["created_at"]


class TestListExecutions:
    async def test_executions_are_listed_newest_first_with_an_exact_total(self, stepflow: StepFlow):
        user = f"lister {time.time_ns()}"
        ids = [await stepflow.create("true", user=user, tags=["t"], metadata={"n": n}) for n in range(5)]
        page = await stepflow.data("/api/executions", user=user, limit=2)
        assert [execution["id"] for execution in page["executions"]] == ids[:2:-1]
        assert (page["total_count"], page["has_more"]) == (5, True)
        assert set(page["executions"][0]) == EXECUTION
        assert (page["executions"][0]["tags"], page["executions"][0]["metadata"]) == (["t"], {"n": 4})
        last = await stepflow.data("/api/executions", user=user, limit=2, offset=4)
        assert [execution["id"] for execution in last["executions"]] == ids[:1]
        assert (last["total_count"], last["has_more"]) == (5, False)
        beyond = await stepflow.data("/api/executions", user=user, offset=99)
        assert beyond == {"executions": [], "total_count": 5, "has_more": False}

    async def test_executions_are_filtered_by_status_and_user(self, stepflow: StepFlow):
        user = f"filter {time.time_ns()}"
        good, bad = await asyncio.gather(stepflow.run("true", user=user), stepflow.run("false", user=user))
        for status, ids in {
            "completed": [good["execution"]["id"]], "failed": [bad["execution"]["id"]], "cancelled": [],
        }.items():  # fmt: skip
            page = await stepflow.data("/api/executions", user=user, status=status)
            assert [execution["id"] for execution in page["executions"]] == ids
            assert page["total_count"] == len(ids)
        failed = await stepflow.data("/api/executions", status="failed")
        assert {execution["status"] for execution in failed["executions"]} == {"failed"}
        assert (await stepflow.data("/api/executions", user="unknown"))["total_count"] == 0

    async def test_a_limit_over_a_thousand_is_cut(self, stepflow: StepFlow):
        assert (await stepflow.http.get("/api/executions?limit=5000")).status_code == 200

    @pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "offset=-1", "offset=x"])
    async def test_an_invalid_query_is_refused(self, stepflow: StepFlow, query: str):
        refused(await stepflow.http.get(f"/api/executions?{query}"), 400)

    async def test_the_error_names_an_unknown_status(self, stepflow: StepFlow):
        assert "done" in refused(await stepflow.http.get("/api/executions?status=done"), 400)

    async def test_active_executions_have_a_list_of_their_own(self, stepflow: StepFlow):
        running = await stepflow.create("sleep 60")
        ended = (await stepflow.run("true"))["execution"]["id"]
        ids = [execution["id"] for execution in (await stepflow.data("/api/executions/active"))["executions"]]
        assert running in ids
        assert ended not in ids
        await stepflow.http.delete(f"/api/executions/{running}")

    @pytest.mark.usefixtures("app")
    async def test_the_list_of_active_executions_is_bounded(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("functions.stepflow.executions.MAX_ACTIVE", 1)
        older, newer = [await store.insert(Execution(name="x", command="true")) for _ in range(2)]
        found = await list_active_executions()
        assert [execution.id for execution in found.executions] == [newer.id]
        for each in (older, newer):
            await store.delete(each.id)

    @pytest.mark.usefixtures("app")
    async def test_a_list_with_too_long_commands_is_refused_and_a_shorter_one_is_not(self, stepflow: StepFlow):
        user = f"writer {time.time_ns()}"
        long: dict[str, Any] = {"status": ExecutionStatus.COMPLETED, "user": user, "size": MAX_LIST // 2 + 1}
        made = [await store.insert(Execution(name="x", command="true", **long)) for _ in range(2)]
        assert "smaller limit" in refused(await stepflow.http.get("/api/executions", params={"user": user}), 413)
        for offset in (0, 1):
            page = await stepflow.data("/api/executions", user=user, limit=1, offset=offset)
            assert ([each["id"] for each in page["executions"]], page["total_count"]) == ([made[1 - offset].id], 2)
        for each in made:
            await store.delete(each.id)

    @pytest.mark.usefixtures("app")
    async def test_of_active_executions_with_long_commands_the_newest_are_listed(self):
        long: dict[str, Any] = {"name": "x", "command": "true", "size": MAX_LIST // 2 + 1}
        made = [await store.insert(Execution(**long)) for _ in range(2)]
        assert [execution.id for execution in (await list_active_executions()).executions] == [made[1].id]
        for each in made:
            await store.delete(each.id)

    @pytest.mark.usefixtures("app")
    async def test_a_list_shows_long_commands_and_reads_no_steps(self):
        long: dict[str, Any] = {"name": "x", "command": "true #" + "x" * 50_000, "user": f"stepper {time.time_ns()}"}
        execution = Execution(status=ExecutionStatus.COMPLETED, **long)
        execution.read(b"STEP_START: s\n" * 5000, lambda _: execution.created_at)
        await store.insert(execution)
        (listed,) = (await store.page({"user": execution.user})).items
        assert (listed.command, listed.steps) == (execution.command, [])
        assert len((await store.get(execution.id)).steps) == 5000
        await store.delete(execution.id)

    @pytest.mark.usefixtures("app")
    async def test_the_size_of_what_a_list_shows_is_kept(self, stepflow: StepFlow):
        command = "echo 'META: key: 12345' #" + "x" * 1000
        found = await stepflow.run(command, environment={"A": "ä" * 500}, metadata={"a": ["b" * 500]})
        stored = await store.get(found["execution"]["id"])
        assert 2500 < stored.listed_size < 2900

    async def test_statistics_agree_with_the_lists(self, stepflow: StepFlow):
        await stepflow.run("sleep 0.3")
        statuses = ("pending", "running", "completed", "failed", "cancelled")
        lists = {s: await stepflow.data("/api/executions", status=s, limit=1000) for s in statuses}
        found = await stepflow.data("/api/executions/statistics")
        totals = {status: page["total_count"] for status, page in lists.items()}
        ended = [each for status in statuses[2:] for each in lists[status]["executions"]]
        seconds = sum(each["duration_seconds"] or 0 for each in ended)
        assert found["total_executions"] == sum(totals.values())
        assert found["active_now"] == totals["pending"] + totals["running"]
        assert found["success_rate"] == f"{100 * totals['completed'] / len(ended):.1f}%"
        assert float(found["avg_duration"].removesuffix("s")) == pytest.approx(seconds / len(ended), abs=0.06)


class TestCancelExecution:
    async def test_no_step_runs_on_when_the_answer_to_a_cancellation_is_there(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            execution_id = await stepflow.create("echo STEP_START: a; sleep 60")
            await watcher.receives(lambda m: m["type"] == "step_update" and m["data"]["execution_id"] == execution_id)
            await stepflow.http.post(f"/api/executions/{execution_id}/cancel")
            (step,) = (await stepflow.data(f"/api/executions/{execution_id}"))["steps"]
            assert (step["status"], step["error_message"]) == ("failed", "Cancelled")
            await watcher.completed(execution_id)
        ends = [m["data"]["step"]["status"] for m in watcher.of(execution_id) if m["type"] == "step_update"]
        assert ends == ["running", "failed"]

    async def test_cancelling_a_running_execution_ends_its_step(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            execution_id = await stepflow.create("echo STEP_START: a; echo one; sleep 60")
            await watcher.receives(lambda m: m["type"] == "log_entry" and m["data"]["execution_id"] == execution_id)
            answer = await stepflow.http.post(f"/api/executions/{execution_id}/cancel")
            assert (answer.status_code, answer.json()["success"]) == (200, True)
            assert answer.json()["data"]["message"]
            end = await watcher.completed(execution_id)
            assert (end["data"]["status"], end["data"]["exit_code"]) == ("cancelled", None)
        found = await stepflow.data(f"/api/executions/{execution_id}")
        assert (found["execution"]["status"], found["steps"][0]["status"]) == ("cancelled", "failed")
        assert await stepflow.logs(execution_id) == ["one"]
        assert "completed" not in refused(await stepflow.http.post(f"/api/executions/{execution_id}/cancel"), 400)

    async def test_an_execution_cancelled_before_its_start_never_runs(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            execution_id = await stepflow.create("echo never")
            answer = await stepflow.http.post(f"/api/executions/{execution_id}/cancel")
            assert answer.status_code == 200
            end = await watcher.completed(execution_id)
            assert end["data"]["status"] == "cancelled"
        assert await stepflow.logs(execution_id) == []

    async def test_a_finished_execution_cannot_be_cancelled(self, stepflow: StepFlow):
        execution_id = (await stepflow.run("true"))["execution"]["id"]
        assert "completed" in refused(await stepflow.http.post(f"/api/executions/{execution_id}/cancel"), 400)

    async def test_an_unknown_execution_is_404(self, stepflow: StepFlow):
        refused(await stepflow.http.post(f"/api/executions/{UNKNOWN}/cancel"), 404)


class TestDeleteExecution:
    async def test_deleting_an_execution_deletes_its_artifacts_and_log(self, stepflow: StepFlow):
        found = await stepflow.run("echo x > a.txt; echo ARTIFACT: a.txt; echo line")
        path = f"/api/executions/{found['execution']['id']}"
        answer = await stepflow.http.delete(path)
        assert (answer.status_code, answer.json()["data"]) == (200, {"message": "Execution deleted successfully"})
        artifact = found["artifacts"][0]
        refused(await stepflow.http.get(path), 404)
        refused(await stepflow.http.get(f"{path}/logs"), 404)
        refused(await stepflow.http.get(f"/api/artifacts/{artifact['id']}"), 404)
        refused(await stepflow.http.get(artifact["download_url"]), 404)
        refused(await stepflow.http.get(f"/api/artifacts/execution/{found['execution']['id']}"), 404)
        refused(await stepflow.http.delete(path), 404)

    async def test_an_active_execution_is_cancelled_before_it_is_deleted(self, stepflow: StepFlow):
        async with stepflow.watch() as watcher:
            execution_id = await stepflow.create("echo started; sleep 60")
            await watcher.receives(lambda m: m["type"] == "log_entry" and m["data"]["execution_id"] == execution_id)
            path = f"/api/executions/{execution_id}"
            assert (await stepflow.http.delete(path)).status_code == 200
            refused(await stepflow.http.get(path), 404)
            assert (await watcher.completed(execution_id))["data"]["status"] == "cancelled"

    @pytest.mark.parametrize("execution_id", [UNKNOWN, "x"])
    async def test_an_unknown_execution_is_404(self, stepflow: StepFlow, execution_id: str):
        refused(await stepflow.http.delete(f"/api/executions/{execution_id}"), 404)
