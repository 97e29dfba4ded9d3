"""Custom tools: made by the person or by the assistant, approved, switched on and off, tried out and run."""

from typing import Annotated, Any

from fastapi import Response

from functions.ownpilot.core.audit_log import record_change
from functions.ownpilot.core.custom_tool_store import (
    MAX_PERSON,
    CustomTool,
    ToolStatus,
    custom_tools,
    forget_active,
)
from functions.ownpilot.core.owner import Owner, Person, routes_for
from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.custom_tools.bodies import (
    Definition,
    Definitions,
    ToolRunAnswer,
    ToolState,
    ToolStats,
    Trial,
    TrialAnswer,
)
from functions.ownpilot.custom_tools.services import release_services, require_services
from functions.ownpilot.tools.bodies import ToolArguments
from functions.ownpilot.tools.custom import UsableTool
from functions.ownpilot.tools.meta import TOOLS as META_TOOLS
from functions.ownpilot.tools.registry import built_in
from functions.ownpilot.tools.use import try_tool, use_tool
from shared import tables
from shared.http.conditions import IfMatch, show_version
from shared.http.errors import BadRequest, Conflict
from shared.http.paging import Paging, paging
from shared.http.resource import resource
from shared.http.shapes import Answers, Deleted

ACTIVE, DISABLED, PENDING, REJECTED = ToolStatus.ACTIVE, ToolStatus.DISABLED, ToolStatus.PENDING, ToolStatus.REJECTED

tools = resource(
    routes_for("custom-tools"), custom_tools, Owner, required=("name", "description", "code"),
    readonly=("status", "version", "usage_count", "last_used_at"), order=("-created_at",),
    filters={"status": "status", "category": "category", "createdBy": "created_by"},
    answers=Answers(items="tools", count="count", leave_out=True), only=("list", "get"),
)  # fmt: skip
routes = tools.routes
NewTool = tools.shapes.new
ToolPatch = tools.shapes.patch
ToolShown = tools.shapes.shown


@routes.get("/stats")
async def get_custom_tool_stats(owner: Owner) -> ToolStats:
    """The tools in numbers."""
    found = [each async for each in custom_tools.of(owner.id).all()]
    count = {status: sum(each.status is status for each in found) for status in ToolStatus}
    by_model = sum(each.created_by == "llm" for each in found)
    return ToolStats(
        total=len(found), active=count[ACTIVE], disabled=count[DISABLED], pending_approval=count[PENDING],
        rejected=count[REJECTED], created_by_llm=by_model, created_by_user=len(found) - by_model,
        total_usage=sum(each.usage_count for each in found),
    )  # fmt: skip


@routes.get("/pending", response_model=tools.shapes.page, response_model_exclude_none=True)
async def list_pending_custom_tools(owner: Owner, paging: Annotated[Paging, paging(50)]) -> Any:
    """The tools that wait for approval, the newest first."""
    where = {"status": PENDING}
    page = await tools.list(owner.id, where, limit=paging.limit, offset=paging.offset, cursor=paging.cursor)
    paging.link(page)
    return {"tools": page.items, "count": page.total}


@routes.get("/active/definitions", response_model_exclude_none=True)
async def list_custom_tool_definitions(owner: Owner) -> Definitions:
    """The active tools as a model is told of them."""
    found = [each async for each in custom_tools.of(owner.id).scan({"status": ACTIVE})]
    shown = [
        Definition(
            name=each.name, description=each.description, parameters=each.parameters, category=each.category,
            requires_approval=bool(each.requires_approval),
        )
        for each in found
    ]  # fmt: skip
    return Definitions(tools=shown, count=len(shown))


@routes.post("", status_code=201, response_model=ToolShown, response_model_exclude_none=True)
async def create_custom_tool(body: NewTool, owner: Owner, response: Response) -> CustomTool:
    """Make a tool. That of a model waits for approval, unless it needs none and asks for nothing dangerous."""
    tool: CustomTool = tools.make(owner.id, body)
    tool.settle()
    tool.status = PENDING if tool.must_wait else ACTIVE
    _check_name(tool.name)
    kept = await tools.admit(owner.id)
    if kept.records >= MAX_PERSON:
        raise BadRequest(f"There are {kept.records} custom tools already: delete some first", code="LIMIT_REACHED")
    try:
        tool = await custom_tools.of(owner.id).insert(tool)
    except tables.RecordConflict:
        raise _taken(tool.name) from None
    try:
        await require_services(tool)
    except BaseException:  # else a repeat would find the name taken
        await custom_tools.of(owner.id).delete(tool.id)
        raise
    kept.records += 1
    await _note(owner, tool.id, "create")
    show_version(response, tool)
    return tool


