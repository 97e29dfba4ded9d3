"""Custom tools: their rules, who may use them and when, and where they run."""

import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import pytest

from functions.ownpilot.core.argument_schema import filled, schema_of_arguments
from functions.ownpilot.core.custom_tool_store import (
    FORBIDDEN,
    CustomTool,
    Permission,
    active_tools,
    custom_tools,
)
from functions.ownpilot.core.tool_context import ToolContext, WrongArguments
from functions.ownpilot.custom_tools import running
from functions.ownpilot.custom_tools.container import KIND, OwnpilotToolRun, token_of
from functions.ownpilot.custom_tools.runs import ToolRun, finish, purge_tool_runs, tool_runs
from functions.ownpilot.custom_tools.work import ToolOutcome
from functions.ownpilot.tools.use import use_tool
from shared.jobs import Job, JobState, jobs
from shared.tables import RecordNotFound
from shared.workflows import WorkflowClient
from tests.support.environments import connected
from tests.support.ownpilot import OwnPilot, refused

PHONE = {
    "type": "object",
    "properties": {
        "phone": {"type": "string"}, "countryCode": {"type": "string", "default": "+1"},
    },
    "required": ["phone"],
}  # fmt: skip
NEW = {
    "name": "format_phone", "description": "Format a phone number", "parameters": PHONE, "category": "utility",
    "code": "return `${args.countryCode}${args.phone.replace(/\\D/g, '')}`;",
}  # fmt: skip


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "Upper"}, "name"), ({"name": "1st"}, "name"), ({"name": None}, "name"), ({"name": "x" * 65}, "name"),
    ({"description": " "}, "blank"), ({"code": ""}, "code"), ({"code": "x" * 100_001}, "code"),
    ({"parameters": []}, "parameters"), ({"parameters": {"type": "array"}}, "must be object"),
    ({"parameters": {"properties": 1}}, "properties"), ({"parameters": {"required": [1]}}, "required"),
    ({"parameters": {"properties": {"a": {"type": "text"}}}}, "properties.a.type"),
    ({"parameters": {"properties": {"a": 1}}}, "properties.a"),
    ({"parameters": {"properties": {"a": {"type": "string", "default": 1}}}}, "properties.a.default: must be a text"),
    ({"parameters": {"items": 1}}, "items"),
    ({"parameters": {"properties": {"a": {"type": "number", "default": 10**30}}}}, "below 2^63"),
    ({"permissions": ["root"]}, "permissions"), ({"createdBy": "me"}, "createdBy"),
    ({"requiredApiKeys": [{"name": "A B"}]}, "requiredApiKeys"),
    ({"requiredApiKeys": [{"name": "a", "docsUrl": "javascript:x"}]}, "docsUrl"),
    *(({"code": f"return {each}x);"}, f"must not contain {each}") for each in FORBIDDEN),
]  # fmt: skip
"""Members that a tool cannot have, and what the refusal says."""


async def make(me: OwnPilot, code: str = NEW["code"], **members: Any) -> dict[str, Any]:
    """A new tool; without parameters of its own when it has code of its own."""
    own = {} if code == NEW["code"] else {"parameters": {}}
    return await me.post("/custom-tools", **{**NEW, **own, "code": code, **members})


