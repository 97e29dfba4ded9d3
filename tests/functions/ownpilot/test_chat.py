"""The chat: conversations, answers, tools, what is stored, and what is refused."""

import asyncio
from typing import Any

import httpx
import pytest

from functions.ownpilot.chat import turn
from functions.ownpilot.chat.conversations import (
    INTERRUPTED,
    ChatMessage,
    ChatTurn,
    Conversation,
    begin,
    conversations,
    delete_conversation,
    turns,
)
from functions.ownpilot.chat.question import Question
from functions.ownpilot.chat.turn import OUT_OF_TIME, OUT_OF_TIME_REASON, TurnFailed, take_turn
from functions.ownpilot.core.owner import Person
from functions.ownpilot.core.usage import Price
from infra.local.environment import Environment
from shared import deferred
from shared.tables import StorageUnavailable
from tests.support.ownpilot import MODEL, Chatting, OwnPilot, chatting, refused, script

pytestmark = pytest.mark.usefixtures("app")

ADD = {"call": "use_tool", "arguments": {"tool_name": "add_task", "arguments": {"title": "Buy milk"}}}


@pytest.fixture
async def me(http: httpx.AsyncClient, stack: Environment) -> Chatting:
    """A person with a provider that can be asked."""
    return await chatting(http, stack.ports["providers"])


