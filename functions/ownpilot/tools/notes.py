"""Tools on notes."""

from typing import Annotated, Any

from pydantic import Field

from functions.ownpilot import notes as room
from functions.ownpilot.core.entry import Given
from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools.records import (
    MAX_BATCH,
    MOST,
    Limit,
    Search,
    Tags,
    create_all,
    listed,
    members,
    present,
    shown,
)
from functions.ownpilot.tools.registry import tool


class NewNote(Given):
    """A note to add."""

    title: str
    content: str
    category: str | None = None
    tags: Tags = None
    is_pinned: bool | None = None


class NoteUpdate(Given):
    """What to change in a note."""

    note_id: str
    title: str | None = None
    content: str | None = None
    category: str | None = None


@tool(category="other", tags=("write", "add", "text"))
async def create_note(
    context: ToolContext, title: str, content: str, category: str | None = None, tags: Tags = None
) -> Any:
    """Keep a text as a note."""
    values = present(title=title, content=content, category=category, tags=tags)
    return {"note": shown(room.notes.shapes.shown, await room.notes.create(context.owner, values))}


@tool(category="other", tags=("find", "text"))
async def search_notes(context: ToolContext, query: str, category: str | None = None) -> Any:
    """Find notes by a text in their title, content, tags or category; 50 at most."""
    where = {"category": category, "is_archived": False}
    return await listed(room.notes, context.owner, "notes", where, text=query)


@tool(category="notes", tags=("write", "create", "text"))
async def add_note(context: ToolContext, given: NewNote) -> Any:
    """Keep a text as a note."""
    return {"note": shown(room.notes.shapes.shown, await room.notes.create(context.owner, members(given)))}


@tool(category="notes", tags=("find", "search", "text"))
async def list_notes(
    context: ToolContext,
    category: str | None = None,
    pinned: bool | None = None,
    search: Search = None,
    limit: Limit = MOST,
) -> Any:
    """List the user's notes, pinned ones first and then the newest; archived ones are left out."""
    where = {"category": category, "is_pinned": pinned, "is_archived": False}
    return await listed(room.notes, context.owner, "notes", where, text=search, limit=limit)


@tool(category="notes", tags=("change", "edit"))
async def update_note(context: ToolContext, given: NoteUpdate) -> Any:
    """Change a note: only what is given changes."""
    note = await room.notes.change(context.owner, given.note_id, members(given, "note_id"))
    return {"note": shown(room.notes.shapes.shown, note)}


@tool(category="notes", tags=("remove",), camel=True)
async def delete_note(context: ToolContext, note_id: str) -> str:
    """Delete a note."""
    await room.notes.delete(context.owner, note_id)
    return "The note was deleted."


@tool(category="notes", tags=("several", "create"))
async def batch_add_notes(
    context: ToolContext, notes: Annotated[list[NewNote], Field(min_length=1, max_length=MAX_BATCH)]
) -> Any:
    """Keep several texts as notes at once."""
    return await create_all(room.notes, context.owner, "notes", [members(each) for each in notes])
