"""Paging: what part of a list a request asks for, and the page that answers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Depends, Request, Response
from pydantic import AfterValidator, BeforeValidator, Field

from shared.tables import Collection, Page, Record

MAX_LIMIT = 1000
MAX_OFFSET = 1_000_000_000

R = TypeVar("R", bound=Record)
SortOrder = Literal["asc", "desc"]


def _digits(given: object) -> object:
    """Python reads `1_000` and ` 1` as numbers; a query must be plain digits."""
    if isinstance(given, str) and not given.removeprefix("-").isdigit():
        raise ValueError("must be a whole number")
    return given


Limit = Annotated[
    int,
    BeforeValidator(_digits),
    Field(ge=1, description=f"At most {MAX_LIMIT}; more is cut"),
    AfterValidator(lambda n: min(n, MAX_LIMIT)),
]
"""How many items of a list; below 1 is refused, above `MAX_LIMIT` is cut."""

Offset = Annotated[int, BeforeValidator(_digits), Field(ge=0), AfterValidator(lambda n: min(n, MAX_OFFSET))]
"""How many items to pass over."""

Cursor = Annotated[
    str | None,
    Field(description="Where the page before this one ended, from its Link header; `offset` is ignored with it"),
]
"""A place in a list, which stays the same whatever is added before it."""


@dataclass(frozen=True)
class Paging:
    """What part of a list a request asks for: `limit` items from `offset` on, or behind `cursor`, in `order`."""

    limit: int
    offset: int
    cursor: str | None
    order: str
    descending: bool
    request: Request
    response: Response

    async def page(self, collection: Collection[R], where: Mapping[str, object] | None = None) -> Page[R]:
        """That part of the records that match `where`, linked to the next one."""
        page = await collection.page(
            where,
            limit=self.limit,
            offset=self.offset,
            order=self.order,
            descending=self.descending,
            cursor=self.cursor,
        )
        self.link(page)
        return page

    def link(self, page: Page[Any]) -> None:
        """Let the response's `Link` header lead to the page behind this one, with the same filters and order."""
        if page.cursor:
            url = self.request.url.remove_query_params(["offset", "api_key"]).include_query_params(cursor=page.cursor)
            self.response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'


def paging(limit: int = 50, *, orders: Sequence[str] = ()) -> Any:
    """The dependency for a list: `Annotated[Paging, paging(100)]`.

    `limit` is the default; `orders` are the fields that `sort_by` may name, the default first. Without them a list has
    one order, the newest first.
    """

    async def newest_first(
        request: Request, response: Response, limit: Limit = limit, offset: Offset = 0, cursor: Cursor = None
    ) -> Paging:
        return Paging(limit, offset, cursor, "created_at", True, request, response)

    if not orders:
        return Depends(newest_first)

    async def sorted_by(
        request: Request,
        response: Response,
        limit: Limit = limit,
        offset: Offset = 0,
        cursor: Cursor = None,
        sort_by: str = orders[0],
        sort_order: SortOrder = "desc",
    ) -> Paging:
        return Paging(limit, offset, cursor, sort_by, sort_order == "desc", request, response)

    sorted_by.__annotations__["sort_by"] = Literal[tuple(orders)]
    return Depends(sorted_by)


def given(**fields: object) -> dict[str, object]:
    """A filter by those fields that a request names: absent query parameters are None."""
    return {name: value for name, value in fields.items() if value is not None}