class TestAnswers:
    async def test_a_message_is_answered_and_stored(self, me: Chatting):
        answer = await me.say(script(["Good ", "morning"]))
        assert answer["message"] == answer["response"] == "Good morning"
        assert (answer["model"], answer["finishReason"], answer["toolCalls"]) == (MODEL, "stop", None)
        usage = answer["usage"]
        assert usage["totalTokens"] == usage["promptTokens"] + usage["completionTokens"] > 0
        found = await me.get(f"/chat/history/{answer['conversationId']}")
        assert found["conversation"]["messageCount"] == 2 == len(found["messages"])
        question, said = found["messages"]
        assert (question["role"], said["role"], said["content"]) == ("user", "assistant", "Good morning")
        assert (said["id"], said["provider"], said["model"], said["isError"]) == (
            answer["id"],
            me.provider,
            MODEL,
            False,
        )
        assert said["trace"] == answer["trace"]
        view = await me.get(f"/chat/conversations/{answer['conversationId']}")
        assert view["systemPrompt"] and [each["content"] for each in view["messages"]][1] == "Good morning"

    async def test_the_trace_tells_what_was_done(self, me: Chatting):
        trace = (await me.say(script([ADD], ["Done."]), directTools=["add_task"]))["trace"]
        assert set(trace) == {
            "duration", "toolCalls", "modelCalls", "autonomyChecks", "dbOperations", "memoryOps", "triggersFired",
            "errors", "events", "request", "response", "retries",
        }  # fmt: skip
        [call] = trace["toolCalls"]
        assert (call["name"], call["arguments"], call["success"]) == ("add_task", {"title": "Buy milk"}, True)
        assert [each["model"] for each in trace["modelCalls"]] == [MODEL, MODEL]
        assert trace["autonomyChecks"] == [{"tool": "add_task", "approved": True}]
        assert trace["request"]["tools"] == ["search_tools", "get_tool_help", "use_tool", "add_task"]
        assert trace["response"]["status"] == 200

    async def test_a_retry_is_in_the_trace(self, me: Chatting):
        busy = {"error": 429, "message": "slow down", "retry_after": 0, "times": 1}
        answer = await me.say(script([busy, "Here."]))
        assert answer["message"] == "Here." and len(answer["trace"]["retries"]) == 1

    async def test_usage_is_the_sum_of_all_calls_of_the_model(self, me: Chatting):
        answer = await me.say(script([ADD, {"usage": [100, 7]}], ["Done.", {"usage": [120, 3]}]))
        assert answer["usage"] == {"promptTokens": 220, "completionTokens": 10, "totalTokens": 230}
        records = (await me.get("/costs/usage"))["records"]
        assert [(each["inputTokens"], each["outputTokens"]) for each in records] == [(220, 10)]

    async def test_what_the_model_says_between_calls_is_part_of_the_answer(self, me: Chatting):
        answer = await me.say(script(["Let me see.", ADD], ["Done."]))
        assert answer["message"] == "Let me see.\n\nDone."
        assert [task["title"] for task in await me.get("/tasks")] == ["Buy milk"]

    async def test_calls_of_one_turn_run_together_and_their_results_keep_the_order(self, me: Chatting):
        other = {"call": "add_task", "arguments": {"title": "Walk"}}
        answer = await me.say(script([ADD, other, {"call": "nonsense", "arguments": "{"}], ["Done."]))
        assert [call["name"] for call in answer["toolCalls"]] == ["use_tool", "add_task", "nonsense"]
        view = await me.get(f"/chat/conversations/{answer['conversationId']}")
        results = view["messages"][1]["toolResults"]
        assert [each["toolCallId"] for each in results] == [each["id"] for each in answer["toolCalls"]]
        assert [each["isError"] for each in results] == [False, False, True]

    async def test_arguments_that_are_nested_too_deep_are_refused_by_the_tool_alone(self, me: Chatting):
        deep = '{"title": ' * 300 + "1" + "}" * 300
        calls = [
            {"call": "add_task", "arguments": deep},
            {"call": "use_tool", "arguments": {"tool_name": "add_task", "arguments": deep}},
        ]
        answer = await me.say(script(calls, ["Done."]))
        assert answer["message"] == "Done." and answer["toolCalls"][0]["arguments"] == {"_raw": deep}
        assert [each["success"] for each in answer["trace"]["toolCalls"]] == [False, False]
        found = await me.get(f"/chat/history/{answer['conversationId']}")
        assert found["messages"][1]["toolCalls"] == answer["toolCalls"]

    async def test_a_first_message_with_the_tool_list_is_stored_without_it(self, me: Chatting):
        answer = await me.say("What can you do?", includeToolList=True)
        assert "Tools by category:" in answer["message"]  # the stand-in repeats what it was told
        found = await me.get(f"/chat/history/{answer['conversationId']}")
        assert found["messages"][0]["content"] == "What can you do?"

    async def test_the_tool_list_of_an_agent_has_its_own_tools_only(self, me: Chatting):
        agent = await me.post(
            "/agents", name="Counter", systemPrompt="You count.", tools=["calculate", "generate_uuid"]
        )
        answer = await me.say("What can you do?", includeToolList=True, agentId=agent["id"])
        assert answer["message"].partition("category:")[2] == "\n- core: calculate, generate_uuid"

    async def test_a_message_of_a_megabyte_works_where_the_window_holds_it(self, me: Chatting):
        path = f"/local-providers/{me.provider}/models"
        await me.post(path, modelId="stand-in-small", contextWindow=1_000_000, maxOutput=8_000)
        text = "word " * 200_000
        answer = await me.say(text, model="stand-in-small")
        found = await me.get(f"/chat/history/{answer['conversationId']}")
        assert [each["content"] for each in found["messages"]] == [text, f"You said: {text}"]

    async def test_an_answer_that_takes_too_long_ends_and_says_so(self, me: Chatting):
        question = Question(script([ADD], ["Half", {"stall": True}]), provider=me.provider, model=MODEL)
        answer = await take_turn(Person(me.user), question, seconds=2)
        assert (answer.text, answer.finish_reason) == (OUT_OF_TIME, OUT_OF_TIME_REASON)
        found = await me.get(f"/chat/history/{answer.conversation_id}")
        assert found["messages"][1]["content"] == OUT_OF_TIME and found["messages"][1]["isError"] is False
        assert [task["title"] for task in await me.get("/tasks")] == ["Buy milk"]