@routes.patch("/{custom_tool_id}", response_model=ToolShown, response_model_exclude_none=True)
async def update_custom_tool(
    custom_tool_id: str, body: ToolPatch, owner: Owner, if_match: IfMatch, response: Response
) -> CustomTool:
    """Change the given members of a tool; who has made it stays. A model's tool may have to be approved again.

    Other code or parameters make another version.
    """
    if "name" in body.model_fields_set:
        _check_name(body.name)
    before: list[CustomTool] = []

    def change(tool: CustomTool) -> None:
        before[:] = [tool.model_copy()]
        for name in body.model_fields_set - {"created_by"}:
            setattr(tool, name, getattr(body, name))
        tool.settle()
        tools.check_size(tool)
        is_new = (tool.code, tool.parameters) != (before[0].code, before[0].parameters)
        tool.version += is_new
        if tool.must_wait and (is_new or not {*tool.permissions} <= {*before[0].permissions}):
            tool.status = PENDING

    try:
        tool = await custom_tools.of(owner.id).update(custom_tool_id, change, if_match=if_match)
    except tables.RecordChanged:  # another version than the caller has read
        raise
    except tables.RecordConflict:
        raise _taken(body.name) from None
    if not {"name", "required_api_keys"}.isdisjoint(body.model_fields_set):
        await release_services(before[0])
        await require_services(tool)
    await _note(owner, tool.id, "update")
    show_version(response, tool)
    return tool


@routes.delete("/{custom_tool_id}")
async def delete_custom_tool(custom_tool_id: str, owner: Owner) -> Deleted:
    """Delete a tool. The services that it has listed stay, with what is configured."""
    tool = await tools.get(owner.id, custom_tool_id)
    await release_services(tool)
    await tools.delete(owner.id, custom_tool_id)
    await _note(owner, tool.id, "delete")
    return Deleted()


@routes.post("/{custom_tool_id}/enable")
async def enable_custom_tool(custom_tool_id: str, owner: Owner) -> ToolState:
    """Let a disabled tool be used again."""
    return await _move(owner, custom_tool_id, (ACTIVE, DISABLED), ACTIVE, "enable")


@routes.post("/{custom_tool_id}/disable")
async def disable_custom_tool(custom_tool_id: str, owner: Owner) -> ToolState:
    """Let a tool be used no more until it is enabled."""
    return await _move(owner, custom_tool_id, (ACTIVE, DISABLED), DISABLED, "disable")


@routes.post("/{custom_tool_id}/approve")
async def approve_custom_tool(custom_tool_id: str, owner: Owner) -> ToolState:
    """Let a tool be used that waits for approval."""
    return await _move(owner, custom_tool_id, (PENDING,), ACTIVE, "approve")


@routes.post("/{custom_tool_id}/reject")
async def reject_custom_tool(custom_tool_id: str, owner: Owner) -> ToolState:
    """Refuse a tool that waits for approval."""
    return await _move(owner, custom_tool_id, (PENDING,), REJECTED, "reject")


@routes.post("/{custom_tool_id}/execute")
async def execute_custom_tool(custom_tool_id: str, body: ToolArguments, owner: Owner) -> ToolRunAnswer:
    """Run a tool, under the same rules as a model does. Its own failure is an answer with `isError`."""
    tool = await tools.get(owner.id, custom_tool_id)
    if tool.status is not ACTIVE:
        raise BadRequest(f"The tool {tool.name} cannot be used: its status is {tool.status}")
    result = await use_tool(_context(owner), tool.name, body.arguments, UsableTool(tool))
    return ToolRunAnswer(
        tool=tool.name, result=result.content, is_error=result.is_error, duration=result.duration,
        metadata=result.metadata,
    )  # fmt: skip


@routes.post("/test")
async def test_custom_tool(body: Trial, owner: Owner) -> TrialAnswer:
    """Run a tool that is not stored; nothing is stored of the run either, but what other tools do that it uses."""
    tool = body.tool(owner.id)
    result = await try_tool(_context(owner), UsableTool(tool, is_kept=False), body.arguments)
    return TrialAnswer(
        tool=tool.name, result=result.content, is_error=result.is_error, duration=result.duration,
        metadata=result.metadata,
    )  # fmt: skip


def _context(owner: Person) -> ToolContext:
    return ToolContext(owner.id, correlation_id=owner.request_id)


def _check_name(name: str) -> None:
    """`Conflict` for the name of a tool that everybody has."""
    if name in built_in() or name in META_TOOLS:
        raise _taken(name)


def _taken(name: str) -> Conflict:
    return Conflict(f"There is a tool named {name} already")


async def _note(owner: Person, tool_id: str, action: str) -> None:
    """Let a change be seen at once by this instance, and write it into the audit log."""
    forget_active(owner.id)
    await record_change(owner, "custom_tool", tool_id, action)


async def _move(
    owner: Person, tool_id: str, allowed: tuple[ToolStatus, ...], status: ToolStatus, action: str
) -> ToolState:
    """Change the status of a tool. `BadRequest` when its status is none of the allowed ones."""

    def change(tool: CustomTool) -> None:
        if tool.status not in allowed:
            raise BadRequest(f"{action}: the status of the tool {tool.name} is {tool.status}")
        tool.status = status

    tool = await custom_tools.of(owner.id).update(tool_id, change)
    await _note(owner, tool.id, action)
    return ToolState(id=tool.id, name=tool.name, status=tool.status)
