"""The tools of the plugin that keeps reminders."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from functions.ownpilot.core.entry import Moment, iso
from functions.ownpilot.core.plugin_state import PluginItem, plugin_items
from functions.ownpilot.core.tool_context import ToolContext, ToolError
from functions.ownpilot.tools.plugin_tool import plugin_tool
from functions.ownpilot.tools.records import present
from shared.tables import RecordNotFound

PLUGIN = "reminder"
MAX_REMINDERS = 1000
"""Reminders of one person. One more takes the place of the one that has been due for the longest time."""

_SHOWN = 25
_LINE = Annotated[str, Field(min_length=1, max_length=500)]


@plugin_tool(PLUGIN, tags=("remember", "alarm", "later"))
async def reminder_create(
    context: ToolContext,
    title: _LINE,
    time: Annotated[Moment, Field(description="When, in ISO 8601, such as 2026-01-31T09:00:00Z")],
    note: Annotated[str | None, Field(max_length=10_000)] = None,
) -> dict[str, Any]:
    """Keep a reminder for a time. Nothing rings then: reminder_list tells which reminders are due."""
    own = plugin_items.of(context.owner)
    if await own.count({"plugin": PLUGIN}) >= MAX_REMINDERS:
        await _make_room(context.owner)
    made = PluginItem(user_id=context.owner, plugin=PLUGIN, content=title, note=note, due_at=time)
    return {"reminder": _shown(await own.insert(made))}


@plugin_tool(PLUGIN, tags=("remember", "due"))
async def reminder_list(context: ToolContext) -> dict[str, Any]:
    """List the user's reminders: those that are due, the latest one first, and those to come, the next one first; 25 of
    each at most."""
    due, coming = await _reminders(context.owner)
    return {
        "due": [*map(_shown, reversed(due[-_SHOWN:]))], "coming": [*map(_shown, coming[:_SHOWN])],
        "total": len(due) + len(coming),
    }  # fmt: skip


async def _reminders(owner: str) -> tuple[list[PluginItem], list[PluginItem]]:
    """Return the reminders that are due, and those to come, both by time."""
    now, due, coming = datetime.now(UTC), list[PluginItem](), list[PluginItem]()
    async for each in plugin_items.of(owner).all({"plugin": PLUGIN}):
        (due if each.due_at is not None and each.due_at <= now else coming).append(each)
    for found in (due, coming):
        found.sort(key=lambda each: each.due_at or now)
    return due, coming


async def _make_room(owner: str) -> None:
    """Delete the reminder that has been due for the longest time. `ToolError` when none is due."""
    due, coming = await _reminders(owner)
    if not due:
        raise ToolError(f"There are {len(coming)} reminders already, and none of them is due.")
    with suppress(RecordNotFound):  # deleted by another call
        await plugin_items.of(owner).delete(due[0].id)


def _shown(each: PluginItem) -> dict[str, Any]:
    return present(id=each.id, title=each.content, note=each.note, time=each.due_at and iso(each.due_at))
