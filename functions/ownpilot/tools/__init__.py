"""The tools of the assistant: listed, explained, used."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query
from fastapi.responses import StreamingResponse

from functions.ownpilot.core.agent_store import agent_of
from functions.ownpilot.core.entry import iso
from functions.ownpilot.core.owner import Owner, Person, routes_for
from functions.ownpilot.core.tool_context import ToolContext, ToolResult
from functions.ownpilot.tools.bodies import (
    Batch,
    BatchAnswer,
    BatchItem,
    BatchRow,
    CategoryCount,
    CategoryInfo,
    CategoryTools,
    Grouped,
    ToolAnswer,
    ToolArguments,
    ToolShown,
    ToolSource,
)
from functions.ownpilot.tools.categories import CATEGORIES
from functions.ownpilot.tools.meta import TOOLS, unknown
from functions.ownpilot.tools.registry import Tool, names_for, tools_for
from functions.ownpilot.tools.use import use_tool
from shared.http.errors import NotFound
from shared.http.sse import event_stream, frame

routes = routes_for("tools")

BATCH_SECONDS = 200
"""After this time a batch begins no more calls: the platform ends a request after 230 seconds."""


AgentId = Annotated[str | None, Query(alias="agentId", description="Only the tools of this agent")]


@routes.get("", response_model=list[ToolShown] | Grouped)
async def list_tools(owner: Owner, agent_id: AgentId = None, grouped: bool = False) -> list[ToolShown] | Grouped:
    """The tools that can be used; `grouped`: by category."""
    tools = await _available(owner, agent_id)
    return _grouped(tools) if grouped else [_shown(each) for each in tools.values()]


@routes.get("/meta/categories")
async def list_tool_categories(owner: Owner) -> dict[str, CategoryCount]:
    """The categories of the tools, and how many tools each has."""
    categories = _grouped(await tools_for(owner.id)).categories
    return {name: CategoryCount(**dict(each.info), count=len(each.tools)) for name, each in categories.items()}


@routes.get("/meta/grouped")
async def list_tools_by_category(owner: Owner) -> Grouped:
    """All tools by category."""
    return _grouped(await tools_for(owner.id))


@routes.get("/{tool_name}")
async def get_tool(tool_name: str, owner: Owner, agent_id: AgentId = None) -> ToolShown:
    """One tool."""
    return _shown(_found(tool_name, await _available(owner, agent_id)))


@routes.get("/{tool_name}/source")
async def get_tool_source(tool_name: str, owner: Owner) -> ToolSource:
    """The program text of a tool: in Python, of a custom tool in JavaScript."""
    return ToolSource(name=tool_name, source=_found(tool_name, await tools_for(owner.id)).code)


@routes.post("/{tool_name}/execute")
async def execute_tool(tool_name: str, body: ToolArguments, owner: Owner) -> ToolAnswer:
    """Use a tool, under the same rules as a model does. Its own failure is an answer with `isError`."""
    _found(tool_name, await tools_for(owner.id))
    result = await use_tool(_context(owner), tool_name, body.arguments)
    return ToolAnswer(tool=tool_name, result=result.content, is_error=result.is_error, duration=result.duration)


@routes.post("/{tool_name}/stream", response_class=StreamingResponse)
async def stream_tool(tool_name: str, body: ToolArguments, owner: Owner) -> StreamingResponse:
    """Use a tool, and hear of it as server-sent events: `start`; then `result`, or `error`; then `complete`."""
    _found(tool_name, await tools_for(owner.id))

    async def frames() -> AsyncIterator[bytes]:
        yield frame("start", {"tool": tool_name, "arguments": body.arguments, "timestamp": iso(datetime.now(UTC))})
        result = await use_tool(_context(owner), tool_name, body.arguments)
        if result.is_error:
            yield frame("error", {"success": False, "error": result.content, "duration": result.duration})
        else:
            shown = {"success": True, "result": result.content, "isError": False, "duration": result.duration}
            yield frame("result", shown)
        yield frame("complete", {"duration": result.duration, "timestamp": iso(datetime.now(UTC))})

    return event_stream(frames())


@routes.post("/batch", response_model_exclude_none=True)
async def execute_tools(body: Batch, owner: Owner) -> BatchAnswer:
    """Use several tools at once, or with `"parallel": false` one after the other. A failure does not stop the others.

    A call that would begin more than 200 seconds after the request fails.
    """
    started = time.monotonic()

    async def one(item: BatchItem) -> BatchRow:
        if time.monotonic() - started > BATCH_SECONDS:
            result = ToolResult(f"Not begun: the calls before took {BATCH_SECONDS} seconds.", is_error=True)
        else:
            result = await use_tool(_context(owner), item.tool, item.arguments)
        text = {"error" if result.is_error else "result": result.content}
        return BatchRow(
            tool=item.tool, success=not result.is_error, is_error=result.is_error, duration=result.duration, **text
        )

    if body.parallel:
        rows = [*await asyncio.gather(*map(one, body.executions))]
    else:
        rows = [await one(each) for each in body.executions]
    good = sum(row.success for row in rows)
    total = round((time.monotonic() - started) * 1000, 2)
    return BatchAnswer(results=rows, total_duration=total, success_count=good, failure_count=len(rows) - good)


async def _available(owner: Person, agent_id: str | None) -> Mapping[str, Tool]:
    """Return the tools of an agent; all without an agent, or for one that names none. `NotFound`."""
    if not agent_id:
        return await tools_for(owner.id)
    agent = await agent_of(owner.id, agent_id)
    return await tools_for(owner.id, await names_for(owner.id, agent) if agent.has_own_tools else None)


def _found(name: str, tools: Mapping[str, Tool]) -> Tool:
    """Return a tool; those about tools can be used too, though no list shows them. `NotFound` names similar ones."""
    found = tools.get(name) or TOOLS.get(name)
    if found is None:
        raise NotFound(unknown(name, tools))
    return found


def _context(owner: Person) -> ToolContext:
    return ToolContext(owner.id, correlation_id=owner.request_id)


def _shown(each: Tool) -> ToolShown:
    source = CATEGORIES[each.category].source if each.category in CATEGORIES else "core"
    return ToolShown(
        name=each.name, description=each.description, parameters=each.parameters, category=each.category, source=source
    )


def _grouped(tools: Mapping[str, Tool]) -> Grouped:
    """Return tools by category; categories without tools are left out."""
    groups = {
        name: CategoryTools(
            info=CategoryInfo(icon=about.icon, description=about.description),
            tools=[_shown(each) for each in tools.values() if each.category == name],
        )
        for name, about in CATEGORIES.items()
    }
    groups = {name: each for name, each in groups.items() if each.tools}
    return Grouped(categories=groups, total_tools=len(tools), total_categories=len(groups))
