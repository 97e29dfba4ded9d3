"""Memories: what the assistant knows of a person, each fact once."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Response
from pydantic import AfterValidator, BaseModel, Field

from functions.ownpilot.core import memory_vectors, vector_store
from functions.ownpilot.core.entry import Entry, Given, Moment, Shown
from functions.ownpilot.core.memory_search import folded, ranked
from functions.ownpilot.core.owner import Owner, routes_for
from shared.deferred import defer
from shared.http.bodies import example
from shared.http.conditions import show_version
from shared.http.json import not_blank
from shared.http.paging import MAX_LIMIT, MAX_OFFSET
from shared.http.resource import resource
from shared.http.shapes import Answers
from shared.tables import Collection

STEP = 0.1
"""How much more important a memory becomes when it is stored again, or boosted."""

LIMIT = 20

LONGEST = 20_000
"""Characters of a content: each search reads all of them."""

MOST_ASKED = 1000
"""Characters of a query."""


class MemoryType(StrEnum):
    """What a memory is about."""

    FACT = "fact"
    PREFERENCE = "preference"
    EVENT = "event"
    SKILL = "skill"
    CONVERSATION = "conversation"


Importance = Annotated[float, Field(allow_inf_nan=False), AfterValidator(lambda given: min(max(given, 0.0), 1.0))]
"""From 0 to 1; what is below or above counts as that."""


class Memory(Entry):
    """Something to be remembered. The fingerprint is the same for contents that differ in case and white space only."""

    model_config = example(type="preference", content="Prefers dark mode", importance=0.7, tags=["ui"])

    type: MemoryType
    content: Annotated[str, Field(max_length=LONGEST)]
    source: str | None = None
    source_id: str | None = None
    importance: Importance = 0.5
    tags: list[str] = []
    accessed_count: int = 0
    accessed_at: Moment | None = None
    metadata: dict[str, Any] = {}
    fingerprint: Annotated[str, Field(exclude=True)] = ""

    def settle(self) -> None:
        """Set what follows from type and content."""
        self.fingerprint = hashlib.sha256(f"{self.type}\n{folded(self.content)}".encode()).hexdigest()

    def strengthen(self, amount: float) -> None:
        """Make it more important."""
        self.importance = round(min(self.importance + amount, 1.0), 6)

    def count_access(self) -> None:
        """Note that it was read now."""
        self.accessed_count += 1
        self.accessed_at = datetime.now(UTC)


memories = resource(
    routes_for("memories"), Collection("OwnpilotMemories", Memory, plain=True, unique=["fingerprint"]), Owner,
    required=("type", "content"), readonly=("accessed_count", "accessed_at"),
    filters=("type",), between=("minImportance", ""), limit=LIMIT, order=("-importance", "-created_at"),
    settle=Memory.settle, before_delete=vector_store.forget,
    taken="Another memory of this type has the same content", answers=Answers(leave_out=True),
    only=("list", "update", "delete"),
)  # fmt: skip
routes = memories.routes
NewMemory = memories.shapes.new
MemoryShown = memories.shapes.shown


async def remember(owner: str, values: Mapping[str, Any] | BaseModel) -> tuple[Memory, bool]:
    """Store a memory, or make the one with the same type and content more important; return it, and whether it is new.

    `BadRequest` as in `create`. 2 or 3 calls, and one a minute that counts; with a model of vectors 1 to a queue.
    """
    memory = memories.make(owner, values)
    kept = await memories.admit(owner)

    def strengthen(stored: Memory) -> None:
        if stored is not memory:
            stored.strengthen(STEP)

    own = memories.collection.of(owner)
    stored = await own.put("fingerprint", memory.fingerprint, strengthen, lambda: memory)
    is_new = stored.id == memory.id
    kept.records += is_new
    if is_new:
        await memory_vectors.are_written(owner)
    return stored, is_new


async def embed_memories(value: dict[str, str]) -> None:
    """Deferred work: make the vectors of memories that have none, or old ones."""
    owner = value["user"]
    if await memory_vectors.refresh(owner, [memory async for memory in memories.collection.of(owner).scan()]):
        await defer("ownpilot.embed_memories", value)


async def recall(owner: str, memory_id: str) -> Memory:
    """Return a memory, and count that it was read. `RecordNotFound`."""
    return await memories.collection.of(owner).update(memory_id, Memory.count_access, touch=False)


async def boost(owner: str, memory_id: str, amount: float = STEP) -> Memory:
    """Make a memory more important. `RecordNotFound`."""
    return await memories.collection.of(owner).update(memory_id, lambda memory: memory.strengthen(amount))


async def find_memories(
    owner: str,
    query: str,
    *,
    types: Sequence[MemoryType] = (),
    tags: Sequence[str] = (),
    min_importance: float = 0.0,
) -> list[Memory]:
    """Return all memories that match a query by words, or by meaning where a person has a model of vectors.

    The best come first, as `ranked` says. With `types` or `tags`, only those that have one of them. 1 query for each
    1,000 memories, and what `nearest_memories` costs.
    """
    wanted = {tag.casefold() for tag in tags}
    where = {"type": [*types]} if types else None
    found = [
        memory
        async for memory in memories.collection.of(owner).scan(where)
        if memory.importance >= min_importance and (not wanted or wanted & {tag.casefold() for tag in memory.tags})
    ]
    near = await memory_vectors.nearest_memories(owner, query, found)
    return await asyncio.to_thread(ranked, found, query, near)


class Remembered(Shown):
    """A memory that was stored; `deduplicated` when it was known already."""

    memory: MemoryShown
    message: str
    deduplicated: bool | None = None


class MemoryQuery(Given):
    """What to look for; `tags` are those of which a memory must have one."""

    model_config = example(query="dark mode", type="preference")

    query: Annotated[str, Field(max_length=MOST_ASKED), AfterValidator(not_blank)]
    type: MemoryType | None = None
    tags: list[str] = []
    min_importance: Importance | None = None
    limit: Annotated[int, Field(ge=1), AfterValidator(lambda given: min(given, MAX_LIMIT))] = LIMIT
    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET)] = 0


class MemoriesFound(Shown):
    """Part of the memories that match, the best first; `total` is the number of all of them.

    `notice` says that not all of the memories were compared by meaning.
    """

    query: str
    memories: list[MemoryShown]
    count: int
    total: int
    notice: str | None = None


class Boost(Given):
    """How much more important a memory becomes."""

    model_config = example(amount=0.2)

    amount: Annotated[float, Field(gt=0, le=1)] = STEP


class Boosted(Shown):
    """The memory after it was boosted."""

    memory: MemoryShown
    message: str


@routes.post(
    "",
    status_code=201,
    responses={200: {"model": Remembered, "description": "The memory was known already"}},
    response_model_exclude_none=True,
)
async def create_memory(body: NewMemory, owner: Owner, response: Response) -> Remembered:
    """Store a memory. One with the same type and content becomes more important instead, and is answered with 200."""
    memory, is_new = await remember(owner.id, body)
    show_version(response, memory)
    if is_new:
        return Remembered(memory=memory, message="Memory created")
    response.status_code = 200
    return Remembered(memory=memory, message="This memory exists already and became stronger", deduplicated=True)


@routes.post("/search", response_model_exclude_none=True)
async def search_memories(body: MemoryQuery, owner: Owner) -> MemoriesFound:
    """The memories whose content or tags contain all words of a query, or that are like it in meaning, the best first.

    Meanings are compared where the setting `embedding_model` names a model, such as `openai/text-embedding-3-small`.
    Reads all memories of the caller, 1,000 a query.
    """
    found = await find_memories(
        owner.id, body.query, types=[body.type] if body.type else (), tags=body.tags,
        min_importance=body.min_importance or 0.0,
    )  # fmt: skip
    part = found[body.offset : body.offset + body.limit]
    notice = memory_vectors.notice(owner.id)
    return MemoriesFound(query=body.query, memories=part, count=len(part), total=len(found), notice=notice)


@routes.get("/{memory_id}", response_model=MemoryShown, response_model_exclude_none=True)
async def get_memory(memory_id: str, owner: Owner, response: Response) -> Memory:
    """One memory. That it was read is counted, and does not move `updatedAt`."""
    memory = await recall(owner.id, memory_id)
    show_version(response, memory)
    return memory


@routes.post("/{memory_id}/boost", response_model_exclude_none=True)
async def boost_memory(memory_id: str, body: Boost, owner: Owner) -> Boosted:
    """Make a memory more important, to 1 at most."""
    return Boosted(memory=await boost(owner.id, memory_id, body.amount), message="Memory boosted")
