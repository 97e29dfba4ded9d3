"""Tools: listed, explained, used by requests and by models, under the same rules."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from pydantic import Field

from functions.ownpilot import tools
from functions.ownpilot.core.agent_store import Agent, stored_agents
from functions.ownpilot.core.owner import Person
from functions.ownpilot.core.tool_context import ToolContext, ToolError, ToolResult
from functions.ownpilot.tools import meta, use
from functions.ownpilot.tools.bodies import Batch
from functions.ownpilot.tools.categories import CATEGORIES
from functions.ownpilot.tools.registry import FunctionTool, Tool, built_in, members_of, tool
from functions.ownpilot.tools.schemas import help_of
from functions.ownpilot.tools.use import use_tool
from shared.tables import StorageUnavailable
from shared.tables.client import client
from tests.support.failing import Failing
from tests.support.ownpilot import OwnPilot, data_of, refused
from tests.support.records import Counting

LIST = {"tool": "list_tasks"}


async def execute(me: OwnPilot, name: str, **arguments: Any) -> dict[str, Any]:
    return await me.post(f"/tools/{name}/execute", arguments=arguments)


async def model(me: OwnPilot, name: str, arguments: dict[str, Any] | str, **context: Any) -> ToolResult:
    """What a model reads that calls a tool."""
    return await use_tool(ToolContext(me.user, source="chat", **context), name, arguments)


def events_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The events of a stream, each with its data."""
    found: list[tuple[str, dict[str, Any]]] = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


class TestLists:
    async def test_every_tool_is_listed_with_its_schema(self, me: OwnPilot):
        listed = await me.get("/tools")
        assert len(listed) == len(built_in())
        for each in listed:
            assert set(each) == {"name", "description", "parameters", "category", "source"}
            assert each["parameters"]["type"] == "object" and each["description"].endswith(".")
            assert each["category"] in CATEGORIES and "$ref" not in str(each["parameters"])
        by_name = {each["name"]: each for each in listed}
        assert by_name["add_task"]["parameters"] == {
            "type": "object",
            "properties": {
                "title": {"type": "string"},
                "dueDate": {
                    "type": "string", "format": "date-time",
                    "description": "A date, or a time in ISO 8601 such as 2026-01-31T09:00:00Z",
                },
                "priority": {"type": "string", "enum": ["low", "normal", "high", "urgent"]},
                "category": {"type": "string"},
                "notes": {"type": "string", "description": "What else there is to know"},
            },
            "required": ["title"],
        }  # fmt: skip
        sources = {name: by_name[name]["source"] for name in ("add_task", "recall", "create_goal", "create_note")}
        assert sources == {
            "add_task": "personalData", "recall": "memory", "create_goal": "goals", "create_note": "core",
        }  # fmt: skip

    async def test_tools_are_grouped_by_category(self, me: OwnPilot):
        grouped = await me.get("/tools", grouped="true")
        assert grouped == await me.get("/tools/meta/grouped")
        assert grouped["totalTools"] == len(built_in())
        assert grouped["totalCategories"] == len(grouped["categories"])
        notes = grouped["categories"]["notes"]
        assert set(notes["info"]) == {"icon", "description"}
        assert [each["name"] for each in notes["tools"]] == members_of(["notes"])
        categories = await me.get("/tools/meta/categories")
        assert categories["notes"] == {**notes["info"], "count": 5}
        assert {name: each["count"] for name, each in categories.items()} == {
            name: len(each["tools"]) for name, each in grouped["categories"].items()
        }

    async def test_one_tool_and_its_source(self, me: OwnPilot):
        shown = await me.get("/tools/delete_task")
        assert (shown["name"], shown["parameters"]["required"]) == ("delete_task", ["taskId"])
        source = await me.get("/tools/delete_task/source")
        assert source["name"] == "delete_task" and "async def delete_task(" in source["source"]

    @pytest.mark.parametrize("path", ["", "/source"])
    async def test_an_unknown_tool_is_not_found_and_similar_ones_are_named(self, me: OwnPilot, path: str):
        message = refused(await me.send("GET", f"/tools/delete_taks{path}"), 404, "NOT_FOUND")
        assert "delete_task" in message

    @pytest.mark.usefixtures("app")
    async def test_an_agent_has_its_own_tools_and_those_of_its_groups(self, me: OwnPilot):
        agent = Agent(name="a", system_prompt="p", tools=["recall", "no_tool"], tool_groups=["tasks", "unknown"])
        await stored_agents.of(me.user).insert(agent)
        listed = {each["name"] for each in await me.get("/tools", agentId=agent.id)}
        assert listed == {"recall", *members_of(["tasks"])}
        assert (await me.get("/tools/recall", agentId=agent.id))["name"] == "recall"
        refused(await me.send("GET", "/tools/remember", params={"agentId": agent.id}), 404, "NOT_FOUND")
        refused(await me.send("GET", "/tools", params={"agentId": "nobody"}), 404, "NOT_FOUND")
        free = await stored_agents.of(me.user).insert(Agent(name="b", system_prompt="p"))
        assert len(await me.get("/tools", agentId=free.id)) == len(built_in())


