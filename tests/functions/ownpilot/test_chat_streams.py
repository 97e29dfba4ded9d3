"""Streamed answers: the events and their order, the end, clients that leave."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from functions.ownpilot.chat import streaming, turn
from functions.ownpilot.chat.preparing import prepare
from functions.ownpilot.chat.question import Question
from functions.ownpilot.chat.streaming import HEARTBEAT, events, frames
from functions.ownpilot.chat.turn import OUT_OF_TIME, OUT_OF_TIME_REASON, Emit, TurnAnswer
from functions.ownpilot.core.owner import Person
from infra.local.environment import Environment
from shared.http.errors import BadRequest
from tests.support.ownpilot import BASE, MODEL, Chatting, chatting, script

pytestmark = pytest.mark.usefixtures("app")

ADD = {"call": "use_tool", "arguments": {"tool_name": "add_task", "arguments": {"title": "Buy milk"}}}


@pytest.fixture
async def me(http: httpx.AsyncClient, stack: Environment) -> Chatting:
    """A person with a provider that can be asked."""
    return await chatting(http, stack.ports["providers"])


def of(found: list[tuple[str, dict[str, Any]]], name: str, type_: str | None = None) -> list[dict[str, Any]]:
    """The data of the events with this name, and type."""
    return [data for event, data in found if event == name and type_ in (None, data.get("type"))]


class TestEvents:
    async def test_text_comes_in_chunks_and_done_comes_last_and_once(self, me: Chatting):
        found = await me.events(script(["Good morning to you"]))
        chunks = of(found, "chunk")
        assert "".join(each["delta"] for each in chunks) == "Good morning to you" and len(chunks) > 1
        assert [name for name, _ in found].count("done") == 1 and found[-1][0] == "done"
        done = found[-1][1]
        assert (done["done"], done["finishReason"], done["toolCalls"]) == (True, "stop", None)
        assert {each["conversationId"] for each in [*chunks, done]} == {done["conversationId"]}
        assert {each["id"] for each in chunks} == {done["id"]} and not any(each["done"] for each in chunks)
        assert done["trace"]["request"]["model"] == MODEL and done["trace"]["response"]["status"] == 200
        assert done["usage"]["totalTokens"] > 0

    async def test_tools_are_shown_by_the_names_inside_use_tool(self, me: Chatting):
        found = await me.events(
            script([ADD, {"call": "get_tool_help", "arguments": {"tool_name": "add_task"}}], ["Ok"])
        )
        started, ended = of(found, "progress", "tool_start"), of(found, "progress", "tool_end")
        assert {each["tool"]["name"] for each in started} == {"add_task", "get_tool_help"}
        assert started[0]["tool"]["arguments"] == {"title": "Buy milk"}
        assert all(each["result"]["success"] and len(each["result"]["preview"]) <= 500 for each in ended)
        assert all(isinstance(each["result"]["durationMs"], int) and each["timestamp"] for each in ended)
        [called] = [each for each in of(found, "chunk") if "toolCalls" in each]
        assert [call["name"] for call in called["toolCalls"]] == ["use_tool", "get_tool_help"]
        assert found[-1][1]["toolCalls"] == called["toolCalls"]
        statuses = of(found, "progress", "status")
        assert len(statuses) == 2 and {"type", "message", "data", "timestamp"} == set(statuses[0])

    async def test_arguments_in_fragments_are_put_together(self, me: Chatting):
        long = {"call": "add_task", "arguments": {"title": "x" * 2000}}
        found = await me.events(script([long], ["Ok"]), directTools=["add_task"])
        assert found[-1][0] == "done"
        assert [task["title"] for task in await me.get("/tasks")] == ["x" * 2000]

    async def test_a_blocked_call_is_told_to_the_client_and_to_the_model(self, me: Chatting):
        await me.data("PATCH", "/autonomy/config", json={"blockedTools": ["add_task"]})
        found = await me.events(script([ADD], ["It waits"]))
        [blocked] = of(found, "autonomy")
        assert (blocked["type"], blocked["toolCall"]["name"]) == ("tool_blocked", "add_task") and blocked["reason"]
        [check] = found[-1][1]["trace"]["autonomyChecks"]
        assert (check["tool"], check["approved"], check["reason"]) == ("add_task", False, blocked["reason"])
        assert await me.get("/tasks") == []
        assert len(await me.get("/autonomy/approvals")) > 0

    @pytest.mark.parametrize("part", [{"error": 400, "message": "too hot"}, {"break": True}])
    async def test_an_error_is_the_last_event_and_the_only_one_of_its_kind(self, me: Chatting, part: dict[str, Any]):
        found = await me.events(script(["Half an ", part]))
        assert [name for name, _ in found if name in ("done", "error")] == ["error"] and found[-1][0] == "error"
        assert set(found[-1][1]) == {"error"} and found[-1][1]["error"]
        [row] = (await me.get("/chat/history"))["conversations"]
        assert (await me.get(f"/chat/history/{row['id']}"))["messages"][1]["isError"] is True

    async def test_who_has_seen_done_finds_it_everywhere(self, me: Chatting):
        done = (await me.events("hello"))[-1][1]
        history = await me.get(f"/chat/history/{done['conversationId']}")
        assert history["messages"][1]["id"] == done["id"]
        assert (await me.get("/chat/logs", conversationId=done["conversationId"]))["total"] == 1
        assert len((await me.get("/costs/usage"))["records"]) == 1
        assert {each["type"] for each in (await me.get("/audit"))["events"]} >= {"message.receive", "message.send"}
        assert (await me.get("/debug"))["summary"]["responses"] == 1

    async def test_streams_in_one_conversation_at_once_do_not_mix(self, me: Chatting):
        id_ = (await me.say("first"))["conversationId"]
        texts = [f"word{n} " * 5 for n in range(4)]
        found = await asyncio.gather(*(me.events(script([text]), conversationId=id_) for text in texts))
        for text, each in zip(texts, found, strict=True):
            assert "".join(chunk["delta"] for chunk in of(each, "chunk")) == text
        history = await me.get(f"/chat/history/{id_}")
        assert history["conversation"]["messageCount"] == 10
        assert [each["role"] for each in history["messages"]] == ["user", "assistant"] * 5
        for question, answer in zip(history["messages"][2::2], history["messages"][3::2], strict=True):
            assert answer["content"] in question["content"]


class TestLeaving:
    async def test_what_was_said_until_the_client_left_is_stored(self, me: Chatting, stack: Environment):
        body = me.body(script([{"text": "one two three " * 100, "every": 0.05}]), stream=True)
        url = f"{stack.url}{BASE}/chat"
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            async with http.stream("POST", url, json=body, params={"userId": me.user}) as answer:
                async for line in answer.aiter_lines():
                    if "three" in line:
                        break
        [row] = (await me.get("/chat/history"))["conversations"]
        messages: list[Any] = []
        for _ in range(300):
            messages = (await me.get(f"/chat/history/{row['id']}"))["messages"]
            if len(messages) == 2:
                break
            await asyncio.sleep(0.1)
        assert messages[1]["content"].startswith("one two three") and len(messages[1]["content"]) < 1400
        assert messages[1]["isError"] is False
        assert messages[1]["trace"]["response"]["finishReason"] == "cancelled"
        assert (await me.say(script(["Again."])))["message"] == "Again."


class TestTime:
    """Streams that take too long, with a client that has stopped reading."""

    @pytest.fixture
    async def reading(self, me: Chatting, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[bytes]:
        """A stream that is over after a moment; its first event was read, and the next ones wait."""
        monkeypatch.setattr(streaming, "STREAM_SECONDS", 0.5)
        monkeypatch.setattr(streaming, "WAITING", 1)
        question = Question(script(["Half of it ", {"stall": True}]), provider=me.provider, model=MODEL)
        reading = frames(await prepare(Person(me.user), question))
        await anext(reading)
        return reading

    async def ended(self, me: Chatting) -> Any:
        """The answer, when it is stored."""
        [row] = (await me.get("/chat/history"))["conversations"]
        async with asyncio.timeout(30):
            while len(messages := (await me.get(f"/chat/history/{row['id']}"))["messages"]) < 2:
                await asyncio.sleep(0.1)
        return messages[1]

    async def test_the_answer_ends_and_is_stored(
        self, me: Chatting, monkeypatch: pytest.MonkeyPatch, reading: AsyncGenerator[bytes]
    ):
        monkeypatch.setattr(turn, "LAST_WORDS", 0.1)
        said = await self.ended(me)
        assert said["content"].endswith(OUT_OF_TIME) and said["isError"] is False
        assert said["trace"]["response"]["finishReason"] == OUT_OF_TIME_REASON
        async with asyncio.timeout(30):
            assert [each async for each in reading][-1].startswith(b"event: done")

    async def test_a_client_that_leaves_while_the_end_waits_for_it_loses_nothing(
        self, me: Chatting, monkeypatch: pytest.MonkeyPatch, reading: AsyncGenerator[bytes]
    ):
        monkeypatch.setattr(turn, "LAST_WORDS", 60)
        await asyncio.sleep(0.8)  # the time is over
        await reading.aclose()
        assert (await self.ended(me))["content"].endswith(OUT_OF_TIME)


class TestReader:
    """The reader of a turn, with turns that only wait."""

    async def test_silence_is_filled_with_comments(self):
        async def slow(emit: Emit) -> TurnAnswer:
            await asyncio.sleep(0.3)
            raise BadRequest("no")

        found = [event async for event in events(slow, silence=0.05)]
        assert None in found and found[-1] == ("error", {"error": "no"})
        assert HEARTBEAT.startswith(b":") and HEARTBEAT.endswith(b"\n\n")

    async def test_an_unexpected_failure_is_one_error_without_its_text(self):
        async def broken(emit: Emit) -> TurnAnswer:
            raise RuntimeError("secret")

        assert [event async for event in events(broken, silence=1)] == [("error", {"error": "Internal server error"})]

    async def test_a_reader_that_leaves_ends_the_turn_which_can_still_write(self):
        written = asyncio.Event()

        async def endless(emit: Emit) -> TurnAnswer:
            try:
                while True:
                    await emit("chunk", {})
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                written.set()
                raise

        reading = events(endless, silence=1)
        assert await anext(reading) == ("chunk", {})
        await reading.aclose()
        await asyncio.wait_for(written.wait(), 10)
