"""Workspaces: files, and code that runs among them."""

import asyncio
import json
import time
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

import function_app  # noqa: F401 - registers the kinds of jobs
from functions.ownpilot.core.files import FileNotFound, FileUsage, files
from functions.ownpilot.workspaces import deletion, execute, in_base64
from functions.ownpilot.workspaces.config import ContainerConfig
from functions.ownpilot.workspaces.job import OwnpilotExecution, prepared, spec_of
from functions.ownpilot.workspaces.outcome import outcome, report_of
from functions.ownpilot.workspaces.records import (
    Execution,
    ExecutionStatus,
    Language,
    Workspace,
    executions,
    workspaces,
)
from functions.ownpilot.workspaces.turns import is_turn, join, leave
from infra.local.environment import Environment
from shared.http.errors import TooManyRequests
from shared.jobs import Exit, Job, Unstartable
from tests.support.environments import StrictHost
from tests.support.gateway import Gateway
from tests.support.groups import processes_with
from tests.support.ownpilot import BASE, OwnPilot, refused
from tests.support.values import UNKNOWN
from tests.support.waiting import eventually

DEFAULTS = {"cpuCores": 0.5, "memoryMB": 512, "storageGB": 2.0, "timeoutMs": 30_000, "networkPolicy": "none"}


async def new(person: OwnPilot, **members: Any) -> str:
    """The id of a new workspace."""
    return (await person.post("/workspaces", **{"name": "w", **members}))["id"]


async def run(person: OwnPilot, workspace: str, code: str, language: str = "python", **members: Any) -> Any:
    """An execution at its end."""
    return await person.post(f"/workspaces/{workspace}/execute", language=language, code=code, **members)


async def contents(person: OwnPilot, workspace: str) -> dict[str, str]:
    """The contents of all files by path."""
    answer = await person.send("GET", f"/workspaces/{workspace}/download")
    return {file["path"]: file["content"] for file in answer.json()["files"]}