class TestExecute:
    async def test_a_tool_does_what_its_room_does(self, me: OwnPilot):
        done = await execute(me, "add_task", title="Buy milk", dueDate="2030-03-01", notes="Two litres")
        assert set(done) == {"tool", "result", "isError", "duration"}
        assert (done["tool"], done["isError"]) == ("add_task", False) and done["duration"] > 0
        task = json.loads(done["result"])["task"]
        assert await me.get(f"/tasks/{task['id']}") == task
        assert (task["dueDate"], task["description"]) == ("2030-03-01T00:00:00.000Z", "Two litres")

    async def test_the_body_may_be_absent(self, me: OwnPilot):
        done = data_of(await me.send("POST", "/tools/list_tasks/execute"))
        assert (json.loads(done["result"]), done["isError"]) == ({"tasks": [], "total": 0}, False)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [({}, "missing required parameter title"), ({"title": 5}, "title: "),
         ({"title": "t", "dueDate": "soon"}, "dueDate: "),
         ({"title": "t", "priority": "huge"}, "priority: "),
         ({"title": None}, "missing required parameter title"), ({"title": " "}, "title")],
    )  # fmt: skip
    async def test_wrong_arguments_are_a_result_that_tells_how_to_do_it(
        self, me: OwnPilot, arguments: dict[str, Any], told: str
    ):
        done = await execute(me, "add_task", **arguments)
        assert done["isError"] is True and told in done["result"], done
        assert await me.get("/tasks") == []
        if "blank" not in done["result"]:
            assert "- title (string, required)" in done["result"]

    @pytest.mark.parametrize("body", [{"arguments": "x"}, {"arguments": [1]}, {"arguments": None}])
    async def test_arguments_must_be_an_object(self, me: OwnPilot, body: dict[str, Any]):
        refused(await me.send("POST", "/tools/list_tasks/execute", json=body), 400, "INVALID_REQUEST")

    @pytest.mark.parametrize(
        ("name", "arguments", "told"),
        [("add_note", {"title": "t", "content": "x" * 250_000}, "only the first 204800"),
         ("add_note", {"title": "t", "content": "x" * 2_000_000}, "at most 262144 characters"),
         ("add_custom_record", {"table": "t", "data": {"n": [10**30]}}, "below 2^63"),
         ("add_custom_record", {"table": "t", "data": {f"{n}{'k' * 900}": "x" for n in range(3000)}}, "not found"),
         ("list_notes", {"limit": 10**400}, ""), ("search_notes", {"query": "(a+)+$" * 100_000}, ""),
         ("search_tools", {"query": "zebra " * 100_000}, "No tool"), ("list_notes", {"search": "\x00"}, "")],
    )  # fmt: skip
    async def test_hostile_arguments_end_in_a_result(
        self, me: OwnPilot, name: str, arguments: dict[str, Any], told: str
    ):
        answer = await me.send("POST", f"/tools/{name}/stream", json={"arguments": arguments})
        (first, _), (second, result), (third, _) = events_of(answer.text)
        assert (first, third) == ("start", "complete") and second in ("result", "error")
        assert told in result.get("result", "") + result.get("error", "")

    async def test_an_unknown_tool_is_not_found(self, me: OwnPilot):
        for path in ("execute", "stream"):
            refused(await me.send("POST", f"/tools/nothing/{path}", json={}), 404, "NOT_FOUND")

    async def test_another_persons_record_is_not_there(self, me: OwnPilot, http: httpx.AsyncClient):
        task = await me.post("/tasks", title="mine")
        done = await execute(OwnPilot(http), "complete_task", task_id=task["id"])
        assert (done["isError"], done["result"]) == (True, "Task not found")
        assert (await me.get(f"/tasks/{task['id']}"))["status"] == "pending"

    async def test_a_call_is_audited_and_debugged_without_secrets(self, me: OwnPilot):
        secret = "sk-4f9d0a7b1c2e3f4a5b6c7d8e"
        await me.post("/custom-data/tables", name="keys", displayName="k", columns=[{"name": "token", "type": "text"}])
        answer = await me.send(
            "POST", "/tools/add_custom_record/execute", json={"arguments": {"table": "keys", "data": {"token": secret}}}
        )
        assert data_of(answer)["isError"] is False, answer.text
        await execute(me, "delete_note", noteId="none")
        bad, good = (await me.get("/audit", limit=10))["events"][:2]
        assert (good["type"], good["resource"]["id"], good["actor"]["type"]) == (
            "tool.success",
            "add_custom_record",
            "user",
        )
        assert good["details"]["durationMs"] > 0 and good["correlationId"] == answer.headers["x-request-id"]
        assert good["details"]["arguments"] == {"table": "keys", "data": {"token": "[REDACTED]"}}
        assert (bad["type"], bad["outcome"], bad["details"]["error"]) == ("tool.error", "failure", "Note not found")
        debug = await me.get("/debug")
        assert sorted(each["type"] for each in debug["entries"]) == ["tool_call"] * 2 + ["tool_result"] * 2
        assert secret not in json.dumps(debug["entries"]) + json.dumps([bad, good])


