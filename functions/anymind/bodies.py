"""What the bodies and lists of this API share: names, moments without a zone, lists by `skip` and `limit`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, TypeVar

from fastapi import Depends
from pydantic import AfterValidator, Field, PlainSerializer

from shared.http.json import Text, not_blank
from shared.http.paging import MAX_LIMIT, Digits, Offset
from shared.tables import Collection, Record

R = TypeVar("R", bound=Record)


Name = Annotated[Text, Field(min_length=1, max_length=255), AfterValidator(not_blank)]
"""A name in a body: 1 to 255 characters, not only white space; it is stored as it is given."""


def without_zone(moment: datetime) -> str:
    """Return a moment in UTC as `2024-01-01T00:00:00.000000`: no zone, and always six digits of a second."""
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds")


Moment = Annotated[datetime, PlainSerializer(without_zone)]
"""A moment (UTC) in a response."""

_Limit = Annotated[
    int,
    Field(ge=0, description=f"At most {MAX_LIMIT}; a larger number counts as {MAX_LIMIT}"),
    Digits,
    AfterValidator(lambda n: min(n, MAX_LIMIT)),
]


@dataclass(frozen=True)
class SkipLimit:
    """The part of a list that a request asks for: `limit` records after the first `skip`, by id from the lowest on."""

    skip: int
    limit: int

    async def of(
        self,
        collection: Collection[R],
        where: Mapping[str, object],
        check: Callable[[Sequence[R]], None] | None = None,
    ) -> list[R]:
        """Return that part of the records that match `where`; `check` may refuse it before its long texts are read."""
        if not self.limit:
            return []
        page = await collection.page(
            where, order="id", descending=False, limit=self.limit, offset=self.skip, total=False, check=check
        )
        return page.items


async def _part(skip: Offset = 0, limit: _Limit = 100) -> SkipLimit:
    return SkipLimit(skip, limit)


ListPart = Annotated[SkipLimit, Depends(_part)]
"""Parameter type of a list's route: the query parameters `skip` and `limit`."""