class TestConversations:
    async def test_the_current_one_goes_on_until_it_is_reset(self, me: Chatting):
        first = await me.say(script(["One"]))
        second = await me.say("again")
        assert second["conversationId"] == first["conversationId"]
        assert second["trace"]["request"]["messageCount"] == 4
        reset = await me.post("/chat/reset-context", provider=me.provider, model=MODEL)
        assert (reset["reset"], reset["provider"], reset["model"]) == (True, me.provider, MODEL)
        third = await me.say("new")
        assert third["conversationId"] != first["conversationId"]
        assert (await me.post("/chat/reset-context", clearAll=True))["cleared"] == 1
        named = await me.say("old", conversationId=first["conversationId"])
        assert named["conversationId"] == first["conversationId"]
        assert (await me.post("/chat/reset-context", clearAll=True))["cleared"] == 0

    async def test_history_seeds_a_new_one_and_no_other(self, me: Chatting):
        history = [{"role": "user", "content": "I said"}, {"role": "assistant", "content": "You did"}]
        answer = await me.say("now", history=history)
        assert answer["trace"]["request"]["messageCount"] == 4
        found = await me.get(f"/chat/history/{answer['conversationId']}")
        assert [each["content"] for each in found["messages"]][:3] == ["I said", "You did", "now"]
        assert found["conversation"]["messageCount"] == 4
        again = await me.say("then", history=history)
        assert again["conversationId"] == answer["conversationId"]
        assert len((await me.get(f"/chat/history/{answer['conversationId']}"))["messages"]) == 6

    async def test_two_first_messages_at_once_share_one_with_exact_counts(self, me: Chatting):
        answers = await asyncio.gather(*(me.say(f"{n}", history=[]) for n in range(4)))
        [id_] = {each["conversationId"] for each in answers}
        found = await me.get(f"/chat/history/{id_}")
        assert found["conversation"]["messageCount"] == 8 == len(found["messages"])
        assert [each["role"] for each in found["messages"]] == ["user", "assistant"] * 4
        for question, answer in zip(found["messages"][::2], found["messages"][1::2], strict=True):
            assert answer["content"] == f"You said: {question['content']}"

    async def test_titles_are_cut_at_characters(self, me: Chatting):
        answer = await me.say("ü😀" * 30)
        [row] = (await me.get("/chat/history"))["conversations"]
        assert row["title"] == "ü😀" * 25 + "..." and row["id"] == answer["conversationId"]
        assert (row["agentId"], row["agentName"], row["provider"], row["model"]) == (None, "Chat", me.provider, MODEL)

    async def test_the_list_has_filters_pages_and_a_total(self, me: Chatting):
        ids: list[str] = []
        for text in ("apples", "pears", "Green APPLES"):
            ids.append((await me.say(text))["conversationId"])
            await me.post("/chat/reset-context", clearAll=True)
        page = await me.get("/chat/history", limit=2)
        assert ([each["id"] for each in page["conversations"]], page["total"]) == ([ids[2], ids[1]], 3)
        assert [each["id"] for each in (await me.get("/chat/history", offset=2))["conversations"]] == [ids[0]]
        found = await me.get("/chat/history", search="apples", limit=1)
        assert ([each["id"] for each in found["conversations"]], found["total"]) == ([ids[2]], 2)
        assert await me.data("PATCH", f"/chat/history/{ids[0]}/archive", json={"archived": True}) == {"archived": True}
        assert (await me.get("/chat/history"))["total"] == 2
        archived = await me.get("/chat/history", archived="true")
        assert [(each["id"], each["isArchived"]) for each in archived["conversations"]] == [(ids[0], True)]
        assert (await me.get("/chat/history", agentId="nobody"))["total"] == 0
        refused(await me.send("PATCH", f"/chat/history/{ids[0]}/archive", json={}), 400, "INVALID_REQUEST")

    async def test_messages_have_pages_from_the_newest(self, me: Chatting):
        for text in ("a", "b"):
            id_ = (await me.say(text))["conversationId"]
        page = await me.get(f"/chat/history/{id_}", limit=2, offset=1)
        assert [each["content"] for each in page["messages"]] == ["You said: a", "b"]

    @pytest.mark.parametrize("view", ["history", "conversations"])
    async def test_one_is_deleted_with_its_messages_and_a_new_one_begins(self, me: Chatting, view: str):
        id_ = (await me.say("first"))["conversationId"]
        assert await me.data("DELETE", f"/chat/{view}/{id_}") == {"deleted": True}
        for path in (f"/chat/history/{id_}", f"/chat/conversations/{id_}"):
            refused(await me.send("GET", path), 404, "NOT_FOUND")
            refused(await me.send("DELETE", path), 404, "NOT_FOUND")
        assert [each async for each in turns.of(id_).all()] == []
        refused(await me.send("POST", "/chat", json=me.body("x", conversationId=id_)), 404, "NOT_FOUND")
        assert (await me.say("second"))["conversationId"] != id_

    async def test_a_deletion_that_is_interrupted_is_finished_by_a_repeat(
        self, me: Chatting, monkeypatch: pytest.MonkeyPatch
    ):
        id_ = (await me.say("first"))["conversationId"]
        whole = type(turns).clear

        async def clear(self: Any, *where: Any) -> int:
            if self.table == turns.table:
                raise StorageUnavailable("no answer")
            return await whole(self, *where)

        monkeypatch.setattr(type(turns), "clear", clear)
        with pytest.raises(StorageUnavailable):
            await delete_conversation(me.user, id_)
        monkeypatch.undo()
        await delete_conversation(me.user, id_)
        assert [each async for each in turns.of(id_).all()] == []

    async def test_another_persons_conversation_is_not_found(self, me: Chatting, http: httpx.AsyncClient):
        id_ = (await me.say("mine"))["conversationId"]
        other = OwnPilot(http)
        refused(await other.send("GET", f"/chat/history/{id_}"), 404)
        refused(await other.send("PATCH", f"/chat/history/{id_}/archive", json={"archived": True}), 404)
        refused(await other.send("DELETE", f"/chat/history/{id_}"), 404)
        assert (await me.get(f"/chat/history/{id_}"))["conversation"]["messageCount"] == 2

    async def test_an_interrupted_turn_is_shown_as_an_error_and_the_next_one_works(self, me: Chatting):
        id_ = (await me.say("first"))["conversationId"]
        lost = ChatTurn(user_id=me.user, messages=[ChatMessage(role="user", content="lost")])
        await turns.of(id_).insert(lost)
        running = (await me.get(f"/chat/history/{id_}"))["messages"]
        assert [each["content"] for each in running] == ["first", "You said: first", "lost"]
        await turns.of(id_).update(lost.id, lambda it: setattr(it, "until", it.created_at))
        messages = (await me.get(f"/chat/history/{id_}"))["messages"]
        assert messages[:3] == running
        assert (messages[3]["role"], messages[3]["content"], messages[3]["isError"]) == ("assistant", INTERRUPTED, True)
        assert (await me.say("next"))["message"] == "You said: next"


