"""How many personal things there are, in numbers."""

import asyncio
from datetime import UTC, date, datetime

from functions.ownpilot.bookmarks import bookmarks
from functions.ownpilot.calendar import calendar
from functions.ownpilot.contacts import contacts
from functions.ownpilot.core.entry import Shown, days
from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.notes import notes
from functions.ownpilot.tasks import OPEN, tasks

routes = routes_for("summary")

WEEK = 7
MONTH = 30


class TaskNumbers(Shown):
    """`pending` are those that are still open."""

    total: int
    pending: int
    overdue: int
    due_today: int


class BookmarkNumbers(Shown):
    """All, and favourites."""

    total: int
    favorites: int


class NoteNumbers(Shown):
    """All, archived ones included, and those that are pinned."""

    total: int
    pinned: int


class CalendarNumbers(Shown):
    """All, and those that start today or in the next 7 days."""

    total: int
    today: int
    upcoming: int


class ContactNumbers(Shown):
    """All, favourites, and those who have their birthday in the next 30 days."""

    total: int
    favorites: int
    upcoming_birthdays: int


class Summary(Shown):
    """Numbers of all personal things."""

    tasks: TaskNumbers
    bookmarks: BookmarkNumbers
    notes: NoteNumbers
    calendar: CalendarNumbers
    contacts: ContactNumbers


@routes.get("")
async def get_summary(owner: Owner) -> Summary:
    """Count tasks, bookmarks, notes, events and contacts.

    Each number is a query for each 1,000 records; all of them run side by side.
    """
    tasks_, marks = tasks.collection.of(owner.id), bookmarks.collection.of(owner.id)
    notes_, events = notes.collection.of(owner.id), calendar.collection.of(owner.id)
    people = contacts.collection.of(owner.id)
    still_open, today = {"status": OPEN}, days()
    n = await asyncio.gather(
        tasks_.count(), tasks_.count(still_open),
        tasks_.count(still_open, order="due_date", between=(None, today[0])),
        tasks_.count(still_open, order="due_date", between=today),
        marks.count(), marks.count({"is_favorite": True}),
        notes_.count(), notes_.count({"is_pinned": True}),
        events.count(), events.count(order="start_time", between=today),
        events.count(order="start_time", between=days(0, WEEK)),
        people.count(), people.count({"is_favorite": True}),
    )  # fmt: skip
    birthdays = [person.birthday async for person in people.all()]
    return Summary(
        tasks=TaskNumbers(total=n[0], pending=n[1], overdue=n[2], due_today=n[3]),
        bookmarks=BookmarkNumbers(total=n[4], favorites=n[5]),
        notes=NoteNumbers(total=n[6], pinned=n[7]),
        calendar=CalendarNumbers(total=n[8], today=n[9], upcoming=n[10]),
        contacts=ContactNumbers(
            total=n[11], favorites=n[12], upcoming_birthdays=sum(map(is_upcoming_birthday, filter(None, birthdays)))
        ),
    )


def is_upcoming_birthday(birthday: str) -> bool:
    """Whether a birthday, as a date or `--MM-DD`, is today or in the next 30 days; false for any other text."""
    today = datetime.now(UTC).date()
    try:
        month, day = map(int, birthday[:10].replace("--", "0000-", 1).split("-")[1:3])
        # A leap day's birthday counts on the first of March in other years.
        dates = [
            date(year, month, day) if (month, day) != (2, 29) else date(year, 3, 1)
            for year in (today.year, today.year + 1)
        ]
    except ValueError:
        return False
    return any(0 <= (each - today).days <= MONTH for each in dates)