class TestStream:
    async def test_events_come_in_their_order(self, me: OwnPilot):
        answer = await me.send("POST", "/tools/list_tasks/stream", json={"arguments": {"filter": "all"}})
        assert answer.headers["content-type"].startswith("text/event-stream")
        (first, start), (second, result), (third, complete) = events_of(answer.text)
        assert (first, second, third) == ("start", "result", "complete")
        assert (start["tool"], start["arguments"]) == ("list_tasks", {"filter": "all"})
        assert (result["success"], result["isError"]) == (True, False)
        assert json.loads(result["result"]) == {"tasks": [], "total": 0}
        assert set(complete) == {"duration", "timestamp"}

    async def test_a_failure_is_an_event(self, me: OwnPilot):
        answer = await me.send("POST", "/tools/complete_task/stream", json={"arguments": {"task_id": "none"}})
        names, (_, error, _) = zip(*events_of(answer.text), strict=True)
        assert names == ("start", "error", "complete")
        assert (error["success"], error["error"]) == (False, "Task not found")


class TestBatch:
    @pytest.mark.parametrize("parallel", [True, False])
    async def test_each_call_has_its_result_in_the_order_of_the_calls(self, me: OwnPilot, parallel: bool):
        calls = [
            {"tool": "add_note", "arguments": {"title": "t", "content": "c"}}, {"tool": "nothing"},
            {"tool": "delete_note", "arguments": {"noteId": "x"}}, {"tool": "list_tasks"},
        ]  # fmt: skip
        done = await me.post("/tools/batch", executions=calls, parallel=parallel)
        assert [row["tool"] for row in done["results"]] == [call["tool"] for call in calls]
        assert [row["success"] for row in done["results"]] == [True, False, False, True]
        assert [row["isError"] for row in done["results"]] == [False, True, True, False]
        assert (done["successCount"], done["failureCount"]) == (2, 2) and done["totalDuration"] > 0
        assert "result" in done["results"][0] and "error" not in done["results"][0]
        assert done["results"][2]["error"] == "Note not found" and "result" not in done["results"][2]

    async def test_one_after_the_other_sees_what_came_before(self, me: OwnPilot):
        calls = [{"tool": "add_task", "arguments": {"title": "t"}}, {"tool": "list_tasks"}]
        done = await me.post("/tools/batch", executions=calls, parallel=False)
        assert json.loads(done["results"][1]["result"])["total"] == 1

    @pytest.mark.parametrize(
        "body", [{}, {"executions": []}, {"executions": [{"arguments": {}}]}, {"executions": [LIST] * 51},
                 {"executions": [LIST], "parallel": "maybe"}],
    )  # fmt: skip
    async def test_what_is_no_batch_is_refused(self, me: OwnPilot, body: dict[str, Any]):
        refused(await me.send("POST", "/tools/batch", json=body), 400, "INVALID_REQUEST")

    @pytest.mark.usefixtures("app")
    async def test_what_would_begin_too_late_is_not_begun(self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(tools, "BATCH_SECONDS", -1)
        batch = Batch.model_validate({"executions": [{"tool": "add_task", "arguments": {"title": "t"}}, LIST]})
        done = await tools.execute_tools(batch, Person(me.user))
        assert [(row.is_error, row.error and row.error[:10]) for row in done.results] == [(True, "Not begun:")] * 2
        assert await me.get("/tasks") == []


class TestMeta:
    """What a model has instead of all schemas."""

    async def test_search_needs_all_words_in_name_description_category_or_tags(self, me: OwnPilot):
        found = (await execute(me, "search_tools", query="todo CREATE"))["result"]
        assert "add_task" in found and "batch_add_tasks" in found and "create_goal" not in found
        only = (await execute(me, "search_tools", query="create", category="goals"))["result"]
        assert "- create_goal (goals): " in only and "add_task" not in only
        everything = (await execute(me, "search_tools", query="all"))["result"]
        assert len(everything.splitlines()) == len(built_in()) + 1
        assert "No tool matches" in (await execute(me, "search_tools", query="zebra"))["result"]

    async def test_help_tells_the_parameters(self, me: OwnPilot):
        found = (await execute(me, "get_tool_help", tool_name="batch_add_tasks"))["result"]
        assert "- tasks (list of object with dueDate?, priority?, category?, notes?, title, required)" in found
        done = await execute(me, "get_tool_help", tool_name="add_tsk")
        assert done["isError"] and "add_task" in done["result"]

    async def test_use_tool_is_a_call_of_the_tool_inside(self, me: OwnPilot):
        done = await execute(me, "use_tool", tool_name="add_note", arguments={"title": "t", "content": "c"})
        assert not done["isError"] and [each["title"] for each in await me.get("/notes")] == ["t"]
        [event] = (await me.get("/audit"))["events"]
        assert event["resource"]["id"] == "add_note"

    @pytest.mark.usefixtures("app")
    @pytest.mark.parametrize(
        ("arguments", "told"),
        [({}, "missing required parameter tool_name"), ({"tool_name": "use_tool"}, "cannot use"),
         ({"tool_name": "delete_taks"}, "delete_task"), ({"tool_name": "add_task"}, "missing required parameter title"),
         ({"tool_name": "add_task", "arguments": [1]}, "arguments: "),
         ("{bad", "not valid JSON"), ("[]", "JSON object")],
    )  # fmt: skip
    async def test_a_wrong_use_is_told(self, me: OwnPilot, arguments: dict[str, Any] | str, told: str):
        done = await model(me, "use_tool", arguments)
        assert done.is_error and told in done.content

    def test_the_tool_inside_is_told_before_it_runs(self):
        inner = meta.unwrapped("use_tool", '{"tool_name": "add_task", "arguments": {"title": "t"}}')
        assert inner == ("add_task", {"title": "t"})
        assert meta.unwrapped("use_tool", {"tool_name": "goal_stats"}) == ("goal_stats", {})
        assert meta.unwrapped("add_task", "{}") == ("add_task", "{}")


@pytest.fixture
def own_tools(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tool]:
    """Tools of the test's own, in place of the others."""
    made: dict[str, Tool] = {}
    monkeypatch.setattr("functions.ownpilot.tools.registry.built_in", lambda: made)
    return made


def add(tools: dict[str, Tool], function: Any, **declared: Any) -> None:
    tools[function.__name__] = FunctionTool(function.__name__, "core", function, **declared)


@pytest.mark.usefixtures("app")
class TestDoor:
    """What holds for every tool and every caller."""

    async def test_arguments_of_a_model_are_json(self, me: OwnPilot):
        assert not (await model(me, "add_note", '{"title": "t", "content": "c"}')).is_error
        assert not (await model(me, "list_notes", "")).is_error
        assert not (await model(me, "list_notes", '{"limit": null, "search": null, "unknown": 1}')).is_error
        assert "not valid JSON" in (await model(me, "add_note", '{"title": "t", "con')).content
        assert (await model(me, "add_note", '{"title": "\\ud800", "content": "c"}')).is_error

    async def test_the_agent_is_the_actor(self, me: OwnPilot):
        await model(me, "goal_stats", {}, agent="agent_1", correlation_id="c1")
        [event] = (await me.get("/audit"))["events"]
        assert (event["actor"], event["correlationId"]) == ({"type": "agent", "id": "agent_1"}, "c1")
        assert event["details"]["source"] == "chat"

    async def test_a_call_costs_its_tool_the_rules_and_the_logs(self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch):
        note = {"title": "t", "content": "c"}
        await model(me, "add_note", note)
        counting = Counting(client().wire.transport)
        monkeypatch.setattr(client().wire, "transport", counting)
        await model(me, "add_note", note)
        assert counting.calls.pop("batch") in (2, 3), "audit, and debug twice, which may be written together"
        assert counting.calls == {"query": 1, "write": 1}, "rules; note"
        counting.reset()
        await model(me, "search_tools", {"query": "note"})
        assert counting.calls.total() == 0

    async def test_only_allowed_tools_are_there(self, me: OwnPilot):
        done = await model(me, "delete_note", {"noteId": "x"}, allowed=["list_notes"])
        assert done.is_error and "no tool named 'delete_note'" in done.content and "list_notes" in done.content
        assert not (await model(me, "use_tool", {"tool_name": "list_notes"}, allowed=["list_notes"])).is_error
        found = await model(me, "search_tools", {"query": "all"}, allowed=["list_notes"])
        assert found.content.startswith("1 tools:\n- list_notes")

    async def test_a_failure_is_a_result_without_its_inside(self, me: OwnPilot, own_tools: dict[str, Tool]):
        async def broken(context: ToolContext) -> str:
            """Fail."""
            raise RuntimeError("the inside")

        async def refusing(context: ToolContext) -> str:
            """Refuse."""
            raise ToolError("Give it another name.")

        async def waiting(context: ToolContext) -> str:
            """Meet a busy storage."""
            raise StorageUnavailable("busy")

        for function in (broken, refusing, waiting):
            add(own_tools, function)
        broken_result = await model(me, "broken", {})
        assert (broken_result.content, broken_result.is_error) == ("broken failed.", True)
        assert (await model(me, "refusing", {})).content == "Give it another name."
        assert (await model(me, "waiting", {})).content == "The storage service does not answer"

    async def test_a_tool_that_takes_too_long_is_stopped(
        self, me: OwnPilot, own_tools: dict[str, Tool], monkeypatch: pytest.MonkeyPatch
    ):
        stopped: list[str] = []

        async def endless(context: ToolContext) -> str:
            """Never end."""
            try:
                await asyncio.Event().wait()
            finally:
                stopped.append("endless")
            return ""

        add(own_tools, endless, seconds=0.05)
        done = await model(me, "endless", {})
        assert done.is_error and "did not end" in done.content and stopped == ["endless"]

    @pytest.mark.parametrize("text", ["x" * 300_000, "é" * 150_000])
    async def test_a_long_result_is_cut_with_a_note(self, me: OwnPilot, own_tools: dict[str, Tool], text: str):
        async def long(context: ToolContext) -> str:
            """Say much."""
            return text

        add(own_tools, long)
        done = await model(me, "long", {})
        kept, _, note = done.content.partition("\n")
        assert len(kept.encode()) == use.MAX_BYTES and text.startswith(kept)
        assert note == "[The result has 300000 bytes; only the first 204800 are shown.]" and done.metadata == {
            "cut": True
        }

    async def test_tools_inside_tools_end(self, me: OwnPilot, own_tools: dict[str, Tool]):
        async def nested(context: ToolContext) -> str:
            """Use itself."""
            deeper = ToolContext(context.owner, source="plan", depth=context.depth + 1)
            return (await use_tool(deeper, "nested", {})).content

        add(own_tools, nested)
        assert "At most 5 tools" in (await model(me, "nested", {})).content

    async def test_a_call_that_cannot_be_written_down_has_its_result_all_the_same(
        self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch
    ):
        failing = Failing(client().wire.transport, "OwnpilotAudit", StorageUnavailable("busy"))
        monkeypatch.setattr(client().wire, "transport", failing)
        done = await model(me, "add_note", {"title": "t", "content": "c"})
        assert not done.is_error and failing.done

    async def test_a_blocked_tool_waits_for_approval_and_the_same_call_passes_then(self, me: OwnPilot):
        note = await me.post("/notes", title="t", content="c")
        await me.data("PATCH", "/autonomy/config", json={"blockedTools": ["delete_note"]})
        done = await execute(me, "use_tool", tool_name="delete_note", arguments={"noteId": note["id"]})
        assert done["isError"] and "rejected" in done["result"]
        held = await model(me, "delete_note", {"noteId": note["id"]})
        assert held.metadata["rejected"] and held.metadata["pendingAction"] in held.content
        assert (await me.get(f"/notes/{note['id']}"))["title"] == "t"
        await me.post(f"/autonomy/approve/{held.metadata['pendingAction']}")
        assert not (await execute(me, "delete_note", noteId=note["id"]))["isError"]
        assert (await me.get("/notes")) == []


class TestDeclaration:
    def test_parameters_follow_from_the_signature(self):
        async def convert(
            context: ToolContext,
            json: str,
            from_: Annotated[float, Field(description="Of what")] = 1,
            max_length: int | None = None,
        ) -> str:
            """Convert
            something."""
            return ""

        made = FunctionTool("convert", "core", convert, camel=True)
        assert made.description == "Convert something."
        assert made.parameters == {
            "type": "object",
            "properties": {
                "json": {"type": "string"}, "from": {"type": "number", "default": 1, "description": "Of what"},
                "maxLength": {"type": "integer"},
            },
            "required": ["json"],
        }  # fmt: skip
        assert help_of("convert", made.description, made.parameters).splitlines()[2:] == [
            "- json (string, required)", "- from (number, optional): Of what", "- maxLength (integer, optional)",
        ]  # fmt: skip

    def test_two_tools_cannot_have_one_name(self):
        assert built_in()
        with pytest.raises(ValueError, match="two tools named add_task"):

            @tool(category="core", name="add_task")
            async def another(context: ToolContext) -> AsyncIterator[None]:
                """Never declared."""
                raise AssertionError
