"""File workspaces over HTTP, and the tools that work in them."""

import asyncio
import base64
import io
import uuid
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest

from functions.ownpilot import file_workspaces as room
from functions.ownpilot.core import file_cleanup, file_workspace_store
from functions.ownpilot.core.entry import iso
from functions.ownpilot.core.file_workspace_cleanup import WORKFLOW, ownpilot_delete_old_workspaces
from functions.ownpilot.core.file_workspace_store import FileWorkspace, file_workspaces
from functions.ownpilot.core.owner import Person
from functions.ownpilot.core.tool_context import ToolContext, ToolResult
from functions.ownpilot.tools.registry import built_in, members_of
from functions.ownpilot.tools.use import use_tool
from infra.local.environment import Environment
from tests.support.ownpilot import OwnPilot, chatting, data_of, refused, script
from tests.support.waiting import eventually

AT = "/file-workspaces"


async def make(me: OwnPilot, **members: Any) -> str:
    return (await me.post(AT, **members))["id"]


async def put(me: OwnPilot, id_: str, path: str, content: str, **members: Any) -> Any:
    return await me.data("PUT", f"{AT}/{id_}/files/{path}", json={"content": content, **members})


class TestWorkspaces:
    async def test_one_is_made_shown_and_deleted(self, me: OwnPilot):
        made = await me.post(AT, name="Mine", agentId="agent_1", description="d", tags=["a"])
        assert set(made) == {
            "id", "name", "createdAt", "updatedAt", "agentId", "description", "tags", "path", "size", "fileCount",
        }  # fmt: skip
        assert len(made["id"]) == 8 and (made["size"], made["fileCount"]) == (0, 0) and me.user not in made["path"]
        assert await me.get(f"{AT}/{made['id']}") == made
        await put(me, made["id"], "a.txt", "hello")
        shown = await me.get(f"{AT}/{made['id']}")
        assert (shown["size"], shown["fileCount"]) == (5, 1)
        assert await me.get(AT) == {"workspaces": [shown], "count": 1}
        assert await me.data("DELETE", f"{AT}/{made['id']}") == {"deleted": True}
        for method, path in [("GET", ""), ("DELETE", ""), ("GET", "/files"), ("GET", "/files/a.txt"),
                             ("GET", "/download"), ("DELETE", "/files/a.txt")]:  # fmt: skip
            refused(await me.send(method, f"{AT}/{made['id']}{path}"), 404, "WORKSPACE_NOT_FOUND")
        refused(await me.send("PUT", f"{AT}/{made['id']}/files/a", json={"content": ""}), 404, "WORKSPACE_NOT_FOUND")

    async def test_a_session_has_one(self, me: OwnPilot, http: httpx.AsyncClient):
        answers = await asyncio.gather(
            *(me.send("POST", AT, json={"sessionId": "s-1", "name": "First"}) for _ in range(6))
        )
        assert sorted(each.status_code for each in answers) == [200] * 5 + [201]
        assert {data_of(each)["id"] for each in answers} == {"s-1"} == {data_of(each)["sessionId"] for each in answers}
        await put(me, "s-1", "a", "mine")
        other = OwnPilot(http)
        refused(await other.send("GET", f"{AT}/s-1"), 404, "WORKSPACE_NOT_FOUND")
        await make(other, sessionId="s-1")
        refused(await other.send("GET", f"{AT}/s-1/files/a"), 404, "FILE_NOT_FOUND")
        await me.data("DELETE", f"{AT}/s-1")
        await make(me, sessionId="s-1")
        refused(await me.send("GET", f"{AT}/s-1/files/a"), 404, "FILE_NOT_FOUND")

    async def test_absent_and_wrong_bodies(self, me: OwnPilot):
        made = data_of(await me.send("POST", AT))
        assert made["name"] == f"Workspace {made['id']}" and made["tags"] == []
        for body in ({"sessionId": "../x"}, {"sessionId": ""}, {"name": " "}, {"tags": "a"}):
            refused(await me.send("POST", AT, json=body), 400, "INVALID_REQUEST")
        refused(await me.send("POST", f"{AT}/cleanup", json={"maxAgeDays": -1}), 400, "INVALID_REQUEST")
        page = await me.get(AT, limit=1, offset=1)
        assert page == {"workspaces": [], "count": 1}

    async def test_a_list_without_a_limit_has_all_of_them(self, me: OwnPilot):
        await asyncio.gather(*(make(me) for _ in range(51)))
        found = await me.get(AT)
        assert (len(found["workspaces"]), found["count"]) == (51, 51)

    async def test_there_are_so_many(self, me: OwnPilot, app: None, monkeypatch: pytest.MonkeyPatch):
        await file_workspace_store.make_workspace(me.user, "s")
        monkeypatch.setattr(file_workspace_store, "settings", lambda: type("Few", (), {"max_records": 1}))
        assert not (await file_workspace_store.make_workspace(me.user, "s"))[1]
        with pytest.raises(file_workspace_store.BadRequest, match="1 workspaces"):
            await file_workspace_store.make_workspace(me.user, None)