class TestRefusals:
    async def test_what_cannot_be_answered_is_refused_before_the_first_byte(self, me: Chatting):
        refusals: list[tuple[dict[str, Any], int]] = [
            ({"message": " "}, 400), ({"message": None}, 400), ({"message": 1}, 400), ({"agentId": "nobody"}, 404),
            ({"conversationId": "nothing"}, 404), ({"provider": "nobody"}, 404), ({"model": "nothing"}, 404),
            ({"provider": "openai", "model": "gpt-4o"}, 400), ({"history": [{"role": "system", "content": "x"}]}, 400),
            ({"message": "x" * 800_000}, 400),
        ]  # fmt: skip
        for members, status in refusals:
            for stream in (False, True):
                body = me.body("hello", stream=stream) | members
                refused(await me.send("POST", "/chat", json=body), status)
        assert (await me.get("/chat/history"))["total"] == 0

    async def test_a_message_that_is_not_counted_is_not_stored(self, me: Chatting, monkeypatch: pytest.MonkeyPatch):
        id_ = (await me.say("first"))["conversationId"]
        stored = await conversations.of(me.user).get(id_)

        def fail(conversation: Conversation, question: str, messages: int) -> None:
            raise StorageUnavailable("no answer")

        monkeypatch.setattr(Conversation, "add", fail)
        with pytest.raises(StorageUnavailable):
            await begin(me.user, stored, "second")
        assert len([each async for each in turns.of(id_).all()]) == 1

    async def test_a_spent_budget_that_blocks_is_429(self, me: Chatting):
        await me.post("/costs/budget", dailyLimit=0, limitAction="block")
        refused(await me.send("POST", "/chat", json=me.body("hello")), 429, "BUDGET_EXCEEDED")

    async def test_a_budget_that_is_spent_during_a_turn_ends_it_and_what_was_said_is_kept(
        self, me: Chatting, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(turn, "price_in", lambda model: Price(1_000_000, 1_000_000))  # 1 USD a token
        await me.post("/costs/budget", dailyLimit=150, limitAction="block")
        calls = [["One.", ADD, {"usage": [90, 10]}], ["Two.", ADD, {"usage": [90, 10]}], ["Three."]]
        question = Question(script(*calls), provider=me.provider, model=MODEL)
        with pytest.raises(TurnFailed, match="The daily budget of 150"):
            await take_turn(Person(me.user), question)
        [row] = (await me.get("/chat/history"))["conversations"]
        said = (await me.get(f"/chat/history/{row['id']}"))["messages"][1]
        assert said["content"].startswith("One.\n\nTwo.\n\nThe daily budget") and said["isError"] is True

    @pytest.mark.parametrize(
        ("part", "said"),
        [({"error": 400, "message": "too hot"}, "too hot"), ({"error": 401, "message": "wrong key"}, "wrong key"),
         ({"error": 500, "message": "broken"}, "broken"), ({"break": True}, "")],
    )  # fmt: skip
    async def test_a_failed_call_of_the_model_is_500_with_its_reason_and_in_all_logs(
        self, me: Chatting, part: dict[str, Any], said: str
    ):
        message = refused(await me.send("POST", "/chat", json=me.body(script([part]))), 500, "INTERNAL_ERROR")
        assert said in message
        [row] = (await me.get("/chat/history"))["conversations"]
        question, error = (await me.get(f"/chat/history/{row['id']}"))["messages"]
        assert (question["isError"], error["isError"], error["content"]) == (False, True, message)
        [line] = (await me.get("/chat/logs", errors="true"))["logs"]
        assert (line["statusCode"], line["error"]) == (500, message)
        [record] = (await me.get("/costs/usage"))["records"]
        assert record["error"] and record["totalTokens"] == 0
        assert [each["type"] for each in (await me.get("/audit", types="system.error"))["events"]] == ["system.error"]
        assert (await me.get("/debug"))["summary"]["errorCount"] == 1
        assert (await me.say(script(["Here."])))["message"] == "Here."

    async def test_a_model_that_never_comes_to_an_end_is_stopped(self, me: Chatting):
        agent = await me.post("/agents", name="A", systemPrompt="p", maxTurns=2, maxToolCalls=3)
        text = script([{"call": "search_tools", "arguments": {"query": "all"}}])
        message = refused(await me.send("POST", "/chat", json=me.body(text, agentId=agent["id"])), 500)
        assert "2 turns" in message
        text = script([{"call": "search_tools", "arguments": {"query": "all"}}] * 4)
        message = refused(await me.send("POST", "/chat", json=me.body(text, agentId=agent["id"])), 500)
        assert "3 tools" in message


class TestDemo:
    async def test_without_any_provider_a_text_says_so_and_nothing_is_stored(self, http: httpx.AsyncClient):
        me = OwnPilot(http)
        answer = await me.post("/chat", message="hello", provider="openai")
        assert (answer["conversationId"], answer["finishReason"]) == ("demo-conversation", "stop")
        assert "demo" in answer["message"] and (await me.get("/chat/history"))["total"] == 0

    async def test_it_streams_too(self, http: httpx.AsyncClient, me: Chatting):
        nobody = Chatting(http)
        names = [name for name, _ in await nobody.events("hello")]
        assert names == ["chunk", "done"]


class TestAfterwards:
    async def test_what_the_user_tells_is_remembered_once(self, me: Chatting):
        said = "My name is Ann Lee. I live in Oslo, and I like strong tea."
        answer = await me.say(said)
        await me.say(said)  # the same work again, perhaps at the same moment
        found: list[Any] = []
        for _ in range(300):
            if len(found := (await me.get("/memories"))["memories"]) == 3:
                break
            await asyncio.sleep(0.1)
        assert {(each["type"], each["content"], each["importance"]) for each in found} == {
            ("fact", "The user's name is Ann Lee", 0.7), ("fact", "The user lives in Oslo", 0.7),
            ("preference", "The user likes strong tea", 0.7),
        }  # fmt: skip
        assert {(each["source"], each["sourceId"]) for each in found} == {("conversation", answer["conversationId"])}

    async def test_steps_that_the_answer_calls_done_are_completed(self, me: Chatting):
        goal = (await me.post("/goals", title="Marathon"))["goal"]["id"]
        await me.post(f"/goals/{goal}/steps", steps=[{"title": "Buy shoes"}, {"title": "Run 5 km"}])
        await me.say(script(["Great, you have finished Buy shoes! Next is Run 5 km."]))
        for _ in range(300):
            if (await me.get(f"/goals/{goal}"))["progress"]:
                break
            await asyncio.sleep(0.1)
        steps = (await me.get(f"/goals/{goal}"))["steps"]
        assert [each["status"] for each in steps] == ["completed", "pending"]

    async def test_nothing_is_queued_when_nothing_follows(self, me: Chatting):
        before = {item.id async for item in deferred.items.all()}
        await me.say("Hello")
        assert {item.id async for item in deferred.items.all()} <= before
