"""Days as they are kept and asked for: texts such as `2026-01-31`, which sort as the days do. Days are those of UTC."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, Query
from pydantic import BeforeValidator, WithJsonSchema

from functions.ownpilot.core.entry import moment
from shared.http.errors import InvalidRequest
from shared.tables.ranges import Between


def day_of(given: Any) -> str:
    """Return the day of a date, or of a time in ISO 8601. ValueError."""
    return moment(given).date().isoformat()


Day = Annotated[str, BeforeValidator(day_of), WithJsonSchema({"type": "string", "format": "date"})]
"""A day on the wire and in tables."""


def today() -> date:
    """Return the present day."""
    return datetime.now(UTC).date()


class Span(NamedTuple):
    """The days from the first to the last, both included; None leaves a side open."""

    first: str | None
    last: str | None

    @property
    def between(self) -> Between:
        """The range of texts: `~` sorts behind everything that follows a day, so the last day is inside."""
        return self.first, self.last and f"{self.last}~"


_Asked = Annotated[Day | None, BeforeValidator(lambda given: given or None)]


async def asked_span(
    start: Annotated[_Asked, Query(alias="startDate", description="The first day")] = None,
    end: Annotated[_Asked, Query(alias="endDate", description="The last day")] = None,
) -> Span:
    """Return the days that a request asks for. `InvalidRequest` when the first is after the last."""
    if start and end and start > end:
        raise InvalidRequest("startDate: must not be after endDate")
    return Span(start, end)


AskedSpan = Annotated[Span, Depends(asked_span)]
"""Parameter type of the days from `startDate` to `endDate`."""
