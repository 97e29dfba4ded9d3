"""Tools on bookmarks."""

from typing import Annotated, Any

from pydantic import Field

from functions.ownpilot import bookmarks as room
from functions.ownpilot.core.entry import Given
from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools.records import MAX_BATCH, Search, Tags, create_all, listed, members, present, shown
from functions.ownpilot.tools.registry import tool


class NewBookmark(Given):
    """A bookmark to add."""

    url: str
    title: Annotated[str | None, Field(description="By default the address itself")] = None
    description: str | None = None
    category: str | None = None
    tags: Tags = None
    is_favorite: bool | None = None


def _values(given: NewBookmark) -> dict[str, Any]:
    return {"title": given.url, **members(given)}


@tool(category="other", tags=("link", "url", "add"))
async def create_bookmark(
    context: ToolContext, url: str, title: str, description: str | None = None, tags: Tags = None
) -> Any:
    """Keep the address of a page as a bookmark."""
    values = present(url=url, title=title, description=description, tags=tags)
    return {"bookmark": shown(room.bookmarks.shapes.shown, await room.bookmarks.create(context.owner, values))}


@tool(category="bookmarks", tags=("link", "url", "find"))
async def list_bookmarks(context: ToolContext, tag: str | None = None, search: Search = None) -> Any:
    """List the user's bookmarks, favourites first and then the newest; 50 at most."""
    return await listed(room.bookmarks, context.owner, "bookmarks", {}, tag=tag, text=search)


@tool(category="bookmarks", tags=("link", "url", "create"))
async def add_bookmark(context: ToolContext, given: NewBookmark) -> Any:
    """Keep the address of a page as a bookmark."""
    bookmark = await room.bookmarks.create(context.owner, _values(given))
    return {"bookmark": shown(room.bookmarks.shapes.shown, bookmark)}


@tool(category="bookmarks", tags=("link", "url", "remove"), camel=True)
async def delete_bookmark(context: ToolContext, bookmark_id: str) -> str:
    """Delete a bookmark."""
    await room.bookmarks.delete(context.owner, bookmark_id)
    return "The bookmark was deleted."


@tool(category="bookmarks", tags=("link", "url", "several", "create"))
async def batch_add_bookmarks(
    context: ToolContext, bookmarks: Annotated[list[NewBookmark], Field(min_length=1, max_length=MAX_BATCH)]
) -> Any:
    """Keep several addresses as bookmarks at once."""
    return await create_all(room.bookmarks, context.owner, "bookmarks", [_values(each) for each in bookmarks])