class TestWorkspaces:
    async def test_one_has_what_the_settings_say_unless_it_says_otherwise(self, me: OwnPilot):
        made = await me.post("/workspaces", name="Mine", description="d")
        assert made["containerConfig"] == DEFAULTS
        assert (made["status"], made["containerStatus"], made["userId"]) == ("active", "stopped", me.user)
        await me.post("/settings/sandbox", defaultMemoryMB=256, defaultTimeoutMs=1000)
        other = await me.post("/workspaces", name="Other", containerConfig={"memoryMB": 128, "networkPolicy": "full"})
        assert other["containerConfig"] == {**DEFAULTS, "memoryMB": 128, "timeoutMs": 1000, "networkPolicy": "full"}
        found = await me.get(f"/workspaces/{made['id']}")
        assert found == {**made, "storageUsage": {"usedBytes": 0, "quotaBytes": 2 * 1024**3, "fileCount": 0}}
        listed = await me.get("/workspaces")
        assert listed == {"workspaces": [other, made], "count": 2}

    async def test_given_members_change_in_either_spelling(self, me: OwnPilot):
        id_ = await new(me)
        limits = {"memoryLimit": "256m", "cpuLimit": "1"}
        changed = await me.data("PATCH", f"/workspaces/{id_}", json={"name": "n", "containerConfig": limits})
        assert changed["updated"] is True
        assert changed["workspace"]["containerConfig"] == {**DEFAULTS, "memoryMB": 256, "cpuCores": 1.0}
        assert (await me.get(f"/workspaces/{id_}"))["name"] == "n"
        configs = [
            {"memoryLimit": "much"}, {"memoryLimit": "1g1"}, {"memoryLimit": "999g"}, {"cpuLimit": "0"},
            {"cpuLimit": "nan"}, {"timeoutMs": 400_000}, {"networkPolicy": "some"},
        ]  # fmt: skip
        for wrong in ({"name": " "}, {"name": None}, *({"containerConfig": config} for config in configs)):
            refused(await me.send("PATCH", f"/workspaces/{id_}", json=wrong), 400, "INVALID_REQUEST")
        refused(await me.send("POST", "/workspaces", json={}), 400, "INVALID_REQUEST")

    async def test_nobody_else_finds_it_and_it_is_gone_once_deleted(self, me: OwnPilot):
        id_ = await new(me)
        await me.data("PUT", f"/workspaces/{id_}/files/a.txt", json={"content": "x"})
        other = OwnPilot(me.http)
        paths = [
            ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/files"), ("GET", "/files/a.txt"),
            ("PUT", "/files/a.txt"), ("DELETE", "/files/a.txt"), ("POST", "/execute"), ("GET", "/download"),
        ]  # fmt: skip
        body = {"content": "x", "language": "python", "code": "1"}
        for method, path in paths:
            answer = await other.send(method, f"/workspaces/{id_}{path}", json=body)
            refused(answer, 404, "WORKSPACE_NOT_FOUND")
        assert await me.data("DELETE", f"/workspaces/{id_}") == {"deleted": True}
        for method, path in paths:
            refused(await me.send(method, f"/workspaces/{id_}{path}", json=body), 404, "WORKSPACE_NOT_FOUND")
        assert (await me.get("/workspaces"))["count"] == 0

    async def test_a_list_without_a_limit_has_all_of_them(self, me: OwnPilot, app: None):
        made = [Workspace(user_id=me.user, name="w", container_config=DEFAULTS) for _ in range(51)]
        await asyncio.gather(*map(workspaces.of(me.user).insert, made))
        found = await me.get("/workspaces")
        assert (len(found["workspaces"]), found["count"]) == (51, 51)

    async def test_there_are_never_more_than_the_settings_allow(self, me: OwnPilot):
        await me.post("/settings/sandbox", maxWorkspacesPerUser=2)
        await new(me)
        answers = await asyncio.gather(*(me.send("POST", "/workspaces", json={"name": "w"}) for _ in range(4)))
        assert {answer.status_code for answer in answers} <= {201, 400}
        while (await me.get("/workspaces"))["count"] < 2:
            await new(me)
        assert (await me.get("/workspaces"))["count"] == 2
        refused(await me.send("POST", "/workspaces", json={"name": "w"}), 400, "WORKSPACE_LIMIT_EXCEEDED")


