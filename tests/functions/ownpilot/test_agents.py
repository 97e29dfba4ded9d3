"""Agents: made, changed, talked with, reset, and brought up to date."""

from typing import Any

import httpx
import pytest

from functions.ownpilot.core.agent_templates import TEMPLATES
from infra.local.environment import Environment
from tests.support.ownpilot import MODEL, Chatting, OwnPilot, chatting, refused, script

NEW: dict[str, Any] = {"name": "Coder", "systemPrompt": "You write code."}


async def test_one_has_defaults_and_the_tools_of_its_groups(me: OwnPilot):
    made = await me.post("/agents", **NEW, tools=["add_task", "calculate"], toolGroups=["memory", "nothing", "tasks"])
    assert (made["name"], made["provider"], made["model"]) == ("Coder", "default", "default")
    assert made["tools"][:2] == ["add_task", "calculate"] and "remember" in made["tools"]
    assert made["tools"].count("add_task") == 1 and made["tools"].index("remember") < made["tools"].index("list_tasks")
    found = await me.get(f"/agents/{made['id']}")
    assert found == made and found["systemPrompt"] == "You write code."
    assert found["config"] == {
        "maxTokens": 4096, "temperature": 0.7, "maxTurns": 25, "maxToolCalls": 200,
        "tools": ["add_task", "calculate"], "toolGroups": ["memory", "nothing", "tasks"],
    }  # fmt: skip
    tools = await me.get("/tools", agentId=made["id"])
    assert {each["name"] for each in tools} <= set(made["tools"]) and tools


async def test_they_are_listed_oldest_first_and_of_one_person_only(me: OwnPilot):
    ids = [(await me.post("/agents", **NEW))["id"] for _ in range(3)]
    assert [each["id"] for each in await me.get("/agents")] == ids
    assert [each["id"] for each in await me.get("/agents", limit=1, offset=1)] == [ids[1]]
    other = OwnPilot(me.http)
    assert await other.get("/agents") == []
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/reset")):
        refused(await other.send(method, f"/agents/{ids[0]}{path}"), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    "members",
    [{"name": ""}, {"name": None}, {"systemPrompt": None}, {"systemPrompt": " "}, {"temperature": 3},
     {"maxTokens": 0}, {"maxTurns": "many"}, {"tools": "calculate"}],
)  # fmt: skip
async def test_what_cannot_be_is_refused(me: OwnPilot, members: dict[str, Any]):
    refused(await me.send("POST", "/agents", json={**NEW, **members}), 400, "INVALID_REQUEST")
    id_ = (await me.post("/agents", **NEW))["id"]
    refused(await me.send("PATCH", f"/agents/{id_}", json=members), 400, "INVALID_REQUEST")


async def test_only_the_given_members_change_and_the_provider_needs_a_key(me: OwnPilot):
    id_ = (await me.post("/agents", **NEW, maxTurns=99))["id"]
    changed = await me.data("PATCH", f"/agents/{id_}", json={"temperature": 0, "provider": "default"})
    assert (changed["config"]["temperature"], changed["name"], changed["config"]["maxTurns"]) == (0, "Coder", 25)
    refused(await me.send("PATCH", f"/agents/{id_}", json={"provider": "openai"}), 400, "NO_API_KEY")
    refused(await me.send("PATCH", f"/agents/{id_}", json={"provider": "nobody"}), 404, "PROVIDER_NOT_FOUND")
    await me.post("/settings/api-keys", provider="openai", apiKey="sk-some-key")
    assert (await me.data("PATCH", f"/agents/{id_}", json={"provider": "openai"}))["provider"] == "openai"


async def test_one_is_deleted(me: OwnPilot):
    id_ = (await me.post("/agents", **NEW))["id"]
    assert await me.data("DELETE", f"/agents/{id_}") == {"deleted": True}
    refused(await me.send("GET", f"/agents/{id_}"), 404, "NOT_FOUND")
    refused(await me.send("DELETE", f"/agents/{id_}"), 404, "NOT_FOUND")


async def test_changes_are_in_the_audit_log(me: OwnPilot):
    id_ = (await me.post("/agents", **NEW))["id"]
    await me.data("PATCH", f"/agents/{id_}", json={"name": "x"})
    await me.data("DELETE", f"/agents/{id_}")
    events = (await me.get("/audit", resourceId=id_))["events"]
    assert [(each["type"], each["details"]["action"]) for each in events] == [
        ("config.change", "delete"), ("config.change", "update"), ("config.change", "create"),
    ]  # fmt: skip


