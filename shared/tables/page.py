"""What a list is asked for and what it returns: filter, order, cursor, page."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypedDict, cast

from shared.tables.columns import R
from shared.tables.errors import BadCursor
from shared.tables.ranges import Between

Filter = Mapping[str, object]
"""Fields with the value that a record must have, or with a list of values of which it must have one."""

Check = Callable[[Sequence[Any]], None]
"""Is given the items of a page before their long texts are read; what it raises passes through."""

Order = str | Sequence[str]
"""A field to sort by, or several; `-` before a field's name sorts it from high to low."""

_CURSOR = re.compile(r"(\d{1,3})\.([0-9a-h~]{32,300})|p(\d{1,9})")


@dataclass(frozen=True)
class PageWithoutTotal(Generic[R]):
    """A part of a list: `cursor` leads to the next part, None at the end.

    The items come from the list view: fields that it leaves out have their defaults (None when they have no default).
    """

    items: list[R]
    cursor: str | None = None


@dataclass(frozen=True)
class Page(PageWithoutTotal[R]):
    """A part of a list, with the exact `total` of the whole list."""

    total: int = field(kw_only=True)


class PageOptions(TypedDict, total=False):
    """The part of a list that is asked for, as `Collection.page` documents it. Without it: the newest 50."""

    limit: int
    offset: int
    order: Order
    descending: bool
    cursor: str | None
    check: Check | None


@dataclass(frozen=True)
class Asked:
    """All that a list is asked for."""

    where: Filter | None = None
    between: Between | None = None
    total: bool = True
    limit: int = 50
    offset: int = 0
    order: Order = "created_at"
    descending: bool = True
    cursor: str | None = None
    check: Check | None = None


class Place(NamedTuple):
    """A place in a list: in its `group`, behind the key that ends with `start`, or `offset` rows from its beginning."""

    group: int = 0
    start: str = ""
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.group}.{self.start}" if self.start else f"p{self.offset}"

    @classmethod
    def parse(cls, cursor: str) -> "Place":
        """The place that a cursor names; `BadCursor` when it is malformed."""
        if match := _CURSOR.fullmatch(cursor):
            return cls(offset=int(match[3])) if match[3] else cls(int(match[1]), match[2])
        raise BadCursor(f"{cursor!r} is not a cursor")

    @classmethod
    def offset_of(cls, cursor: str) -> int:
        """The offset that a cursor names, in a list that is read from its beginning; `BadCursor` for any other one."""
        place = cls.parse(cursor)
        if place.start:
            raise BadCursor(f"{cursor!r} is a cursor of another list")
        return place.offset


def directions(order: Order, descending: bool) -> list[tuple[str, bool]]:
    """Each field to sort by and whether from high to low, which `descending` says where the order does not."""
    if isinstance(order, str) and not order.startswith("-"):
        return [(order, descending)]
    names = [order] if isinstance(order, str) else order or ["-created_at"]
    return [(name.removeprefix("-"), name.startswith("-")) for name in names]


def values_of(where: Filter | None) -> dict[str, list[object]]:
    """Each field of a filter with the values that it may have, each of them once."""
    return {
        name: [*dict.fromkeys(cast("list[object]", value))] if isinstance(value, list | set | tuple) else [value]
        for name, value in (where or {}).items()
    }