class TestFiles:
    async def test_text_and_bytes_go_in_and_come_out(self, me: OwnPilot):
        id_, data = await make(me), bytes(range(256))
        assert await put(me, id_, "/a//b c/ü.txt", "text") == {"path": "a/b c/ü.txt", "written": True}
        await put(me, id_, "raw", base64.b64encode(data).decode(), encoding="base64")
        for way in ("files", "file"):
            read = await me.get(f"{AT}/{id_}/{way}/a/b%20c/%C3%BC.txt")
            assert read == {"path": "a/b c/ü.txt", "content": "text", "size": 4, "encoding": "utf-8"}
            raw = await me.get(f"{AT}/{id_}/{way}/raw")
            assert (base64.b64decode(raw["content"]), raw["encoding"], raw["size"]) == (data, "base64", 256)
            bytes_ = await me.send("GET", f"{AT}/{id_}/{way}/raw", params={"download": "true"})
            assert bytes_.content == data and bytes_.headers["content-disposition"] == 'attachment; filename="raw"'
            part = await me.send(
                "GET", f"{AT}/{id_}/{way}/raw", params={"download": "true"}, headers={"Range": "bytes=10-19"}
            )
            assert (part.status_code, part.content) == (206, data[10:20])

    async def test_a_tree_has_the_usual_folders_and_those_of_files(self, me: OwnPilot):
        id_ = await make(me)
        await put(me, id_, "output/report/a.md", "12")
        await put(me, id_, "z.txt", "3")
        tree = await me.get(f"{AT}/{id_}/files")
        assert (tree["path"], tree["count"]) == ("", 5)
        assert [each["path"] for each in tree["files"]] == ["downloads", "output", "scripts", "temp", "z.txt"]
        report = tree["files"][1]["children"][0]
        assert (report["path"], report["size"], report["isDirectory"]) == ("output/report", 2, True)
        assert set(tree["files"][4]) == {"name", "path", "relativePath", "size", "isDirectory", "modifiedAt"}
        part = await me.data("GET", f"{AT}/{id_}/files", params={"path": "output/"})
        assert (part["path"], [each["path"] for each in part["files"]]) == ("output", ["output/report"])
        refused(await me.send("GET", f"{AT}/{id_}/files", params={"path": "../x"}), 403, "ACCESS_DENIED")

    @pytest.mark.parametrize("path", ["%2e%2e/x", "..%2fx", "a/%2e%2e/%2e%2e/x", "..%5cx", "%252e%252e/x"])
    async def test_paths_that_lead_out_are_denied(self, me: OwnPilot, path: str):
        id_ = await make(me)
        for method in ("GET", "PUT", "DELETE"):
            body = {"json": {"content": ""}} if method == "PUT" else {}
            answer = await me.send(method, f"{AT}/{id_}/files/{path}", **body)
            assert answer.status_code in (403, 404), answer.text  # a server may follow the dots itself
            if answer.status_code == 403:
                refused(answer, 403, "ACCESS_DENIED")

    async def test_what_is_wrong_with_a_write_is_said(self, me: OwnPilot):
        id_ = await make(me)
        for body in ({}, {"content": 1}, {"content": "%", "encoding": "base64"}, {"content": "", "encoding": "x"}):
            refused(await me.send("PUT", f"{AT}/{id_}/files/a", json=body), 400)
        refused(await me.send("PUT", f"{AT}/{id_}/files/a%00b", json={"content": ""}), 400, "INVALID_REQUEST")
        large = {"content": "a" * (10 * 1024 * 1024 + 1)}
        refused(await me.send("PUT", f"{AT}/{id_}/files/a", json=large), 413, "PAYLOAD_TOO_LARGE")
        await put(me, id_, "a/b", "1")
        refused(await me.send("PUT", f"{AT}/{id_}/files/a", json={"content": ""}), 409, "CONFLICT")
        refused(await me.send("GET", f"{AT}/{id_}/files/a"), 404, "FILE_NOT_FOUND")
        assert await me.data("DELETE", f"{AT}/{id_}/files/a") == {"path": "a", "deleted": True}
        refused(await me.send("DELETE", f"{AT}/{id_}/files/a"), 404, "FILE_NOT_FOUND")

    @pytest.mark.parametrize("path", ["%2F", "%5C", "a%2F..", "%2F%2F"])
    async def test_a_path_that_names_nothing_deletes_nothing(self, me: OwnPilot, path: str):
        id_ = await make(me)
        await put(me, id_, "a", "1")
        refused(await me.send("DELETE", f"{AT}/{id_}/files/{path}"), 400, "INVALID_REQUEST")
        assert (await me.get(f"{AT}/{id_}"))["fileCount"] == 1

    async def test_all_files_are_one_zip(self, me: OwnPilot):
        id_ = await make(me, name='My "files"\n')
        await put(me, id_, "a/b.txt", "1")
        answer = await me.send("GET", f"{AT}/{id_}/download")
        assert answer.headers["content-type"] == "application/zip"
        assert answer.headers["content-disposition"].startswith('attachment; filename="My _files__.zip"')
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.namelist() == ["a/b.txt"] and archive.read("a/b.txt") == b"1"
        empty = await me.send("GET", f"{AT}/{await make(me)}/download")
        assert zipfile.ZipFile(io.BytesIO(empty.content)).namelist() == []


