"""Tools on the calendar."""

from typing import Annotated, Any

from pydantic import Field

from functions.ownpilot import calendar as room
from functions.ownpilot.core.entry import Given, Moment
from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools.records import MAX_BATCH, MOST, Limit, Search, When, create_all, listed, members, shown
from functions.ownpilot.tools.registry import tool

_NAMES = {"is_all_day": "all_day", "reminder": "reminder_minutes"}


class NewEvent(Given):
    """An event to add."""

    title: str
    start_time: Annotated[Moment, Field(description="A date, or a time in ISO 8601 such as 2026-01-31T09:00:00Z")]
    end_time: When = None
    is_all_day: bool | None = None
    location: str | None = None
    description: str | None = None
    category: str | None = None
    reminder: Annotated[int | None, Field(description="Minutes before the start")] = None


def _values(given: NewEvent) -> dict[str, Any]:
    return {_NAMES.get(name, name): value for name, value in members(given).items()}


@tool(category="calendar", tags=("event", "appointment", "meeting", "create"))
async def add_calendar_event(context: ToolContext, given: NewEvent) -> Any:
    """Put an event into the calendar."""
    event = await room.calendar.create(context.owner, _values(given))
    return {"event": shown(room.calendar.shapes.shown, event)}


@tool(category="calendar", tags=("event", "appointment", "meeting", "find"), camel=True)
async def list_calendar_events(
    context: ToolContext,
    start_after: When = None,
    start_before: When = None,
    category: str | None = None,
    search: Search = None,
    limit: Limit = MOST,
) -> Any:
    """List events by their start, the earliest first; past ones too, unless startAfter leaves them out."""
    between = (start_after, start_before) if start_after or start_before else None
    return await listed(
        room.calendar, context.owner, "events", {"category": category}, between=between, text=search, limit=limit
    )


@tool(category="calendar", tags=("event", "appointment", "cancel", "remove"), camel=True)
async def delete_calendar_event(context: ToolContext, event_id: str) -> str:
    """Delete an event."""
    await room.calendar.delete(context.owner, event_id)
    return "The event was deleted."


@tool(category="calendar", tags=("event", "several", "create"))
async def batch_add_calendar_events(
    context: ToolContext, events: Annotated[list[NewEvent], Field(min_length=1, max_length=MAX_BATCH)]
) -> Any:
    """Put several events into the calendar at once."""
    return await create_all(room.calendar, context.owner, "events", [_values(each) for each in events])
