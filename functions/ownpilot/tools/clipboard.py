"""The tools of the plugin that keeps texts for later."""

from contextlib import suppress
from typing import Annotated, Any

from pydantic import Field

from functions.ownpilot.core.entry import iso
from functions.ownpilot.core.plugin_state import PluginItem, plugin_items
from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools.parameters import Short
from functions.ownpilot.tools.plugin_tool import plugin_settings, plugin_tool, within
from functions.ownpilot.tools.records import Limit, Tags
from shared.tables import RecordNotFound

PLUGIN = "clipboard-manager"
_WHERE = {"plugin": PLUGIN}
_PREVIEW = 2000
"""Characters of each text in a list."""


@plugin_tool(PLUGIN, tags=("copy", "keep", "snippet"))
async def clipboard_save(
    context: ToolContext, content: Annotated[str, Field(min_length=1, max_length=100_000)], tags: Tags = None
) -> dict[str, Any]:
    """Keep a text for later. When there are too many, the oldest one goes."""
    own = plugin_items.of(context.owner)
    settings = await plugin_settings(context.owner, PLUGIN)
    saved = await own.insert(PluginItem(user_id=context.owner, plugin=PLUGIN, content=content, tags=tags or []))
    most = within(settings["keep"], 1, 1000)
    if await own.count(_WHERE) > most:
        for each in (await own.page(_WHERE, limit=1000, offset=most)).items:
            with suppress(RecordNotFound):  # deleted by another call
                await own.delete(each.id)
    return {"id": saved.id, "characters": len(content)}


@plugin_tool(PLUGIN, tags=("paste", "last", "snippets"))
async def clipboard_history(context: ToolContext, limit: Limit = 10) -> dict[str, Any]:
    """Show the texts that were kept last, the newest first; the beginning of a long one."""
    page = await plugin_items.of(context.owner).page(_WHERE, limit=limit)
    return {"items": [*map(_shown, page.items)], "total": page.total}


@plugin_tool(PLUGIN, tags=("paste", "find", "snippets"))
async def clipboard_search(context: ToolContext, query: Annotated[Short, Field(min_length=1)]) -> dict[str, Any]:
    """Find texts that were kept, by words in them or by their tags; the 20 newest ones."""
    page = await plugin_items.of(context.owner).search(query, ["content", "tags"], _WHERE, limit=20)
    return {"items": [_shown(each, query) for each in page.items], "total": page.total}


def _shown(item: PluginItem, query: str = "") -> dict[str, Any]:
    """Return an item with the beginning of its text, or the part of it that has what was looked for."""
    place = max(0, item.content.casefold().find(query.casefold()) - _PREVIEW // 2)
    cut = item.content[place : place + _PREVIEW]
    left = len(item.content) - len(cut)
    shown = {"id": item.id, "content": cut, "tags": item.tags, "saved": iso(item.created_at)}
    return shown | ({"charactersLeftOut": left} if left else {})