class TestFiles:
    async def test_they_are_written_read_listed_and_deleted(self, me: OwnPilot):
        id_ = await new(me)
        text, binary = "ü\n" * 10, b64encode(b"\x00\xff").decode()
        written = await me.data("PUT", f"/workspaces/{id_}/files/b/ü d.txt", json={"content": text})
        assert written == {"path": "b/ü d.txt", "written": True, "size": 30}
        await me.data("PUT", f"/workspaces/{id_}/files/a.bin", json={"content": binary, "encoding": "base64"})
        read = await me.get(f"/workspaces/{id_}/files/b/ü d.txt")
        assert (read["content"], read["size"], read["path"]) == (text, 30, "b/ü d.txt")
        read = await me.get(f"/workspaces/{id_}/files/a.bin")
        assert (read["content"], read["encoding"], read["size"]) == (binary, "base64", 2)
        listed = await me.get(f"/workspaces/{id_}/files")
        assert [(each["path"], each["isDirectory"]) for each in listed["files"]] == [("b", True), ("a.bin", False)]
        deep = await me.get(f"/workspaces/{id_}/files", recursive=True)
        assert [each["path"] for each in deep["files"]] == ["b", "b/ü d.txt", "a.bin"] and deep["count"] == 3
        inner = await me.data("GET", f"/workspaces/{id_}/files", params={"path": "b"})
        assert [each["name"] for each in inner["files"]] == ["ü d.txt"]
        usage = (await me.get(f"/workspaces/{id_}"))["storageUsage"]
        assert (usage["usedBytes"], usage["fileCount"]) == (32, 2)
        document = (await me.send("GET", f"/workspaces/{id_}/download")).json()
        assert set(document) == {"name", "id", "exportedAt", "files", "totalFiles"} and document["totalFiles"] == 2
        assert {file["path"]: file["content"] for file in document["files"]} == {"a.bin": binary, "b/ü d.txt": text}
        assert await me.data("DELETE", f"/workspaces/{id_}/files/b") == {"path": "b", "deleted": True}
        refused(await me.send("GET", f"/workspaces/{id_}/files/b/ü d.txt"), 404, "FILE_NOT_FOUND")
        types = {each["type"] for each in (await me.get("/audit", resourceId=id_))["events"]}
        assert types == {"workspace.create", "file.write", "file.read", "file.delete"}

    async def test_what_cannot_be_written_is_refused_and_changes_nothing(self, me: OwnPilot):
        id_ = await new(me, containerConfig={"storageGB": 0.000001})  # 1,073 bytes
        at = f"/workspaces/{id_}/files"
        refused(await me.send("PUT", f"{at}/a", json={}), 400, "INVALID_INPUT")
        refused(await me.send("PUT", f"{at}/..%2f..%2fa", json={"content": "x"}), 403, "ACCESS_DENIED")
        refused(await me.send("PUT", f"{at}/a", json={"content": "x" * 1074}), 400, "QUOTA_EXCEEDED")
        await me.data("PUT", f"{at}/a", json={"content": "x" * 1000})
        refused(await me.send("PUT", f"{at}/b", json={"content": "x" * 100}), 400, "QUOTA_EXCEEDED")
        assert await contents(me, id_) == {"a": "x" * 1000}
        too_large = await me.send("PUT", f"{at}/a", json={"content": "x" * (10 * 1024**2 + 1)})
        refused(too_large, 413, "PAYLOAD_TOO_LARGE")

    async def test_base64_in_parts_is_that_of_the_whole(self):
        async def parts() -> AsyncIterator[bytes]:
            for part in (b"a", b"", b"bcd", b"ef" * 1000, b"g"):
                yield part

        encoded = b"".join([part async for part in in_base64(parts())])
        assert encoded == b64encode(b"abcd" + b"ef" * 1000 + b"g")


CHANGES = """
import pathlib, sys
from given.module import text
print(text)
pathlib.Path("new/deep").mkdir(parents=True)
pathlib.Path("new/deep/out.txt").write_text("out")
pathlib.Path("changed.txt").write_text("after")
pathlib.Path("gone.txt").unlink()
pathlib.Path("link").symlink_to("/etc/passwd")
print("to the other side", file=sys.stderr)
sys.exit(3)
"""

TYPESCRIPT = """
import { readFileSync } from "node:fs";
import { twice } from "./lib";
enum Kind { One = 1 }
const text: string = readFileSync("a.txt", "utf8");
console.log(twice(text), Kind.One as number);
"""

NETWORK = """
import socket
with socket.create_server(("127.0.0.1", 0)) as own:
    socket.create_connection(own.getsockname()).close()  # this machine can be reached
try:
    socket.create_connection(("{host}", {port}), 3).close()
    print("reached")
except OSError:
    print("not reached")
"""


