"""A custom tool at work: what it is given, where it runs, what its user gets."""

import asyncio
import contextlib
import itertools
import json
import time
import uuid
from typing import Any

from functions.ownpilot.core.custom_tool_store import OUTSIDE, CustomTool, custom_tools
from functions.ownpilot.core.tool_context import ToolContext, ToolResult
from functions.ownpilot.custom_tools.container import run_in_container
from functions.ownpilot.custom_tools.quickjs import run_in_quickjs
from functions.ownpilot.custom_tools.services import services_for
from functions.ownpilot.custom_tools.work import ToolOutcome, Work, use_other
from functions.ownpilot.tools.registry import tools_for
from shared import tables
from shared.settings import settings

HIDDEN = "****"


async def run_tool(tool: CustomTool, context: ToolContext, args: dict[str, Any], *, is_kept: bool) -> ToolResult:
    """Run a tool with checked arguments; `is_kept`: count its use."""
    started = time.monotonic()
    services, secrets = await services_for(tool, context.owner)
    work = Work(
        tool.code, args, {
            "toolName": tool.name, "callId": str(uuid.uuid4()), "conversationId": context.session,
            "userId": context.owner,
        }, services, await _tools_for(tool, context),
    )  # fmt: skip
    if is_kept:
        outcome, _ = await asyncio.gather(_run(tool, work, context), _count(tool))
    else:
        outcome = await _run(tool, work, context)
    spent = round((time.monotonic() - started) * 1000, 2)
    metadata: dict[str, Any] = {"dynamicTool": True, "executionTime": spent}
    if outcome.console:
        metadata["console"] = [_masked(line, secrets) for line in outcome.console]
    return ToolResult(_masked(outcome.text, secrets), outcome.is_error, metadata)


async def _run(tool: CustomTool, work: Work, context: ToolContext) -> ToolOutcome:
    if settings().ownpilot_tools_in_container or not OUTSIDE.isdisjoint(tool.permissions):
        return await run_in_container(work, tool.permissions, context)
    numbers = itertools.count(1)
    return await run_in_quickjs(
        work, context.depth, lambda name, arguments: use_other(context, next(numbers), name, arguments)
    )


async def _count(tool: CustomTool) -> None:
    with contextlib.suppress(tables.RecordNotFound, tables.StorageUnavailable):  # the run matters more
        await custom_tools.of(tool.user_id).update(tool.id, CustomTool.count_use)


async def _tools_for(tool: CustomTool, context: ToolContext) -> list[dict[str, str]]:
    """Return the tools that it can use, for a tool that asks."""
    if "listTools" not in tool.code:
        return []
    found = (await tools_for(context.owner, context.allowed)).values()
    return [{"name": each.name, "description": each.description, "category": each.category} for each in found]


def _masked(text: str, secrets: list[str]) -> str:
    """Return a text without secrets, as they are or as they are written in JSON."""
    forms = {
        form for each in secrets for form in (each, json.dumps(each)[1:-1], json.dumps(each, ensure_ascii=False)[1:-1])
    }
    for form in sorted(forms, key=len, reverse=True):  # a secret may be a part of another one
        text = text.replace(form, HIDDEN)
    return text
