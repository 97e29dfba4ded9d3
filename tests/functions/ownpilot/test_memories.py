"""Memories: stored once, ranked, found again."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Call
from functions.ownpilot.core.memory_search import merged, ranked
from functions.ownpilot.core.settings_store import recent
from functions.ownpilot.memories import Memory, MemoryType, boost, find_memories, memories, recall, remember
from shared.http.errors import BadRequest, InvalidRequest
from shared.settings import settings
from tests.support.ownpilot import OwnPilot, data_of, refused
from tests.support.records import Counting


async def store(me: OwnPilot, content: str, **members: Any) -> dict[str, Any]:
    return (await me.post("/memories", **{"type": "fact", "content": content, **members}))["memory"]


async def found(me: OwnPilot, query: str, **members: Any) -> list[str]:
    return [each["content"] for each in (await me.post("/memories/search", query=query, **members))["memories"]]


def memory(content: str, importance: float = 0.5, tags: tuple[str, ...] = (), days_ago: int = 0) -> Memory:
    accessed = datetime.now(UTC) - timedelta(days=days_ago)
    return Memory(
        type=MemoryType.FACT, content=content, importance=importance, tags=[*tags], accessed_at=accessed
    )  # fmt: skip


class TestOnce:
    async def test_the_same_memory_again_becomes_more_important(self, me: OwnPilot):
        first = await me.send("POST", "/memories", json={"type": "fact", "content": "Likes  Green tea"})
        again = await me.send(
            "POST", "/memories", json={"type": "fact", "content": " likes green\nTEA ", "tags": ["x"]}
        )
        assert (first.status_code, again.status_code) == (201, 200)
        new, known = data_of(first), data_of(again)
        assert "deduplicated" not in new and known["deduplicated"] is True
        assert (new["memory"]["importance"], known["memory"]["importance"]) == (0.5, 0.6)
        assert (known["memory"]["id"], known["memory"]["content"]) == (new["memory"]["id"], "Likes  Green tea")
        assert (await store(me, "Likes green tea", type="preference"))["id"] != known["memory"]["id"]
        assert (await me.get("/memories"))["total"] == 2

    async def test_at_the_same_moment_it_is_one_memory(self, me: OwnPilot):
        body = {"type": "fact", "content": "Plays the cello"}
        answers = await asyncio.gather(*(me.send("POST", "/memories", json=body) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
        [one] = (await me.get("/memories"))["memories"]
        assert one["importance"] == 0.8

    async def test_importance_ends_at_one_and_wrong_values_are_clamped(self, me: OwnPilot):
        assert (await store(me, "a", importance=7))["importance"] == 1
        assert (await store(me, "a"))["importance"] == 1
        assert (await store(me, "b", importance=-1))["importance"] == 0

    async def test_a_changed_content_is_another_memory(self, me: OwnPilot):
        tea, cello = await store(me, "tea"), await store(me, "cello")
        answer = await me.send("PATCH", f"/memories/{cello['id']}", json={"content": "TEA"})
        assert refused(answer, 409, "CONFLICT") == "Another memory of this type has the same content"
        changed = await me.data("PATCH", f"/memories/{tea['id']}", json={"content": "coffee", "tags": ["drinks"]})
        assert (changed["content"], changed["tags"], changed["importance"]) == ("coffee", ["drinks"], 0.5)
        assert (await store(me, "tea"))["id"] != tea["id"]
        assert (await store(me, "Coffee"))["id"] == tea["id"]

    @pytest.mark.parametrize(
        "members", [{}, {"content": "c"}, {"type": "fact"}, {"type": "dream", "content": "c"},
                    {"type": "fact", "content": " "}, {"type": "fact", "content": "c", "importance": "high"},
                    {"type": "fact", "content": "c", "tags": "a"}],
    )  # fmt: skip
    async def test_what_is_missing_or_wrong_is_refused(self, me: OwnPilot, members: dict[str, Any]):
        refused(await me.send("POST", "/memories", json=members), 400, "INVALID_REQUEST")


class TestReading:
    async def test_a_read_counts_and_does_not_move_the_time_of_the_last_change(self, me: OwnPilot):
        stored = await store(me, "c", source="chat", metadata={"a": None})
        assert (stored["accessedCount"], stored["metadata"]) == (0, {"a": None})
        assert {"accessedAt", "sourceId", "fingerprint"}.isdisjoint(stored)
        await asyncio.gather(*(me.get(f"/memories/{stored['id']}") for _ in range(3)))
        read = await me.get(f"/memories/{stored['id']}")
        assert (read["accessedCount"], read["updatedAt"]) == (4, stored["updatedAt"])
        assert read["accessedAt"] >= stored["createdAt"]
        changed = await me.data("PATCH", f"/memories/{stored['id']}", json={"source": None, "accessedCount": 9})
        assert changed["accessedCount"] == 4 and changed["updatedAt"] > stored["updatedAt"]
        assert "source" not in changed

    async def test_the_most_important_come_first_and_filters_count_exactly(self, me: OwnPilot):
        for number in range(25):
            await store(me, str(number), importance=number / 25, type="event" if number % 5 == 0 else "skill")
        page = await me.get("/memories")
        assert [each["content"] for each in page["memories"]] == [str(24 - number) for number in range(20)]
        assert page["total"] == 25
        events = await me.get("/memories", type="event", minImportance=0.4, limit=1, offset=1)
        assert ([each["content"] for each in events["memories"]], events["total"]) == (["15"], 3)
        refused(await me.send("GET", "/memories", params={"minImportance": "some"}), 400, "INVALID_REQUEST")

    async def test_a_boost_adds_a_step_or_what_is_given(self, me: OwnPilot):
        path = f"/memories/{(await store(me, 'c'))['id']}/boost"
        assert (await me.data("POST", path))["memory"]["importance"] == 0.6
        assert (await me.post(path, amount=0.25))["memory"]["importance"] == 0.85
        assert (await me.post(path, amount=1))["memory"]["importance"] == 1
        for amount in (0, -0.1, 1.1, "much", None):
            refused(await me.send("POST", path, json={"amount": amount}), 400, "INVALID_REQUEST")

    async def test_a_deleted_memory_may_be_stored_again(self, me: OwnPilot):
        gone = await store(me, "c")
        assert await me.data("DELETE", f"/memories/{gone['id']}") == {"message": "Memory deleted"}
        refused(await me.send("DELETE", f"/memories/{gone['id']}"), 404, "NOT_FOUND")
        again = await store(me, "c")
        assert (again["id"] != gone["id"], again["importance"]) == (True, 0.5)

    async def test_another_users_memories_are_not_there(self, me: OwnPilot):
        own, another = await store(me, "secret"), OwnPilot(me.http)
        path = f"/memories/{own['id']}"
        for method, target in [("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/boost")]:
            refused(await another.send(method, target, json={"content": "x"}), 404, "NOT_FOUND")
        assert await found(another, "secret") == []
        assert (await store(another, "secret"))["id"] != own["id"]


class TestSearch:
    async def test_all_words_are_needed_anywhere_in_content_or_tags(self, me: OwnPilot):
        await store(me, "Prefers the dark mode", tags=["UI"], type="preference", importance=0.9)
        await store(me, "A dark room without a mode", importance=0.2)
        await store(me, "Dark chocolate", importance=1)
        assert await found(me, "DARK  mode") == ["Prefers the dark mode", "A dark room without a mode"]
        assert await found(me, "ui dark") == ["Prefers the dark mode"]
        assert await found(me, "olat") == ["Dark chocolate"]
        assert await found(me, "dark", type="preference") == ["Prefers the dark mode"]
        assert await found(me, "dark", tags=["ui", "other"]) == ["Prefers the dark mode"]
        assert await found(me, "dark", minImportance=0.5) == ["Dark chocolate", "Prefers the dark mode"]
        page = await me.post("/memories/search", query="dark", limit=1, offset=1)
        assert (page["query"], page["count"], page["total"]) == ("dark", 1, 3)
        refused(await me.send("POST", "/memories/search", json={"query": " "}), 400, "INVALID_REQUEST")
        refused(await me.send("POST", "/memories/search"), 400, "INVALID_REQUEST")
        refused(await me.send("POST", "/memories/search", json={"query": "a", "limit": 0}), 400, "INVALID_REQUEST")

    async def test_a_long_memory_is_found_by_its_last_word(self, me: OwnPilot):
        content = "word " * 3_900 + "Schlüsselwort"
        await store(me, content)
        assert await found(me, "schlüsselWORT") == [content]

    async def test_what_is_too_long_is_refused_by_routes_and_tools(self, me: OwnPilot):
        known = await store(me, "x" * 20_000)
        for method, path, body in (
            ("POST", "/memories", {"type": "fact", "content": "y" * 20_001}),
            ("PATCH", f"/memories/{known['id']}", {"content": "y" * 20_001}),
            ("POST", "/memories/search", {"query": "a " * 501}),
        ):
            refused(await me.send(method, path, json=body), 400, "INVALID_REQUEST")
        for tool, arguments in (
            ("remember", {"type": "fact", "content": "y" * 20_001}), ("recall", {"query": "a " * 501}),
        ):  # fmt: skip
            answer = await me.post(f"/tools/{tool}/execute", arguments=arguments)
            assert answer["isError"] and "at most" in answer["result"]

    def test_a_word_that_is_repeated_counts_once(self):
        important, other = memory("red, wine", 1), memory("red, wine, red", 0.1)
        assert ranked([other, important], "red wine red") == [important, other]

    def test_the_whole_query_comes_first_then_its_order_then_importance_then_the_last_access(self):
        for better, worse in [
            (memory("red wine glass", 0.1, days_ago=9), memory("wine in a red bottle of glass", 1)),
            (memory("red and wine and glass", 0.1, days_ago=9), memory("glass, wine, red", 1)),
            (memory("red a wine b glass", 0.9, days_ago=9), memory("red c wine d glass", 0.1)),
            (memory("red a wine b glass", days_ago=1), memory("red c wine d glass", days_ago=2)),
            (memory("x", 0.1, tags=("red wine glass",)), memory("red, wine, glass", 1)),
        ]:
            for order in ([better, worse], [worse, better]):
                assert ranked(order, "Red wine  glass") == [better, worse]

    def test_a_second_ranking_is_merged(self):
        whole, first, second, other = (memory(text) for text in ("a b", "a c b", "b a", "similar"))
        known = [whole, first, second, other]
        assert ranked(known, "a b") == [whole, first, second]
        # Place 3 and place 1 together are better than place 2 alone; what only the second ranking has is there too.
        assert ranked(known, "a b", [second.id, other.id, "unknown"]) == [whole, second, first, other]
        assert ranked(known, "a b", [other.id, whole.id]) == [whole, other, first, second]
        assert merged(["a", "b"]) == ["a", "b"]

    @given(st.text(" \t\naBßÄİé", max_size=30), st.integers(0, 30), st.integers(1, 10))
    def test_a_part_of_the_content_is_always_a_hit(self, content: str, start: int, length: int):
        query = content[start : start + length]
        stored = memory(content)
        assert not query.strip() or ranked([stored], query.swapcase() if query.isascii() else query) == [stored]


@pytest.mark.usefixtures("account")
class TestMethods:
    """The same for other code."""

    async def test_they_check_what_requests_check(self):
        with pytest.raises(InvalidRequest, match="content: must not be blank"):
            await remember("methods", {"type": "fact", "content": " "})
        stored, is_new = await remember("methods", {"type": "fact", "content": "c", "sourceId": "s"})
        assert (stored.user_id, stored.source_id, is_new) == ("methods", "s", True)
        assert await remember("methods", {"type": "fact", "content": "C"}) == (
            await memories.get("methods", stored.id),
            False,
        )
        assert await find_memories("methods", "c", types=[MemoryType.SKILL]) == []

    async def test_a_person_may_have_so_many(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("RUNYARD_MAX_RECORDS", "1")
        settings.cache_clear()
        await remember("limited", {"type": "fact", "content": "a"})
        with pytest.raises(BadRequest) as refusal:
            await remember("limited", {"type": "fact", "content": "b"})
        assert refusal.value.code == "LIMIT_REACHED"
        settings.cache_clear()

    async def test_what_they_cost(self, counting: Counting):
        stored, _ = await remember("costs", {"type": "fact", "content": "first"})
        operations: list[tuple[Call, dict[str, int]]] = [
            (lambda: remember("costs", {"type": "fact", "content": "new"}), {"get": 1, "batch": 1}),
            (lambda: remember("costs", {"type": "fact", "content": "new"}), {"get": 2, "write": 1}),
            (lambda: recall("costs", stored.id), {"get": 1, "write": 1}),
            (lambda: boost("costs", stored.id), {"get": 1, "write": 1}),
            (lambda: find_memories("costs", "new"), {"query": 1}),
        ]
        for operation, cost in operations:
            await recent("costs")  # whether the person has a model of vectors
            counting.reset()
            await operation()
            assert counting.calls == cost