class TestExecute:
    async def test_code_works_on_the_files_and_what_it_changes_stays(self, me: OwnPilot):
        id_ = await new(me)
        for path in ("changed.txt", "gone.txt", "same.txt"):
            await me.data("PUT", f"/workspaces/{id_}/files/{path}", json={"content": "before"})
        done = await run(
            me, id_, CHANGES, files=[{"path": "given/module.py", "content": "text = 'in'"}], timeout=30_000
        )
        assert (done["status"], done["exitCode"], done["error"]) == ("failed", 3, None)
        assert (done["stdout"], done["stderr"]) == ("in\n", "to the other side\n")
        assert isinstance(done["executionTimeMs"], int) and done["outputCut"] is False
        assert [each["path"] for each in done["notKept"]] == ["link"]
        assert await contents(me, id_) == {
            "given/module.py": "text = 'in'", "new/deep/out.txt": "out", "changed.txt": "after", "same.txt": "before",
        }  # fmt: skip
        again = await me.post(f"/workspaces/{id_}/execute", executionId=done["executionId"])
        assert again == done
        (event,) = (await me.get("/audit", resourceId=id_, types="code.execute"))["events"]
        assert event["outcome"] == "failure" and event["details"]["exitCode"] == 3
        assert CHANGES not in json.dumps(event)
        debug = await me.get("/debug")
        assert debug["summary"]["sandboxExecutions"] == 1
        (entry,) = debug["entries"]
        assert (entry["type"], entry["duration"]) == ("sandbox_execution", done["executionTimeMs"])
        assert entry["data"] == {
            "executionId": done["executionId"], "language": "python", "status": "failed", "exitCode": 3,
            "workspaceId": id_,
        }  # fmt: skip

    async def test_each_language_and_each_end(self, me: OwnPilot, stack: Environment):
        names = ["code", "limits", "network"]
        ids = dict(zip(names, await asyncio.gather(*(new(me) for _ in names)), strict=True))
        lib = [{"path": "lib.ts", "content": "export const twice = (text: string) => text + text;"},
               {"path": "lib.cjs", "content": "module.exports = 7"}, {"path": "a.txt", "content": "a"}]  # fmt: skip
        reach = NETWORK.format(host="127.0.0.1", port=stack.ports["host"])

        async def code() -> list[Any]:
            return [
                await run(me, ids["code"], TYPESCRIPT, "typescript", files=lib),
                await run(me, ids["code"], "import lib from './lib.cjs'; console.log(lib, await 1)", "javascript"),
                await run(me, ids["code"], "echo $((1 + 1)); cat a.txt >&2; ls -A", "shell"),
            ]

        async def limits() -> list[Any]:
            memory: dict[str, Any] = {"containerConfig": {"memoryLimit": "64m"}}
            return [
                await run(me, ids["limits"], "import time; time.sleep(600)", timeout=500),
                await run(me, ids["limits"], "bytearray(200_000_000)", **memory),
                await run(me, ids["limits"], "print('ü' * 1_000_000); print('more')"),
            ]

        (types, script, shell), (late, memory, long), alone = await asyncio.gather(
            code(), limits(), run(me, ids["network"], reach)
        )
        assert (types["status"], types["stdout"]) == ("completed", "aa 1\n"), types
        assert (script["status"], script["stdout"]) == ("completed", "7 1\n"), script
        assert (shell["stdout"], shell["stderr"]) == ("2\na.txt\nlib.cjs\nlib.ts\n", "a")
        assert (late["status"], late["exitCode"]) == ("timeout", 124)
        assert (memory["status"], memory["exitCode"]) == ("failed", 1) and "MemoryError" in memory["stderr"]
        assert (long["status"], len(long["stdout"]), long["outputCut"]) == ("completed", 500_000, True)
        assert (alone["stdout"], alone["networkIsolated"]) == ("not reached\n", True), alone

    async def test_executions_of_one_workspace_wait_for_each_other_each_with_its_own_files(self, me: OwnPilot):
        id_ = await new(me)
        code = (
            "import pathlib, time; p = pathlib.Path('n'); n = len(p.read_text()) if p.exists() else 0; time.sleep(.3)"
        )
        code += "; p.write_text('x' * (n + 1)); print(n, open('own').read(), end='')"
        both = [run(me, id_, code, files=[{"path": "own", "content": each}]) for each in ("a", "b")]
        done = [each["stdout"] for each in await asyncio.gather(*both)]
        assert done in (["0 a", "1 b"], ["1 a", "0 b"])
        assert (await contents(me, id_))["n"] == "xx"

    async def test_what_cannot_be_run_is_refused(self, me: OwnPilot, app: None):
        id_ = await new(me)
        at = f"/workspaces/{id_}/execute"
        refused(await me.send("POST", at), 400, "INVALID_INPUT")
        refused(await me.send("POST", at, json={"language": "python", "code": " "}), 400, "INVALID_INPUT")
        refused(await me.send("POST", at, json={"language": "cobol", "code": "x"}), 400, "INVALID_LANGUAGE")
        refused(await me.send("POST", at, json={"code": "x"}), 400, "INVALID_LANGUAGE")
        refused(await me.send("POST", at, json={"language": "python", "code": "x" * 1_000_001}), 400)
        refused(await me.send("POST", at, json={"language": "python", "code": "1", "timeout": -1}), 400)
        outside = {"language": "python", "code": "1", "files": [{"path": "../x", "content": ""}]}
        refused(await me.send("POST", at, json=outside), 403, "ACCESS_DENIED")
        other = await executions.insert(execution_in(Workspace(name="x", container_config=DEFAULTS)))
        for unknown in (other.id, UNKNOWN, "x"):
            refused(await me.send("POST", at, json={"executionId": unknown}), 404, "EXECUTION_NOT_FOUND")
        await executions.delete(other.id)
        await me.post("/settings/sandbox", enabled=False)
        refused(await me.send("POST", at, json={"language": "python", "code": "1"}), 403, "SANDBOX_DISABLED")
        page = await executions.page({"workspace": id_})
        assert page.total == 0

    async def test_without_containers_nothing_is_accepted(self, strict_host: StrictHost, gateway: Gateway, app: None):
        headers = {"X-API-Key": gateway.key}
        made = await strict_host.http.post(f"{BASE}/workspaces", json={"name": "w"}, headers=headers)
        id_ = made.json()["data"]["id"]
        body = {"language": "python", "code": "1"}
        with strict_host.arm.failing("500", "GET", "/containerGroups"):
            await strict_host.http.post("/ownpilot/health/sandbox/reset")
            answer = await strict_host.http.post(f"{BASE}/workspaces/{id_}/execute", json=body, headers=headers)
            refused(answer, 503, "DOCKER_UNAVAILABLE")
            answer = await strict_host.http.get(f"{BASE}/workspaces/docker-status", headers=headers)
            assert answer.json()["data"] == {"dockerAvailable": False, "activeContainers": 0, "containers": []}
        assert (await workspaces.of(gateway.id).get(id_)).queue == []
        await strict_host.http.post("/ownpilot/health/sandbox/reset")
        await strict_host.http.delete(f"{BASE}/workspaces/{id_}", headers=headers)

    async def test_what_takes_too_long_is_answered_later_and_a_deleted_workspace_runs_nothing(
        self, me: OwnPilot, app: None, monkeypatch: pytest.MonkeyPatch
    ):
        id_ = await new(me)
        await me.data("PUT", f"/workspaces/{id_}/files/a", json={"content": "x"})
        mark = f"98{uuid.uuid4().int % 10**9}"
        going = asyncio.create_task(run(me, id_, f"sleep {mark}", "shell", timeout=100_000))
        await eventually(lambda: processes_with(f"sleep\x00{mark}"))
        assert (await me.get(f"/workspaces/{id_}"))["containerStatus"] == "running"
        (execution,) = [each async for each in executions.all({"workspace": id_})]
        answer = await me.send("POST", f"/workspaces/{id_}/execute", json={"executionId": execution.id})
        assert (answer.status_code, answer.json()["data"]["status"]) == (202, "running")
        status = await me.get("/workspaces/docker-status")
        assert (status["dockerAvailable"], status["activeContainers"]) == (True, 1)
        assert status["containers"][0] == {
            "id": f"job-{execution.id}", "workspaceId": id_, "workspaceName": "w", "status": "running",
        }  # fmt: skip
        assert (await OwnPilot(me.http).get("/workspaces/docker-status"))["containers"] == []
        await me.data("DELETE", f"/workspaces/{id_}")
        await eventually(lambda: processes_with(f"sleep\x00{mark}"), until=lambda found: not found)
        await eventually(lambda: executions.count({"workspace": id_}), until=lambda count: count == 0)
        await eventually(lambda: files.of(id_).count(), until=lambda count: count == 0)
        going.cancel()