async def execute(me: OwnPilot, tool: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    return await me.post(f"/custom-tools/{tool['id']}/execute", arguments=arguments)


async def run(me: OwnPilot, code: str, arguments: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """What a trial of code answers."""
    return await me.post("/custom-tools/test", code=code, testArguments=arguments or {}, **members)


class TestRecords:
    async def test_a_tool_is_made_listed_changed_and_deleted(self, me: OwnPilot):
        made = await make(me)
        assert made["status"] == "active" and made["version"] == 1 and made["usageCount"] == 0
        assert (made["requiresApproval"], made["createdBy"], made["permissions"]) == (False, "user", [])
        assert made["parameters"] == PHONE and made["userId"] == me.user and "lastUsedAt" not in made
        assert await me.get(f"/custom-tools/{made['id']}") == made
        await make(me, name="other", category="text", createdBy="llm")
        assert (await me.get("/custom-tools"))["count"] == 2
        for query, names in (
            ({"status": "active"}, ["format_phone"]), ({"status": "pending_approval"}, ["other"]),
            ({"category": "text"}, ["other"]), ({"createdBy": "user"}, ["format_phone"]),
            ({"limit": 1}, ["other"]), ({"limit": 1, "offset": 1}, ["format_phone"]),
        ):  # fmt: skip
            assert [each["name"] for each in (await me.get("/custom-tools", **query))["tools"]] == names
        refused(await me.send("GET", "/custom-tools", params={"status": "x"}), 400)
        path = f"/custom-tools/{made['id']}"
        changed = await me.data("PATCH", path, json={"description": "Another", "permissions": ["database"]})
        assert (changed["version"], changed["description"]) == (1, "Another")
        changed = await me.data("PATCH", path, json={"code": "return 2;", "createdBy": "llm"})
        assert (changed["version"], changed["createdBy"], changed["status"]) == (2, "user", "active")
        assert (await me.data("PATCH", path, json={"parameters": {}}))["version"] == 3
        assert await me.data("DELETE", path) == {"deleted": True}
        for method in ("GET", "PATCH", "DELETE"):
            refused(await me.send(method, path, json={}), 404)

    async def test_what_a_tool_cannot_be_is_refused_with_the_reason(self, me: OwnPilot):
        for members, word in WRONG:
            answer = await me.send("POST", "/custom-tools", json={**NEW, **members})
            assert word in refused(answer, 400, "INVALID_REQUEST"), members
        refused(await me.send("POST", "/custom-tools", content=b"{"), 400, "BAD_REQUEST")
        assert (await me.get("/custom-tools"))["count"] == 0

    async def test_a_change_is_made_to_the_version_that_was_read_and_has_the_size_of_a_new_tool(self, me: OwnPilot):
        made = await make(me)
        path = f"/custom-tools/{made['id']}"
        read = (await me.send("GET", path)).headers["etag"]
        await me.data("PATCH", path, json={"description": "Another"}, headers={"If-Match": read})
        for body in ({"description": "A third"}, {"name": "third"}):
            stale = await me.send("PATCH", path, json=body, headers={"If-Match": read})
            refused(stale, 412, "PRECONDITION_FAILED")
        long = {"metadata": {"text": "x" * 300_000}}
        refused(await me.send("POST", "/custom-tools", json={**NEW, "name": "long", **long}), 400, "LIMIT_REACHED")
        refused(await me.send("PATCH", path, json=long), 400, "LIMIT_REACHED")
        assert (await me.get(path))["description"] == "Another"

    async def test_patterns_are_looked_for_in_any_case_and_in_changes_too(self, me: OwnPilot):
        refused(await me.send("POST", "/custom-tools", json={**NEW, "code": "REQUIRE('fs')"}), 400)
        made = await make(me)
        message = refused(
            await me.send("PATCH", f"/custom-tools/{made['id']}", json={"code": "return PROCESS.exit()"}), 400
        )
        assert "process.exit" in message
        assert (await me.get(f"/custom-tools/{made['id']}"))["code"] == NEW["code"]
        assert (await make(me, "const myglobal = { x: 1 }; return myglobal.x;", name="near"))["status"] == "active"

    async def test_a_name_belongs_to_one_tool_of_all_kinds(self, me: OwnPilot):
        for name in ("calculate", "add_task", "use_tool"):
            refused(await me.send("POST", "/custom-tools", json={**NEW, "name": name}), 409, "CONFLICT")
        await make(me)
        refused(await me.send("POST", "/custom-tools", json=NEW), 409, "CONFLICT")
        other = await make(me, name="other")
        for name in ("format_phone", "calculate"):
            refused(await me.send("PATCH", f"/custom-tools/{other['id']}", json={"name": name}), 409, "CONFLICT")
        answers = await asyncio.gather(
            *(me.send("POST", "/custom-tools", json={**NEW, "name": "twice"}) for _ in range(4))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
        assert (await make(OwnPilot(me.http)))["name"] == "format_phone"

    async def test_the_tools_of_another_person_do_not_exist(self, me: OwnPilot):
        made, other = await make(me), OwnPilot(me.http)
        path = f"/custom-tools/{made['id']}"
        for method, target in (
            ("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/execute"), ("POST", f"{path}/disable"),
        ):  # fmt: skip
            refused(await other.send(method, target, json={}), 404)
        assert (await other.get("/custom-tools"))["count"] == 0
        refused(await other.send("GET", "/tools/format_phone"), 404)

    async def test_the_services_that_a_tool_lists_are_made_and_know_of_it(self, me: OwnPilot):
        keys = [
            {"name": "skyline", "displayName": "Skyline", "category": "maps", "docsUrl": "https://x"},
            {"name": "tavily"},
        ]  # fmt: skip
        made = await make(me, requiredApiKeys=keys)
        assert [each["name"] for each in made["requiredApiKeys"]] == ["skyline", "tavily"]
        service = await me.get("/config-services/skyline")
        needs = {"type": "tool", "name": "format_phone", "id": made["id"]}
        assert service["requiredBy"] == [needs] and service["displayName"] == "Skyline"
        assert [(each["name"], each["type"]) for each in service["configSchema"]] == [("api_key", "secret")]
        tavily = await me.get("/config-services/tavily")
        assert tavily["requiredBy"] == [needs] and tavily["category"] == "search"
        path = f"/custom-tools/{made['id']}"
        await me.data("PATCH", path, json={"requiredApiKeys": keys[:1], "name": "renamed"})
        assert (await me.get("/config-services/skyline"))["requiredBy"] == [{**needs, "name": "renamed"}]
        assert (await me.get("/config-services/tavily"))["requiredBy"] == []
        await me.data("DELETE", path)
        assert (await me.get("/config-services/skyline"))["requiredBy"] == []


class TestApproval:
    @pytest.mark.parametrize(
        ("members", "status", "approval"),
        [({}, "pending_approval", True), ({"requiresApproval": False}, "active", False),
         ({"requiresApproval": False, "permissions": ["database"]}, "active", False),
         *(({"requiresApproval": False, "permissions": [each]}, "pending_approval", False)
           for each in ("shell", "filesystem", "email", "network")),
         ({"requiresApproval": True}, "pending_approval", True)],
        ids=range(8),
    )  # fmt: skip
    async def test_a_tool_of_a_model_waits_unless_it_is_harmless_and_asked_for(
        self, me: OwnPilot, members: dict[str, Any], status: str, approval: bool
    ):
        made = await make(me, createdBy="llm", **members)
        assert (made["status"], made["requiresApproval"]) == (status, approval)

    async def test_a_tool_moves_between_its_states_only_as_it_may(self, me: OwnPilot):
        made = await make(me, createdBy="llm")
        path = f"/custom-tools/{made['id']}"
        for action in ("enable", "disable", "execute"):
            assert "pending_approval" in refused(await me.send("POST", f"{path}/{action}", json={}), 400, "BAD_REQUEST")
        assert [each["id"] for each in (await me.get("/custom-tools/pending"))["tools"]] == [made["id"]]
        refused(await me.send("GET", "/tools/format_phone"), 404)
        assert await me.post(f"{path}/approve") == {"id": made["id"], "name": "format_phone", "status": "active"}
        refused(await me.send("POST", f"{path}/approve"), 400)
        refused(await me.send("POST", f"{path}/reject"), 400)
        assert (await me.get("/tools/format_phone"))["source"] == "custom"
        assert (await me.post(f"{path}/disable"))["status"] == "disabled"
        refused(await me.send("POST", f"{path}/execute", json={}), 400)
        refused(await me.send("GET", "/tools/format_phone"), 404)
        assert (await me.data("POST", f"{path}/enable"))["status"] == "active"
        assert (await me.data("PATCH", path, json={"description": "d"}))["status"] == "active"
        assert (await me.data("PATCH", path, json={"code": "return 2;"}))["status"] == "pending_approval"
        await me.post(f"{path}/approve")
        assert (await me.data("PATCH", path, json={"permissions": ["shell"]}))["status"] == "pending_approval"
        assert (await me.post(f"{path}/reject"))["status"] == "rejected"
        refused(await me.send("POST", f"{path}/enable"), 400)
        stats = await me.get("/custom-tools/stats")
        assert stats == {
            "total": 1, "active": 0, "disabled": 0, "pendingApproval": 0, "rejected": 1, "createdByLLM": 1,
            "createdByUser": 0, "totalUsage": 0,
        }  # fmt: skip
        found = await me.get("/audit")
        actions = [each["details"]["action"] for each in found["events"] if each["resource"]["type"] == "custom_tool"]
        assert {"create", "approve", "reject", "enable", "disable", "update"} <= {*actions}


@pytest.mark.usefixtures("app")
class TestUse:
    async def test_a_run_has_its_arguments_with_defaults_and_is_counted(self, me: OwnPilot):
        made = await make(me)
        done = await execute(me, made, phone="(555) 12-34")
        assert (done["tool"], done["result"], done["isError"]) == ("format_phone", "+15551234", False)
        assert done["metadata"]["dynamicTool"] is True and 0 < done["metadata"]["executionTime"] <= done["duration"]
        missing = await execute(me, made, countryCode="+49")
        assert missing["isError"] and "missing required parameter phone" in missing["result"]
        wrong = await execute(me, made, phone=5)
        assert wrong["isError"] and "phone: must be a text" in wrong["result"]
        shown = await me.get(f"/custom-tools/{made['id']}")
        assert shown["usageCount"] == 1 and shown["lastUsedAt"] > shown["createdAt"] and shown["version"] == 1
        assert (await me.get("/custom-tools/stats"))["totalUsage"] == 1

    async def test_tools_and_chat_find_it_by_its_name(self, me: OwnPilot):
        await make(me)
        shown = await me.get("/tools/format_phone")
        assert (shown["category"], shown["source"], shown["parameters"]) == ("customTools", "custom", PHONE)
        assert (await me.get("/tools/format_phone/source"))["source"] == NEW["code"]
        assert "format_phone" in [each["name"] for each in await me.get("/tools")]
        assert (await me.get("/tools/meta/categories"))["customTools"]["count"] == 1
        done = await me.post("/tools/format_phone/execute", arguments={"phone": "1"})
        assert (done["result"], done["isError"]) == ("+11", False)
        told = await use_tool(ToolContext(me.user, source="chat"), "search_tools", {"query": "phone"})
        assert "format_phone (customTools)" in told.content
        said = await use_tool(
            ToolContext(me.user, "conversation", source="chat"), "use_tool",
            {"tool_name": "format_phone", "arguments": {"phone": "2"}},
        )  # fmt: skip
        assert (said.content, said.is_error) == ("+12", False)
        hidden = await use_tool(ToolContext(me.user, allowed=["add_task"]), "format_phone", {"phone": "2"})
        assert hidden.is_error
        definitions = await me.get("/custom-tools/active/definitions")
        assert definitions["count"] == 1 and definitions["tools"][0]["parameters"] == PHONE
        agent = await me.post("/agents", name="a", systemPrompt="p", toolGroups=["customTools"])
        assert [each["name"] for each in await me.get("/tools", agentId=agent["id"])] == ["format_phone"]

    async def test_a_change_is_seen_at_once(self, me: OwnPilot):
        made = await make(me, "return 1;")
        assert (await me.post("/tools/format_phone/execute"))["result"] == "1"
        await me.data("PATCH", f"/custom-tools/{made['id']}", json={"code": "return 2;"})
        assert (await me.post("/tools/format_phone/execute"))["result"] == "2"
        await me.data("DELETE", f"/custom-tools/{made['id']}")
        refused(await me.send("POST", "/tools/format_phone/execute", json={}), 404)

    async def test_a_tool_that_everybody_has_comes_before_one_of_the_same_name(self, me: OwnPilot):
        old = CustomTool(user_id=me.user, name="calculate", description="d", parameters={}, code="return 'mine';")
        await custom_tools.of(me.user).insert(old)
        assert "calculate" in await active_tools(me.user)
        assert (await me.post("/tools/calculate/execute", arguments={"expression": "2+2"}))["result"] == "4"

    async def test_a_trial_stores_nothing(self, me: OwnPilot):
        done = await run(me, "console.log('seen', args); return args.n * 2;", {"n": 21}, name="double")
        assert (done["tool"], done["result"], done["testMode"]) == ("double", "42", True)
        assert done["metadata"]["console"] == ['seen {"n":21}']
        assert (await me.get("/custom-tools"))["count"] == 0
        assert (await me.get("/audit"))["total"] == 0
        refused(await me.send("POST", "/custom-tools/test", json={"code": "require('x')"}), 400)
        for wrong in ({}, {"code": "return 1;", "description": "x" * 6000}, {"code": "return 1;", "parameters": None}):
            refused(await me.send("POST", "/custom-tools/test", json=wrong), 400, "INVALID_REQUEST")

    async def test_code_sees_who_calls_and_its_results_become_text(self, me: OwnPilot):
        context = json.loads((await run(me, "return context;", name="who"))["result"])
        assert (context["toolName"], context["userId"], context["conversationId"]) == ("who", me.user, "")
        for code, text in (
            ("return {a: [1, null]};", '{"a":[1,null]}'), ("return 'plain';", "plain"), ("", None), ("return;", "null"),
            ("return await Promise.resolve(7);", "7"), ("return '\\ud800é';", "?é"), ("return true;", "true"),
        ):  # fmt: skip
            if text is not None:
                assert (await run(me, code))["result"] == text
        for code, words in (
            ("throw new TypeError('bad');", "TypeError: bad"), ("return nothing.x;", "nothing is not defined"),
            ("syntax error", "SyntaxError"), ("return 10n;", "TypeError"), ("throw {code: 7};", '{"code":7}'),
        ):  # fmt: skip
            done = await run(me, code)
            assert done["isError"] and words in done["result"], done

    async def test_a_tool_reads_only_the_services_that_it_has_listed(self, me: OwnPilot):
        keys = {"tavily": "key-of-tavily", "serper": 'key "of"\n serpér, of which key-of-tavily is a part'}
        for name, key in keys.items():
            await me.post(f"/config-services/{name}/entries", data={"api_key": key})
        code = """
            return [utils.getApiKey("tavily").length, utils.getApiKey("serper"), utils.getConfigEntries("serper"),
                    utils.getFieldValue("tavily", "api_key").length, Object.keys(utils.getServiceConfig("tavily")),
                    utils.getConfigEntry("tavily", "Default").isDefault, utils.getConfigEntry("tavily", "none")];
        """
        done = await run(me, code, requiredApiKeys=[{"name": "tavily"}])
        assert json.loads(done["result"]) == [13, None, [], 13, ["api_key"], True, None]
        leaked = await run(
            me, "console.log(utils.getApiKey('tavily')); return utils.getApiKey('tavily');",
            requiredApiKeys=[{"name": "tavily"}],
        )  # fmt: skip
        assert (leaked["result"], leaked["metadata"]["console"]) == ("****", ["****"])
        assert (await run(me, "return utils.getApiKey('tavily');"))["result"] == "null"
        other = "return args.asList ? [utils.getApiKey('serper'), 'é'] : utils.getApiKey('serper');"
        for arguments, shown in ({}, "****"), ({"asList": True}, '["****","é"]'):
            done = await run(me, other, arguments, requiredApiKeys=[{"name": each} for each in keys])
            assert done["result"] == shown

    async def test_a_tool_uses_others_under_the_rules_of_its_user(self, me: OwnPilot):
        code = """
            const sum = await utils.callTool("calculate", { expression: "6 * 7" });
            const [one, two] = await Promise.all(["a", "b"].map((title) => utils.callTool("add_task", { title })));
            let refusal = "";
            try { await utils.callTool("no_such_tool"); } catch (error) { refusal = error.message; }
            return { sum, title: one.task.title, refusal, count: utils.listTools().length };
        """
        made = await make(me, code)
        found = json.loads((await execute(me, made))["result"])
        assert (found["sum"], found["title"]) == (42, "a") and "no_such_tool" in found["refusal"]
        assert found["count"] == len(await me.get("/tools"))
        assert len(await me.get("/tasks")) == 2
        logged = (await me.get("/audit"))["events"]
        assert sorted(each["resource"]["id"] for each in logged if each["type"] == "tool.success") == [
            "add_task", "add_task", "calculate", "format_phone",
        ]  # fmt: skip
        await me.post("/autonomy/tools/block", tool="calculate")
        done = await execute(me, made)
        assert done["isError"] and "calculate is blocked" in done["result"]
        context = ToolContext(me.user, source="chat", allowed=["format_phone", "add_task"])
        assert "calculate" in (await use_tool(context, "format_phone", {})).content

    async def test_at_most_twenty_calls_and_three_levels(self, me: OwnPilot):
        twenty = "for (let i = 0; i < 21; i++) await utils.callTool('generate_uuid'); return 'all';"
        done = await run(me, twenty)
        assert done["isError"] and "at most 20" in done["result"]
        await make(
            me, "return `${args.n ?? 0} ` + await utils.callTool('deeper', { n: (args.n ?? 0) + 1 });", name="deeper"
        )
        done = await me.post("/tools/deeper/execute")
        assert done["isError"] and "At most 3 tools" in done["result"]

    async def test_two_runs_at_once_are_both_counted(self, me: OwnPilot):
        made = await make(me, "return 1;")
        await asyncio.gather(*(execute(me, made) for _ in range(4)))
        assert (await me.get(f"/custom-tools/{made['id']}"))["usageCount"] == 4


class TestArguments:
    SCHEMA = schema_of_arguments({
        "properties": {
            "list": {"type": "array", "items": {
                "type": "object", "required": ["n"],
                "properties": {"n": {"type": "integer"}, "unit": {"enum": ["m", "km"], "default": "m"}},
            }},
            "any": {"type": ["string", "null"]}, "on": {"type": "boolean", "default": False},
            "none": {"type": "string", "default": None},
        },
    })  # fmt: skip

    def test_defaults_are_filled_at_every_level(self):
        found = filled(self.SCHEMA, {"list": [{"n": 1}, {"n": 2.0, "unit": "km", "more": 1}], "any": None})
        assert found == {
            "list": [{"n": 1, "unit": "m"}, {"n": 2.0, "unit": "km", "more": 1}], "any": None, "on": False,
        }  # fmt: skip

    def test_everything_that_is_wrong_is_named_with_its_place(self):
        given = {"list": [{"n": 1.5}, {"unit": "ft"}, 7, {"n": True}], "any": 1, "on": "yes"}
        with pytest.raises(WrongArguments) as error:
            filled(self.SCHEMA, given)
        assert error.value.reasons == [
            "list.0.n: must be a whole number", "missing required parameter list.1.n",
            "list.1.unit: must be one of m, km",
            "list.2: must be an object", "list.3.n: must be a whole number", "any: must be a text or null",
            "on: must be true or false",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [('{"phone": "1", "more": [' + "1," * 20_000 + "1]}", "20000 members"),
         ('{"phone": "' + "1" * 1_000_000 + '"}', "1000000 characters"),
         ('{"phone": "1", "more": ' + "[" * 900 + "]" * 900 + "}", "at most 100 levels")],
        ids=["members", "characters", "levels"],
    )  # fmt: skip
    @pytest.mark.parametrize("name", ["format_phone", "calculate", "use_tool"])
    @pytest.mark.usefixtures("app")
    async def test_what_is_too_large_or_too_deep_is_refused(self, me: OwnPilot, name: str, arguments: str, told: str):
        await make(me)
        if name == "use_tool":
            arguments = f'{{"tool_name": "format_phone", "arguments": {arguments}}}'
        done = await use_tool(ToolContext(me.user), name, arguments)
        assert done.is_error and told in done.content[:200]


UTILS: list[tuple[str, Any]] = [
    *((f"hash({json.dumps(text)}, '{name}')", hashlib.new(name, text.encode()).hexdigest())
      for name in ("md5", "sha1", "sha256") for text in ("", "abc", "é" * 60, "x" * 56, "x" * 1000)),
    ("hash('abc')", hashlib.sha256(b"abc").hexdigest()),
    ("[isUuid(uuid()), uuid() !== uuid(), isUuid('x')]", [True, True, False]),
    ("[base64Encode('häß'), base64Decode('aMOkw58='), base64Decode('aMOkw58'), base64Encode('')]",
     ["aMOkw58=", "häß", "häß", ""]),
    ("[hexEncode('hé'), hexDecode('68c3a9')]", ["68c3a9", "hé"]),
    ("[urlEncode('a b&ü'), urlDecode('a%20b%26%C3%BC')]", ["a%20b%26%C3%BC", "a b&ü"]),
    ("[now().length, Math.abs(timestamp() - Date.parse(now())) < 1000]", [24, True]),
    ("[dateDiff('2026-01-01', '2026-01-31'), dateDiff('2026-01-01', '2026-01-01T06:00:00Z', 'hours'), "
     "dateDiff('2024-01-31', '2026-03-30', 'months'), dateDiff('2024-02-01', '2026-01-31', 'years')]", [30, 6, 25, 1]),
    ("[['2024-03-20', '2024-01-10'], ['2024-03-10', '2024-01-20'], ['2024-01-31', '2024-02-29'], "
     "['2024-01-15T12:00Z', '2024-02-15T06:00Z']].map(([first, second]) => dateDiff(first, second, 'months'))",
     [-2, -1, 1, 0]),
    ("[dateAdd('2026-01-31', 1, 'months'), dateAdd('2026-01-01', -1), dateAdd('2024-02-29', 1, 'year')]",
     ["2026-02-28T00:00:00.000Z", "2025-12-31T00:00:00.000Z", "2025-02-28T00:00:00.000Z"]),
    ("[formatDate('2026-03-04T05:06:07Z'), formatDate('2026-03-04T05:06:07Z', 'DD.MM.YYYY HH:mm:ss')]",
     ["2026-03-04", "04.03.2026 05:06:07"]),
    ("[slugify(' Größe & Émile! '), camelCase('the big_dog'), snakeCase('theBigDog'), kebabCase('The Big dog'), "
     "titleCase('the big dog')]", ["große-emile", "theBigDog", "the_big_dog", "the-big-dog", "The Big Dog"]),
    ("[truncate('abcdef', 5), truncate('abc', 5), truncate('abcdef', 4, '…'), truncate('abcdef', 2), "
     "countWords(' a  b c '), removeDiacritics('crème')]", ["ab...", "abc", "abc…", "..", 3, "creme"]),
    ("[isEmail('a@b.co'), isEmail('a@b'), isUrl('https://x.y/z?q'), isUrl('ftp://x'), isJson('{}'), isJson('{'), "
     "isJson(1)]", [True, False, True, False, True, False, False]),
    ("[clamp(5, 1, 3), clamp(0, 1, 3), round(1.005, 2), round(2.5), round(-1.55, 1)]", [3, 1, 1.01, 3, -1.5]),
    ("[round(1.26e-7, 8), round(1e-9, 2), round(1.5e21), round(-2.345e-7, 9)]", [1.3e-7, 0, 1.5e21, -2.34e-7]),
    ("[randomInt(3, 3), [...Array(50)].every(() => { const n = randomInt(1, 6); return n >= 1 && n <= 6; })]",
     [3, True]),
    ("[sum([1, 2, 3]), sum(1, 2), avg([1, 2]), avg([]), min([3, 1]), max(3, 1)]", [6, 3, 1.5, 0, 1, 3]),
    ("[unique([1, 1, 2]), shuffle([1, 2, 3]).sort(), chunk([1, 2, 3], 2), flatten([1, [2, [3]]])]",
     [[1, 2], [1, 2, 3], [[1, 2], [3]], [1, 2, 3]]),
    ("groupBy([{ k: 'a', n: 1 }, { k: 'b' }, { k: 'a' }], 'k')",
     {"a": [{"k": "a", "n": 1}, {"k": "a"}], "b": [{"k": "b"}]}),
    ("groupBy([1, 2, 3], (n) => n % 2 ? 'odd' : 'even')", {"odd": [1, 3], "even": [2]}),
    ("groupBy(['constructor', 'of'], (word) => word)", {"constructor": ["constructor"], "of": ["of"]}),
    ("[parseJson('[1]'), parseJson('x'), parseJson('x', 7), toJson({ a: 1 }), toJson([1], 1)]",
     [[1], None, 7, '{"a":1}', "[\n 1\n]"]),
    ("parseCsv('a,b\\n1,\"x, \"\"y\"\"\"\\r\\n2,\\n')", [{"a": "1", "b": 'x, "y"'}, {"a": "2", "b": ""}]),
    ("parseCsv('a;b\\n1;2', ';')", [{"a": "1", "b": "2"}]),
    ("[getPath({ a: [{ b: 1 }] }, 'a[0].b'), getPath({}, 'a.b', 'none'), getPath({}, 'constructor', 'none')]",
     [1, "none", "none"]),
    ("[generatePassword().length, /[A-Z]/.test(generatePassword(8)), generatePassword(4, false).length]",
     [16, True, 4]),
    ("[getApiKey('x'), getServiceConfig('x'), getConfigEntry('x'), getConfigEntries('x'), getFieldValue('x', 'y')]",
     [None, None, None, [], None]),
]  # fmt: skip
"""Expressions with the members of `utils`, and their values."""

EVERY_UTIL = f"""
    const {{ {", ".join(sorted({
        "hash", "uuid", "base64Encode", "base64Decode", "hexEncode", "hexDecode", "urlEncode", "urlDecode", "now",
        "timestamp", "dateDiff", "dateAdd", "formatDate", "slugify", "camelCase", "snakeCase", "kebabCase", "titleCase",
        "truncate", "countWords", "removeDiacritics", "isEmail", "isUrl", "isJson", "isUuid", "clamp", "round",
        "randomInt", "sum", "avg", "min", "max", "unique", "shuffle", "chunk", "groupBy", "parseJson", "toJson",
        "parseCsv", "flatten", "getPath", "generatePassword", "getApiKey", "getServiceConfig", "getConfigEntry",
        "getConfigEntries", "getFieldValue",
    }))} }} = utils;
    return [{", ".join(expression for expression, _ in UTILS)}];
"""  # fmt: skip
EVIL = """
    const seen = {};
    for (const [name, look] of Object.entries({
        require: () => require, process: () => process, setTimeout: () => setTimeout, evaluated: () => eval("1"),
        made: () => Function("return 1")(), deeper: () => [].constructor.constructor("return process")(),
        async: () => (async () => {}).constructor("return 1"), generated: () => (function* () {}).constructor("1"),
        proto: () => ({}).__proto__.x, utils: () => utils.hash.constructor("return process")(),
        console: () => console.log.constructor("return process")(), given: () => args.constructor.constructor("1")(),
        failed: () => { try { null.x; } catch (e) { return e.constructor.constructor("return process")(); } },
    })) {
        try { look(); seen[name] = "reached"; } catch (error) { seen[name] = "out of reach"; }
    }
    let called = "reached";
    try { await utils.callTool("no_such_tool"); }
    catch (error) {
        try { error.constructor.constructor("return process")(); } catch { called = "out of reach"; }
    }
    return { ...seen, called };
"""
SEEN = "return [typeof fetch, typeof fs, typeof exec, typeof setTimeout];"
FETCHED = """
    const response = await fetch("data:text/plain,hi"), other = await fetch("data:text/plain,hi");
    const error = await fetch("x:").catch((each) => each);
    const seen = { fetch, response, error, promise: fetch("data:,"), headers: response.headers, text: response.text };
    // What the engine has made is no object of the tool's realm, and its prototypes lead to the engine.
    const foreign = Object.keys(seen).filter((name) => !(seen[name] instanceof Object));
    return [await response.text(), response.status, response.headers.get("Content-Type"), [...await other.bytes()],
            error.message.startsWith("fetch failed"), foreign];
"""
OUTSIDE = {"network": 0, "filesystem": 1, "shell": 2}


class TestQuickJs:
    async def test_every_util_answers_as_written(self, me: OwnPilot):
        found = json.loads((await run(me, EVERY_UTIL))["result"])
        for (expression, expected), value in zip(UTILS, found, strict=True):
            assert value == expected, expression

    async def test_nothing_but_the_language_is_in_reach(self, me: OwnPilot):
        assert {*json.loads((await run(me, EVIL))["result"]).values()} == {"out of reach"}

    @pytest.mark.parametrize("permissions", [[], ["database"], ["email", "scheduling"]], ids=str)
    async def test_these_permissions_need_no_container_and_open_nothing(self, me: OwnPilot, permissions: list[str]):
        done = await run(me, SEEN, permissions=permissions)
        assert json.loads(done["result"]) == ["undefined"] * 4


class TestEngines:
    @pytest.mark.parametrize("always", [False, True])
    @pytest.mark.parametrize("permission", [None, *Permission])
    async def test_permissions_and_a_setting_choose_the_engine(
        self, monkeypatch: pytest.MonkeyPatch, permission: Permission | None, always: bool
    ):
        chosen: list[str] = []

        def engine(name: str) -> Any:
            async def choose(*_: object) -> ToolOutcome:
                chosen.append(name)
                return ToolOutcome("done")

            return choose

        monkeypatch.setattr(running, "run_in_container", engine("container"))
        monkeypatch.setattr(running, "run_in_quickjs", engine("quickjs"))
        tool = CustomTool(
            name="x", description="d", parameters={}, code="return 1;", permissions=[permission] if permission else []
        )
        async with connected(OWNPILOT_TOOLS_IN_CONTAINER=str(always).lower()):
            await running.run_tool(tool, ToolContext("me"), {}, is_kept=False)
        needs = always or permission in ("network", "filesystem", "shell")
        assert chosen == ["container" if needs else "quickjs"]

    async def test_in_a_container_it_can_do_what_it_has_permissions_for_and_the_rest_is_the_same(self, me: OwnPilot):
        """Two containers of their own, at the same time: the stack has no warm ones."""
        outside = """
            const told = await exec("echo from the shell; exit 3");
            await fs.writeFile("note.txt", "kept");
            const sum = await utils.callTool("calculate", { expression: "6 * 7" });
            const task = await utils.callTool("add_task", { title: "from a container" });
            let refusals = 0;
            for (let i = 0; i < 20; i++) { try { await utils.callTool("generate_uuid"); } catch { refusals += 1; } }
            let made = "out of reach";
            try { exec.constructor("return process")(); made = "reached"; } catch {}
            console.log("logged");
            return [made, told.stdout, told.exitCode, await fs.readFile("note.txt", "utf8"), sum, task.task.title,
                    refusals, utils.getApiKey("tavily").length];
        """
        await me.post("/config-services/tavily/entries", data={"api_key": "key-of-tavily"})
        made = await make(me, outside, permissions=["shell", "filesystem"], requiredApiKeys=[{"name": "tavily"}])
        language = f"""
            const util = await (async () => {{{EVERY_UTIL}}})(), seen = await (async () => {{{EVIL}}})();
            return [util, seen, await (async () => {{{SEEN}}})(), await (async () => {{{FETCHED}}})()];
        """
        done, found = await asyncio.gather(execute(me, made), run(me, language, permissions=["network"]))
        assert not done["isError"], done
        assert json.loads(done["result"]) == [
            "out of reach",
            "from the shell\n",
            3,
            "kept",
            42,
            "from a container",
            2,
            13,
        ]
        assert done["metadata"]["console"] == ["logged"] and done["metadata"]["dynamicTool"] is True
        assert [each["title"] for each in await me.get("/tasks")] == ["from a container"]
        assert (await me.get(f"/custom-tools/{made['id']}"))["usageCount"] == 1
        util, evil, seen, fetched = json.loads(found["result"])
        assert util == [expected for _, expected in UTILS]
        assert {*evil.values()} == {"out of reach"}
        assert seen == ["function", "undefined", "undefined", "undefined"]
        assert fetched == ["hi", 200, "text/plain", [104, 105], True, []]

    @pytest.mark.usefixtures("app")
    async def test_of_a_run_nothing_is_kept_in_clear_and_after_an_hour_nothing_at_all(self):
        kind, old, work = OwnpilotToolRun(), datetime.now(UTC) - timedelta(hours=2), {"private.json": b"a secret"}
        fresh = ToolRun(owner="me")
        fresh.seal(work)
        fresh = await tool_runs.insert(fresh)
        assert "secret" not in fresh.files and fresh.unsealed() == work
        spec = await kind.prepare(fresh.id)
        assert spec and spec.inputs["private.json"] == b"a secret" and await kind.wanted(fresh.id)
        late = ToolRun(owner="me", created_at=old)
        late.seal(work)
        await tool_runs.insert(late)
        assert await kind.prepare(late.id) is None and not await kind.wanted(late.id)
        assert (await tool_runs.get(late.id)).files == ""
        await jobs.insert(Job(id=late.id, kind=KIND, token_hash="x", timeout=30))
        assert await kind.prepare(ToolRun.new_id()) is None
        await purge_tool_runs(cast("WorkflowClient", None))
        assert not await kind.wanted(late.id) and await kind.wanted(fresh.id)
        for missing in (tool_runs.get(late.id), jobs.get(late.id)):
            with pytest.raises(RecordNotFound):
                await missing
        await finish(fresh.id)
        assert await kind.prepare(fresh.id) is None

    @pytest.mark.usefixtures("app")
    async def test_only_the_token_of_a_run_lets_its_command_use_tools(self, http: httpx.AsyncClient):
        job = await jobs.insert(Job(kind=KIND, token_hash="x", timeout=30))

        async def ask(token: str, job_id: str = job.id) -> httpx.Response:
            return await http.post(
                f"/jobs/{job_id}/calls", json={"name": "calculate", "arguments": '{"expression": "1+1"}'},
                headers={"Authorization": f"Bearer {token}"},
            )  # fmt: skip

        own = token_of(job.id, ToolContext(f"user {job.id}"))
        assert (await ask(own)).json() == {"ok": True, "text": "2"}
        for wrong in ("x", "a:b", token_of(Job.new_id(), ToolContext("me")), f"{own}x"):
            assert (await ask(wrong)).status_code == 401
        assert (await ask(own, Job.new_id())).status_code == 404
        deep = token_of(job.id, ToolContext(f"user {job.id}", depth=3))
        assert (await ask(deep)).json()["ok"] is False
        answers = [await ask(own) for _ in range(20)]
        assert [answer.json()["ok"] for answer in answers] == [True] * 18 + [False] * 2
        await jobs.update(job.id, lambda record: setattr(record, "state", JobState.ENDED))
        assert (await ask(own)).status_code == 410
