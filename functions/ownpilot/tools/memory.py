"""Tools on memories."""

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field

from functions.ownpilot import memories as room
from functions.ownpilot.core.entry import Given
from functions.ownpilot.core.memory_vectors import notice
from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools.records import MAX_BATCH, Limit, Tags, add_all, listed, members, present, shown
from functions.ownpilot.tools.registry import tool

Kind = Literal["fact", "preference", "event", "skill"]


class NewMemory(Given):
    """Something to remember."""

    content: Annotated[str, Field(description="One statement that makes sense by itself")]
    type: Kind
    importance: Annotated[float | None, Field(description="From 0 to 1, by default 0.5")] = None
    tags: Tags = None


async def _remember(owner: str, values: dict[str, Any]) -> dict[str, Any]:
    memory, is_new = await room.remember(owner, values)
    return {"memory": shown(room.MemoryShown, memory), "deduplicated": not is_new}


@tool(category="memory", tags=("store", "save", "fact", "preference"))
async def remember(context: ToolContext, given: NewMemory) -> Any:
    """Remember something about the user. What is known already becomes more important instead of being kept twice."""
    return await _remember(context.owner, members(given))


@tool(category="memory", tags=("store", "save", "several"))
async def batch_remember(
    context: ToolContext, memories: Annotated[list[NewMemory], Field(min_length=1, max_length=MAX_BATCH)]
) -> Any:
    """Remember several things about the user at once."""

    async def add(values: dict[str, Any]) -> Any:
        return await _remember(context.owner, values)

    def check(values: dict[str, Any]) -> object:
        return room.memories.make(context.owner, values)

    return await add_all("memories", [members(each) for each in memories], check, add)


@tool(category="memory", tags=("find", "search"))
async def recall(
    context: ToolContext,
    query: Annotated[str, Field(max_length=room.MOST_ASKED)],
    type: Kind | None = None,
    tags: Annotated[list[str] | None, Field(description="Only memories with one of these tags")] = None,
    limit: Limit = 10,
) -> Any:
    """Find what is remembered about something, the best matches first."""
    types = [room.MemoryType(type)] if type else ()
    found = await room.find_memories(context.owner, query, types=types, tags=tags or ())
    memories = [shown(room.MemoryShown, each) for each in found[:limit]]
    return present(memories=memories, total=len(found), notice=notice(context.owner))


@tool(category="memory", tags=("delete", "remove"), camel=True)
async def forget(context: ToolContext, memory_id: str) -> str:
    """Delete a memory."""
    await room.memories.delete(context.owner, memory_id)
    return "The memory was deleted."


@tool(category="memory", camel=True)
async def list_memories(
    context: ToolContext,
    type: Kind | None = None,
    limit: Limit = 20,
    min_importance: Annotated[float | None, Field(description="From 0 to 1")] = None,
) -> Any:
    """List what is remembered about the user, the most important first."""
    between = None if min_importance is None else (min_importance, None)
    return await listed(room.memories, context.owner, "memories", {"type": type}, between=between, limit=limit)


@tool(category="memory", tags=("important", "strengthen"), camel=True)
async def boost_memory(
    context: ToolContext,
    memory_id: str,
    amount: Annotated[float, Field(gt=0, le=1, description="By how much, by default 0.1")] = room.STEP,
) -> Any:
    """Make a memory more important, to 1 at most."""
    return {"memory": shown(room.MemoryShown, await room.boost(context.owner, memory_id, amount))}


@tool(category="memory", tags=("statistics", "count"))
async def memory_stats(context: ToolContext) -> Any:
    """Count what is remembered about the user: in total, by type, and its average importance."""
    found = [each async for each in room.memories.collection.of(context.owner).all()]
    average = round(sum(each.importance for each in found) / len(found), 2) if found else 0
    return {"total": len(found), "byType": Counter(each.type.value for each in found), "averageImportance": average}