def execution_in(workspace: Workspace, **members: Any) -> Execution:
    """An execution that is not stored."""
    return Execution(**{
        "user_id": workspace.user_id, "workspace": workspace.id, "language": Language.PYTHON, "code": "1",
        "status": ExecutionStatus.RUNNING, "code_hash": "0" * 64, "timeout_ms": 1000, "memory_mb": 64, **members,
    })  # fmt: skip


@pytest.fixture
async def workspace(app: None) -> Workspace:
    """A workspace, which this process works on as the app does."""
    user = f"user {uuid.uuid4()}"
    return await workspaces.of(user).insert(Workspace(user_id=user, name="w", container_config=DEFAULTS))


class TestTurns:
    async def test_the_first_runs_and_the_next_one_when_it_has_left(self, workspace: Workspace):
        one, two = (execution_in(workspace) for _ in range(2))
        assert await join(workspace, one)
        await executions.insert(one)
        assert not await join(await workspaces.of(workspace.user_id).get(workspace.id), two)
        assert not await is_turn(two)
        await leave(one)
        assert await is_turn(two)
        await executions.delete(one.id)

    async def test_one_whose_request_died_at_its_start_is_passed_over(self, workspace: Workspace):
        dead = execution_in(workspace, id="0190f0c2-d3e4-7a51-b6c8-f0a1b2c3d4e5")
        young = execution_in(workspace)
        assert await join(workspace, dead)
        known = await workspaces.of(workspace.user_id).get(workspace.id)
        assert await join(known, young)
        assert await join(await workspaces.of(workspace.user_id).get(workspace.id), execution_in(workspace)) is False

    async def test_a_queue_has_an_end(self, workspace: Workspace):
        for _ in range(20):
            await join(await workspaces.of(workspace.user_id).get(workspace.id), execution_in(workspace))
        with pytest.raises(TooManyRequests):
            await join(await workspaces.of(workspace.user_id).get(workspace.id), execution_in(workspace))

    async def test_two_that_join_together_have_two_places(self, workspace: Workspace):
        first = await asyncio.gather(*(join(workspace, execution_in(workspace)) for _ in range(2)))
        assert sorted(first) == [False, True]