async def test_default_agents_are_made_once_and_then_follow_their_templates(me: OwnPilot):
    total = len(TEMPLATES)
    assert await me.post("/agents/resync") == {"updated": 0, "created": total, "total": total, "errors": []}
    first = (await me.get("/agents"))[0]
    await me.data("PATCH", f"/agents/{first['id']}", json={"name": "Mine", "maxTokens": 10})
    assert await me.post("/agents/resync") == {"updated": total, "created": 0, "total": total, "errors": []}
    found = await me.get(f"/agents/{first['id']}")
    assert (found["name"], found["config"]["maxTokens"]) == (first["name"], 10)
    assert len(await me.get("/agents")) == total


async def test_a_reset_begins_a_new_conversation_even_without_a_provider(me: OwnPilot):
    id_ = (await me.post("/agents", **NEW))["id"]
    conversation = (await me.post(f"/agents/{id_}/reset"))["conversationId"]
    found = await me.get(f"/chat/conversations/{conversation}")
    assert (found["systemPrompt"], found["messages"]) == ("You write code.", [])


class TestTalking:
    @pytest.fixture
    async def me(self, http: httpx.AsyncClient, stack: Environment) -> Chatting:
        """A person with a provider that can be asked."""
        return await chatting(http, stack.ports["providers"])

    async def test_each_agent_has_a_conversation_of_its_own(self, me: Chatting):
        agent = await me.post("/agents", **NEW, provider=me.provider, model=MODEL)
        plain = await me.say("hello")
        answer = await me.post("/chat", message="hello", agentId=agent["id"])
        assert answer["conversationId"] != plain["conversationId"] and answer["model"] == MODEL
        assert (await me.get(f"/chat/conversations/{answer['conversationId']}"))["systemPrompt"] == "You write code."
        rows = await me.get("/chat/history", agentId=agent["id"])
        assert [(each["agentName"], each["agentId"]) for each in rows["conversations"]] == [("Coder", agent["id"])]
        begun = (await me.post(f"/agents/{agent['id']}/reset"))["conversationId"]
        again = await me.post("/chat", message="hello", agentId=agent["id"])
        assert again["conversationId"] == begun != answer["conversationId"]
        assert (await me.get(f"/chat/history/{begun}"))["conversation"]["title"] == "hello"

    async def test_an_agent_has_no_tools_but_its_own(self, me: Chatting):
        agent = await me.post("/agents", **NEW, tools=["list_tasks"])
        add = {"call": "use_tool", "arguments": {"tool_name": "add_task", "arguments": {"title": "x"}}}
        answer = await me.say(script([add], ["Ok"]), agentId=agent["id"], directTools=["add_task", "list_tasks"])
        assert answer["trace"]["request"]["tools"] == ["search_tools", "get_tool_help", "use_tool", "list_tasks"]
        assert answer["trace"]["toolCalls"][0]["success"] is False and await me.get("/tasks") == []

    async def test_a_conversation_goes_on_with_its_agent_and_without_one_that_is_gone(self, me: Chatting):
        agent = await me.post("/agents", **NEW, tools=["list_tasks"])
        id_ = (await me.say("hello", agentId=agent["id"]))["conversationId"]
        on = await me.say("hello", conversationId=id_, directTools=["add_task"])
        assert "add_task" not in on["trace"]["request"]["tools"]
        await me.data("DELETE", f"/agents/{agent['id']}")
        alone = await me.say("hello", conversationId=id_, directTools=["add_task"])
        assert (alone["message"], alone["trace"]["request"]["tools"]) == ("You said: hello", [])

    @pytest.mark.parametrize("groups", [["customTools"], ["git", "nothing"]])
    async def test_an_agent_with_groups_without_members_has_no_tools(self, me: Chatting, groups: list[str]):
        agent = await me.post("/agents", **NEW, toolGroups=groups)
        answer = await me.say("hello", agentId=agent["id"], directTools=["add_task"])
        assert answer["trace"]["request"]["tools"] == await me.get("/tools", agentId=agent["id"]) == []
        every = await me.post("/agents", **NEW)
        answer = await me.say("hello", agentId=every["id"], directTools=["add_task"])
        assert "add_task" in answer["trace"]["request"]["tools"]
