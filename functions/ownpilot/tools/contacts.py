"""Tools on contacts."""

from typing import Annotated, Any

from pydantic import Field

from functions.ownpilot import contacts as room
from functions.ownpilot.core.entry import Given
from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools.records import MAX_BATCH, MOST, Limit, Search, create_all, listed, members, shown
from functions.ownpilot.tools.registry import tool


class NewContact(Given):
    """A contact to add."""

    name: str
    email: str | None = None
    phone: str | None = None
    company: str | None = None
    job_title: str | None = None
    relationship: Annotated[str | None, Field(description="Such as friend, family, colleague")] = None
    birthday: Annotated[str | None, Field(description="A date, or --MM-DD without the year")] = None
    address: str | None = None
    notes: str | None = None
    is_favorite: bool | None = None


class ContactUpdate(Given):
    """What to change in a contact."""

    contact_id: str
    name: str | None = None
    email: str | None = None
    phone: str | None = None
    company: str | None = None
    notes: str | None = None


@tool(category="contacts", tags=("person", "people", "create"))
async def add_contact(context: ToolContext, given: NewContact) -> Any:
    """Add a person whom the user knows."""
    return {"contact": shown(room.contacts.shapes.shown, await room.contacts.create(context.owner, members(given)))}


@tool(category="contacts", tags=("person", "people", "find"))
async def list_contacts(
    context: ToolContext,
    relationship: str | None = None,
    company: str | None = None,
    favorite: bool | None = None,
    search: Search = None,
    limit: Limit = MOST,
) -> Any:
    """List the people whom the user knows, favourites first and then by name."""
    where = {"relationship": relationship, "company": company, "is_favorite": favorite}
    return await listed(room.contacts, context.owner, "contacts", where, text=search, limit=limit)


@tool(category="contacts", tags=("person", "change"))
async def update_contact(context: ToolContext, given: ContactUpdate) -> Any:
    """Change a contact: only what is given changes."""
    contact = await room.contacts.change(context.owner, given.contact_id, members(given, "contact_id"))
    return {"contact": shown(room.contacts.shapes.shown, contact)}


@tool(category="contacts", tags=("person", "remove"), camel=True)
async def delete_contact(context: ToolContext, contact_id: str) -> str:
    """Delete a contact."""
    await room.contacts.delete(context.owner, contact_id)
    return "The contact was deleted."


@tool(category="contacts", tags=("person", "several", "create"))
async def batch_add_contacts(
    context: ToolContext, contacts: Annotated[list[NewContact], Field(min_length=1, max_length=MAX_BATCH)]
) -> Any:
    """Add several people at once."""
    return await create_all(room.contacts, context.owner, "contacts", [members(each) for each in contacts])