class TestEnd:
    async def end(self, execution: Execution, **exit_: Any) -> Execution:
        job = Job(id=execution.id, kind=OwnpilotExecution.name, token_hash="", timeout=1)
        await OwnpilotExecution().ended(job, Exit(**exit_))
        return await executions.get(execution.id)

    async def test_a_file_that_was_written_meanwhile_is_not_removed(self, workspace: Workspace):
        row = await workspace.store.write("a", b"old")
        await workspace.store.write("b", b"old")
        await workspace.store.write("a", b"of somebody else")
        execution = await executions.insert(execution_in(workspace))
        removed = {"a": row.sha256, "b": row.sha256, "never": row.sha256}
        done = await self.end(execution, reason="exited", report='{"exit_code": 0}', removed=removed)
        assert done.status is ExecutionStatus.COMPLETED and done.code == ""
        assert [each.path for each in await workspace.store.list()] == ["a"]
        with pytest.raises(FileNotFound):
            await workspace.store.find("b")
        again = await self.end(execution, reason="lost")
        assert again.status is ExecutionStatus.COMPLETED

    async def test_a_runner_gets_links_of_its_own_workspace_only(self, workspace: Workspace):
        execution = await executions.insert(execution_in(workspace))
        found = await OwnpilotExecution().stored(execution.id, ["a" * 64])
        assert found["a" * 64].blob == workspace.store.folder + "a" * 64
        assert await OwnpilotExecution().stored(UNKNOWN, ["a" * 64]) == {}

    @pytest.mark.parametrize(
        ("exit_", "status", "error"),
        [({"reason": "exited", "exit_code": 137, "message": "Ran out of memory"}, "failed", "Ran out of memory"),
         ({"reason": "exited", "report": "{"}, "failed", "The container stopped without reporting a result"),
         ({"reason": "exited", "report": '{"exit_code": 1, "stdout": "?"}'}, "failed", None),
         ({"reason": "timeout"}, "timeout", None), ({"reason": "cancelled"}, "cancelled", None),
         ({"reason": "unstartable", "message": "No image"}, "failed", "No image"),
         ({"reason": "lost"}, "failed", "The container stopped without reporting a result")],
    )  # fmt: skip
    def test_every_end_is_one(self, exit_: dict[str, Any], status: str, error: str | None):
        assert outcome(Exit(**exit_)) == (status, error)

    def test_a_forged_report_is_none(self):
        for forged in ('{"exit_code": 1e30}', '{"exit_code": 0, "duration": -1}', "[]", '{"stdout": "YQ=="}'):
            assert report_of(Exit(report=forged)) is None


