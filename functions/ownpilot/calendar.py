"""The calendar: what takes place, and when."""

from typing import Annotated, Any

from pydantic import Field

from functions.ownpilot.core.entry import PERSONAL, Entry, Moment
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.bodies import example
from shared.http.errors import InvalidRequest
from shared.http.resource import resource
from shared.tables import Collection


class CalendarEvent(Entry):
    """Something that takes place; `timezone` is for its display, as all times are kept in UTC."""

    model_config = example(title="Dentist", startTime="2030-03-01T09:00:00.000Z", location="Main Street 1")

    title: str
    description: str | None = None
    location: str | None = None
    start_time: Moment
    end_time: Moment | None = None
    all_day: bool = False
    timezone: str = "UTC"
    recurrence: str | None = None
    reminder_minutes: Annotated[int | None, Field(ge=-(2**31), lt=2**31)] = None
    category: str | None = None
    tags: list[str] = []
    color: str | None = None
    external_id: str | None = None
    external_source: str | None = None
    attendees: list[Any] = []

    def settle(self) -> None:
        """Refuse an end before the start."""
        if self.end_time is not None and self.end_time < self.start_time:
            raise InvalidRequest("endTime: must not be before startTime")


calendar = resource(
    routes_for("calendar"), Collection("OwnpilotEvents", CalendarEvent, plain=True), Owner,
    required=("title", "start_time"), filters=("category",), between=("startAfter", "startBefore"),
    search=("title", "description", "location", "category", "tags"), order=("start_time",),
    settle=CalendarEvent.settle, answers=PERSONAL, put=True,
)  # fmt: skip
routes = calendar.routes