async def age(me: OwnPilot, id_: str, days: float) -> None:
    """Make a workspace look as if nothing had changed in it for some days."""
    own = file_workspaces.of(me.user)
    record = await own.find("workspace_id", id_)
    at = datetime.now(UTC) - timedelta(days=days)
    await own.delete(record.id)
    again = {**dict(record), "id": record.new_id(at), "created_at": at, "updated_at": at}
    await own.insert(FileWorkspace(**again))


class TestCleanup:
    async def test_only_what_has_not_changed_for_long_goes(self, me: OwnPilot, app: None):
        for name in ("old", "changed", "new"):
            await make(me, sessionId=name)
        await age(me, "old", 8)
        await age(me, "changed", 8)
        await put(me, "changed", "a", "1")
        found = await me.post(f"{AT}/cleanup")
        assert found["deleted"] == ["old"] and {*found["kept"]} == {"changed", "new"}
        assert {each["id"] for each in (await me.get(AT))["workspaces"]} == {"changed", "new"}
        assert await me.post(f"{AT}/cleanup", maxAgeDays=0) == {"deleted": found["kept"], "kept": []}

    async def old(self, me: OwnPilot, count: int) -> datetime:
        """Keep some in which nothing has changed since the moment that this returns."""
        at = datetime.now(UTC) - timedelta(days=8)
        made = [
            FileWorkspace(user_id=me.user, workspace_id=f"w{number}", name="n", created_at=at)
            for number in range(count)
        ]  # fmt: skip
        await asyncio.gather(*map(file_workspaces.of(me.user).insert, made))
        return at + timedelta(seconds=1)

    async def test_many_are_left_to_a_workflow(self, me: OwnPilot, app: None, monkeypatch: pytest.MonkeyPatch):
        await self.old(me, 3)
        monkeypatch.setattr(room, "AT_ONCE", 2)
        workflows = AsyncMock()
        found = await room.clean_up_file_workspaces(room.Cleanup(), Person(me.user), workflows)
        assert {*found["deleted"]} == {"w0", "w1", "w2"} and found["kept"] == []
        name, _, order = workflows.start.await_args.args
        assert (name, order["user"]) == (WORKFLOW, me.user)
        assert await file_workspaces.of(me.user).count() == 3

    async def test_the_workflow_deletes_all_of_them(self, me: OwnPilot, app: None):
        before = await self.old(me, 3)
        await make(me, sessionId="new")
        start = f"/runtime/webhooks/durabletask/orchestrators/{WORKFLOW}/{uuid.uuid4()}"
        order = {"user": me.user, "before": iso(before)}
        assert (await me.http.post(start, json=order)).status_code == 202

        async def is_done() -> bool:
            return [each["id"] for each in (await me.get(AT))["workspaces"]] == ["new"]

        await eventually(is_done)

    async def test_one_that_changes_meanwhile_stays(self, me: OwnPilot, app: None, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(file_cleanup, "defer", AsyncMock())
        await make(me, sessionId="s")
        record = await file_workspaces.of(me.user).find("workspace_id", "s")
        before = record.updated_at
        assert await file_workspace_store.delete_old(record, before) is False
        order = {"user": me.user, "before": (before + timedelta(seconds=1)).isoformat()}
        assert await ownpilot_delete_old_workspaces(order) is True
        assert await ownpilot_delete_old_workspaces(order) is False
        assert await file_workspace_store.delete_old(record, before) is True  # it is gone already


class TestTools:
    def test_they_take_what_is_documented(self):
        taken = {name: built_in()[name].parameters for name in members_of(["filesystem"])}
        assert {name: [*each["properties"]] for name, each in taken.items()} == {
            "create_folder": ["path"], "write_file": ["path", "content"], "read_file": ["path"],
            "list_files": ["path", "recursive"], "delete_file": ["path"], "move_file": ["source", "destination"],
        }  # fmt: skip
        assert [name for name, each in taken.items() if "required" not in each] == ["list_files"]

    async def use(self, me: OwnPilot, name: str, session: str = "s", **arguments: Any) -> ToolResult:
        return await use_tool(ToolContext(me.user, session=session, source="chat"), name, arguments)

    async def test_they_work_in_the_workspace_of_the_session_only(self, me: OwnPilot, app: None):
        written = await self.use(me, "write_file", path="output/a.txt", content="hello")
        assert not written.is_error, written
        assert (await self.use(me, "read_file", path="output/a.txt")).content == "hello"
        assert (await me.get(f"{AT}/s/files/output/a.txt"))["content"] == "hello"
        other = await self.use(me, "read_file", "another", path="output/a.txt")
        assert other.is_error and "no file output/a.txt" in other.content
        assert (await me.get(AT))["count"] == 2
        outside = await self.use(me, "read_file", path="../another/a")
        assert outside.is_error and "leads out" in outside.content
        moved = await self.use(me, "move_file", source="output/a.txt", destination="b.txt")
        assert not moved.is_error
        listed = (await self.use(me, "list_files")).content
        assert '"b.txt"' in listed and '"total": 1' in listed
        assert not (await self.use(me, "create_folder", path="new/folder")).is_error
        assert "is a file" in (await self.use(me, "create_folder", path="b.txt/x")).content
        assert '"total": 1' in (await self.use(me, "list_files", recursive=True)).content
        await self.use(me, "write_file", path="x/1", content="")
        await self.use(me, "write_file", path="x/2", content="")
        assert (await self.use(me, "delete_file", path="x")).content == "2 files were deleted."
        assert (await self.use(me, "delete_file", path="b.txt")).content == "The file was deleted."

    async def test_what_is_no_text_and_what_is_long(self, me: OwnPilot, app: None):
        await make(me, sessionId="s")
        await put(me, "s", "raw", base64.b64encode(b"\xff\0").decode(), encoding="base64")
        await put(me, "s", "long", "ä" * 150_000)
        raw = await self.use(me, "read_file", path="raw")
        assert raw.is_error and "2 bytes that are no text" in raw.content
        long = await self.use(me, "read_file", path="long")
        assert not long.is_error and long.content.startswith("ä" * 100_000) and "300000 bytes" in long.content

    async def test_a_request_has_a_workspace_for_its_tools_and_a_wrong_session_none(self, me: OwnPilot, app: None):
        used = await me.post("/tools/write_file/execute", arguments={"path": "a", "content": "1"})
        assert used["isError"] is False, used
        assert (await me.get(f"{AT}/default/files/a"))["content"] == "1"
        wrong = await self.use(me, "list_files", "../other")
        assert wrong.is_error and "cannot name a workspace" in wrong.content

    async def test_a_conversation_has_one_of_its_own_or_the_one_it_names(
        self, http: httpx.AsyncClient, stack: Environment
    ):
        me = await chatting(http, stack.ports["providers"])
        call = {"call": "use_tool", "arguments": {
            "tool_name": "write_file", "arguments": {"path": "a.txt", "content": "from chat"},
        }}  # fmt: skip
        said = await me.say(script([call], ["done"]))
        assert (await me.get(f"{AT}/{said['conversationId']}/files/a.txt"))["content"] == "from chat"
        named = str(uuid.uuid4())
        await me.say(script([call], ["done"]), workspaceId=named)
        assert (await me.get(f"{AT}/{named}/files/a.txt"))["content"] == "from chat"