async def test_files_that_came_with_the_code_are_written_when_it_is_its_turn_or_it_fails(workspace: Workspace):
    store = workspace.store
    held = [await store.hold(path, b"x") for path in ("a", "b")]
    assert await store.list() == []
    await store.add(held[0])
    await store.add(held[0])
    assert (await store.read("a"))[1] == b"x" and await store.usage() == FileUsage(1, 1)
    await store.write("b/c", b"")
    with pytest.raises(Unstartable, match="b is a folder"):
        await prepared(execution_in(workspace, files=held), store)


async def test_an_execution_that_does_not_end_keeps_no_other_from_being_deleted_and_is_given_up(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    done: list[str] = []
    made = [(await executions.insert(execution_in(workspace))).id for _ in range(3)]
    stuck = (await executions.page({"workspace": workspace.id}, limit=1)).items[0].id

    async def delete_job(execution_id: str, workflows: Any) -> bool:
        return execution_id != stuck

    async def note(*words: str) -> None:
        done.append(words[0])

    monkeypatch.setattr(deletion, "delete_job", delete_job)
    monkeypatch.setattr(deletion, "dismiss_containers", note)
    monkeypatch.setattr(deletion, "report", note)
    monkeypatch.setattr(deletion, "BATCH", 1)
    given = {"user": workspace.user_id, "workspace": workspace.id, "cursor": None, "rounds": 0}
    for _ in made:
        batch = await deletion.delete_batch(given, None)  # pyright: ignore[reportArgumentType]
        given["cursor"] = batch["cursor"]
    assert [each.id async for each in executions.all({"workspace": workspace.id})] == [stuck]
    assert done == [workspace.id] * 3
    last = {**given, "cursor": None, "rounds": deletion.ROUNDS}
    assert await deletion.delete_batch(last, None) == {"found": True, "cursor": None}  # pyright: ignore[reportArgumentType]
    assert done[3:] == [workspace.id, "deletion of a workspace"]
    assert 86_000 < sum(deletion.pause(each).total_seconds() for each in range(deletion.ROUNDS)) < 100_000
    await executions.delete(stuck)


async def test_a_request_that_waits_no_longer_leaves_the_execution_to_its_workflow(
    workspace: Workspace, me: OwnPilot, http: httpx.AsyncClient
):
    class Workflows:
        started: list[str] = []

        async def start_now_or_later(self, name: str, instance: str, value: Any) -> None:
            self.started.append(instance)

    before = execution_in(workspace)
    await join(workspace, before)
    await executions.insert(before)
    waiting = execution_in(workspace, status=ExecutionStatus.PENDING)
    assert not await join(await workspaces.of(workspace.user_id).get(workspace.id), waiting)
    waiting = await executions.insert(waiting)
    until = time.monotonic() + 0.2
    found = await execute._follow(waiting, workspace, until, Workflows())  # pyright: ignore[reportArgumentType]
    assert (found.status, Workflows.started) == ("pending", [waiting.id])
    assert await OwnpilotExecution().held(waiting.id, 0) == "Another execution runs in this workspace"
    await leave(before)
    assert await OwnpilotExecution().held(waiting.id, 0) is None
    for each in (before, waiting):
        await executions.delete(each.id)


async def test_limits_are_those_of_the_request_then_of_the_workspace():
    assert ContainerConfig.model_validate({"memoryLimit": "1g"}).over(DEFAULTS)["memoryMB"] == 1024
    assert ContainerConfig.model_validate({"memoryLimit": "268435456"}).over(DEFAULTS)["memoryMB"] == 256
    spec = await spec_of(execution_in(Workspace(name="w", container_config=DEFAULTS)), [])
    assert json.loads(bytes(spec.inputs["limits.json"]))["network"] is False  # pyright: ignore[reportArgumentType]
