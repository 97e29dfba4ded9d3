"""Memories by meaning: small vectors, their upkeep, and searches that use them."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.ownpilot import memories as rooms
from functions.ownpilot.core import memory_vectors, settings_store, vector_store
from functions.ownpilot.core.llm.embedding import Embedded
from functions.ownpilot.core.llm.vocabulary import ModelRefused
from functions.ownpilot.core.memory_vectors import SETTING, nearest_memories
from functions.ownpilot.core.usage import usage_of
from functions.ownpilot.core.vector_store import MemoryVector
from functions.ownpilot.core.vectors import nearest, packed, unpacked, vector_of
from functions.ownpilot.memories import Memory, MemoryType, memories
from infra.emulator.providers import KEY
from infra.local.environment import Environment
from tests.support.ownpilot import OwnPilot
from tests.support.records import Counting

SOON = 60
values = st.lists(st.floats(-1, 1, allow_nan=False), min_size=8, max_size=8)


class TestVectors:
    @given(values, values)
    def test_the_cosine_is_nearly_that_of_the_numbers(self, one: list[float], other: list[float]):
        lengths = math.hypot(*one) * math.hypot(*other)
        if lengths > 1e-3:
            exact = sum(a * b for a, b in zip(one, other, strict=True)) / lengths
            assert vector_of(one).cosine(vector_of(other)) == pytest.approx(exact, abs=0.03)

    def test_a_vector_is_short_and_comes_back_as_it_was(self):
        vector = vector_of([math.sin(number) for number in range(256)])
        assert unpacked(packed(vector)) == vector and len(packed(vector)) < 400

    @pytest.mark.parametrize("odd", [[], [0.0, 0.0], [math.inf, 1.0], [1.0, math.nan], [1.0]])
    def test_what_has_no_direction_or_another_length_is_near_to_nothing(self, odd: list[float]):
        assert vector_of(odd).cosine(vector_of([1.0, 0.5])) == 0

    def test_the_nearest_come_first_and_far_ones_not_at_all(self):
        vectors = {"far": vector_of([0, 1]), "near": vector_of([1, 0.1]), "nearer": vector_of([1, 0])}
        assert nearest(vector_of([1, 0]), vectors, most=5, least=0.3) == ["nearer", "near"]
        assert nearest(vector_of([1, 0]), vectors, most=1, least=0.3) == ["nearer"]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SOON):
        while not await condition():
            await asyncio.sleep(0.2)


@pytest.fixture
async def me(me: OwnPilot, stack: Environment, app: None) -> OwnPilot:
    """A person with a model of vectors."""
    url = f"http://127.0.0.1:{stack.ports['providers']}"
    made = await me.post("/local-providers", name="mine", providerType="custom", baseUrl=url, apiKey=KEY)
    provider = made["id"]
    await me.data("POST", f"/local-providers/{provider}/discover")
    await me.post(f"/settings/{SETTING}", value=f"{provider}/stand-in-small")
    return me


async def bring_up_to_date(me: OwnPilot) -> None:
    """Do here what the queue brings to the host a few seconds after a write."""
    settings_store.forget(me.user)
    await rooms.embed_memories({"user": me.user})


async def store(me: OwnPilot, content: str) -> str:
    return (await me.post("/memories", type="fact", content=content))["memory"]["id"]


async def found(me: OwnPilot, query: str) -> list[str]:
    return [each["content"] for each in (await me.post("/memories/search", query=query))["memories"]]


class TestMeaning:
    async def test_memories_are_found_by_words_and_by_meaning(self, me: OwnPilot):
        for content in ("automobile", "green tea", "the cart is red"):
            await store(me, content)

        async def is_found() -> bool:
            return "automobile" in await found(me, "car")

        await until(is_found)
        # The one that contains the words comes first, whatever the vectors say.
        assert await found(me, "car") == ["the cart is red", "automobile"]
        assert await found(me, "piano") == []
        usage = (await usage_of(me.user, datetime.now(UTC).date()).page(limit=50)).items
        assert {(each.request_type, each.model, each.failed) for each in usage} == {
            ("embedding", "stand-in-small", False)
        }
        assert sum(each.input_tokens for each in usage) > 0

    async def test_vectors_follow_their_memories(self, me: OwnPilot):
        changed, deleted = await store(me, "automobile"), await store(me, "puppy")
        await bring_up_to_date(me)
        before = await vector_store.read(me.user)
        assert set(before) == {changed, deleted}
        await me.data("DELETE", f"/memories/{deleted}")
        await me.data("PATCH", f"/memories/{changed}", json={"content": "sofa"})
        assert set(await vector_store.read(me.user)) == {changed} and await found(me, "car") == []
        await bring_up_to_date(me)
        assert await found(me, "couch") == ["sofa"]
        assert (await vector_store.read(me.user))[changed] != before[changed]

    async def test_another_model_makes_them_anew_a_part_at_a_time(self, me: OwnPilot, monkeypatch: pytest.MonkeyPatch):
        kept = [await store(me, content) for content in ("automobile", "puppy")]
        await bring_up_to_date(me)
        name = (await me.get(f"/settings/{SETTING}"))["value"]
        await me.post(f"/settings/{SETTING}", value=name.replace("small", "large"))
        assert await found(me, "automobile") == ["automobile"]
        monkeypatch.setattr(memory_vectors, "AT_ONCE", 1)
        again: list[Any] = []

        async def defer(*order: Any) -> None:
            again.append(order)

        monkeypatch.setattr(rooms, "defer", defer)
        for _ in range(3):
            await bring_up_to_date(me)
        own = await vector_store.read(me.user)
        assert {own[each].model for each in kept} == {name.replace("small", "large")}
        assert again in ([], [("ownpilot.embed_memories", {"user": me.user})])  # the host may have been faster

    async def test_a_vector_without_a_memory_is_deleted(self, me: OwnPilot):
        [lost] = await TestComparing.keep(me.user, "lost")
        await memories.collection.of(me.user).delete(lost.id)
        await bring_up_to_date(me)
        assert await vector_store.read(me.user) == {}

    @pytest.mark.parametrize("name", ["nobody/nothing", "x", "/", 7, ""])
    async def test_a_model_that_cannot_be_called_leaves_the_search_by_words(self, me: OwnPilot, name: Any):
        await store(me, "automobile")
        await me.post(f"/settings/{SETTING}", value=name)
        assert await found(me, "auto") == ["automobile"]

    @pytest.mark.parametrize("refused", ["bad", ""])
    async def test_a_text_that_the_model_refuses_is_passed_over_and_a_model_that_refuses_all_is_asked_later(
        self, me: OwnPilot, refused: str, monkeypatch: pytest.MonkeyPatch
    ):
        async def embedded(way: Any, texts: list[str]) -> Embedded:
            if any(refused in text for text in texts):
                raise ModelRefused(400, "not this")
            return Embedded([[1.0, 0.5] for _ in texts], 10)

        monkeypatch.setattr(memory_vectors, "embedded", embedded)
        kept = [Memory(user_id=me.user, type=MemoryType.FACT, content=each) for each in ("a", "bad", "b", "c", "worse")]
        settings_store.forget(me.user)
        assert await memory_vectors.refresh(me.user, kept) is False
        own = await vector_store.read(me.user)
        lengths = {each.content: own[each.id].vector.length > 0 for each in kept if each.id in own}
        assert lengths == ({"a": True, "bad": False, "b": True, "c": True, "worse": True} if refused else {})
        used = (await usage_of(me.user, datetime.now(UTC).date()).page(limit=50)).items
        assert await memory_vectors.refresh(me.user, kept) is False
        again = (await usage_of(me.user, datetime.now(UTC).date()).page(limit=50)).items
        assert len(again) == len(used) if refused else len(again) == 2 * len(used) == 4
        assert sum(each.input_tokens for each in again) == (30 if refused else 0)


class TestComparing:
    @staticmethod
    async def keep(owner: str, *contents: str) -> list[Memory]:
        """Store memories, each with a vector that has the direction of its place."""
        kept = [Memory(user_id=owner, type=MemoryType.FACT, content=each) for each in contents]
        made: list[MemoryVector] = []
        for place, memory in enumerate(kept):
            memory.importance = 1 - place / 10
            memory.settle()
            await memories.collection.of(owner).insert(memory)
            vector = packed(vector_of([float(number == place) for number in range(8)]))
            made.append(
                MemoryVector(
                    id=memory.id, created_at=memory.created_at, user_id=owner, model="a/b", vector=vector,
                    fingerprint=memory.fingerprint,
                )
            )  # fmt: skip
        await vector_store.write(owner, made, [])
        return kept

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every person's model says that a query has the direction of the second memory."""

        async def name(owner: str) -> str:
            await settings_store.recent(owner)
            return "a/b"

        async def query(*_: str) -> Any:
            return vector_of([0.0, 1.0, *[0.0] * 6])

        monkeypatch.setattr(memory_vectors, "model_name", name)
        monkeypatch.setattr(memory_vectors, "_query_vector", query)

    async def test_vectors_are_held_until_one_is_written(self, counting: Counting, asked: None):
        one, two = await self.keep("held", "one", "two")
        assert await nearest_memories("held", "x", [one, two]) == [two.id]
        counting.reset()
        assert await nearest_memories("held", "x", [one, two]) == [two.id]
        assert counting.calls == {"get": 1}
        own = await vector_store.read("held")
        swapped = [
            MemoryVector(
                id=each.id, created_at=each.created_at, user_id="held", model="a/b", fingerprint=each.fingerprint,
                vector=packed(own[other.id].vector),
            )
            for each, other in ((one, two), (two, one))
        ]  # fmt: skip
        await vector_store.write("held", swapped, [])
        assert await nearest_memories("held", "x", [one, two]) == [one.id]

    async def test_what_has_no_vector_or_an_old_one_gets_one_after_a_search(
        self, account: None, asked: None, monkeypatch: pytest.MonkeyPatch
    ):
        ordered: list[str] = []

        async def are_written(owner: str) -> None:
            ordered.append(owner)

        monkeypatch.setattr(memory_vectors, "are_written", are_written)
        one, two = await self.keep("old", "one", "two")
        assert await nearest_memories("old", "x", [one, two]) == [two.id] and ordered == []
        two.content = "another"
        two.settle()
        assert await nearest_memories("old", "x", [one, two]) == [] and ordered == ["old"]
        assert await nearest_memories("old", "x", [Memory(type=MemoryType.FACT, content="new")]) == []
        assert ordered == ["old", "old"]

    async def test_a_queue_that_fails_does_not_fail_the_write(
        self, account: None, asked: None, monkeypatch: pytest.MonkeyPatch
    ):
        async def defer(*_: Any, **__: Any) -> None:
            raise ConnectionError

        monkeypatch.setattr(memory_vectors, "defer", defer)
        _, is_new = await rooms.remember("queue", {"type": "fact", "content": "one"})
        assert is_new

    async def test_of_too_many_the_most_important_ones_are_compared(
        self, account: None, asked: None, monkeypatch: pytest.MonkeyPatch
    ):
        kept = await self.keep("many", "one", "two", "three")
        assert memory_vectors.notice("many") is None
        assert await nearest_memories("many", "x", kept) == [kept[1].id]
        assert memory_vectors.notice("many") is None
        monkeypatch.setattr(memory_vectors, "MOST_COMPARED", 1)
        assert await nearest_memories("many", "x", kept) == []
        assert "only the 1 most important" in (memory_vectors.notice("many") or "")
