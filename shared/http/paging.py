"""Paging: which part of a list a request asks for, and the page that it gets."""

from collections.abc import Callable, Mapping, Sequence
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
    """Refuse `1_000`, ` 1`, `+1` and `-0`, which Python reads as numbers."""
    if isinstance(given, str) and not (given.isascii() and given.isdigit()):
        raise ValueError("must be a whole number that is not negative, in digits only")
    return given


Digits = BeforeValidator(_digits)
"""Annotation of a number in a query, which must be written in digits only."""

Limit = Annotated[
    int,
    Field(ge=1, description=f"At most {MAX_LIMIT}; a larger number counts as {MAX_LIMIT}"),
    Digits,
    AfterValidator(lambda n: min(n, MAX_LIMIT)),
]
"""How many items to return: less than 1 gets 400, more than `MAX_LIMIT` counts as `MAX_LIMIT`."""

Offset = Annotated[int, Field(ge=0), Digits, AfterValidator(lambda n: min(n, MAX_OFFSET))]
"""How many items to skip."""

Cursor = Annotated[
    str | None,
    Field(description="From the Link header of the previous page; `offset` is then ignored"),
]
"""A position in a list that stays valid when records are added before it."""


@dataclass(frozen=True)
class Paging:
    """Which part of a list a request asks for: `limit` items from `offset` on, or after `cursor`, in `order`."""

    limit: int
    offset: int
    cursor: str | None
    order: str
    descending: bool
    request: Request
    response: Response

    async def page(
        self,
        collection: Collection[R],
        where: Mapping[str, object] | None = None,
        check: Callable[[Sequence[R]], None] | None = None,
    ) -> Page[R]:
        """Return that part of the records that match `where`, and set the `Link` header to the next part.

        `check` may refuse the items before their long texts are read.
        """
        page = await collection.page(
            where,
            limit=self.limit,
            offset=self.offset,
            order=self.order,
            descending=self.descending,
            cursor=self.cursor,
            check=check,
        )
        self.link(page)
        return page

    def link(self, page: Page[Any]) -> None:
        """Set the response's `Link` header to the page after this one, with the same filters and order."""
        if page.cursor:
            url = self.request.url.remove_query_params(["offset", "api_key"]).include_query_params(cursor=page.cursor)
            self.response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'


def paging(limit: int = 50, *, orders: Sequence[str] = ()) -> Any:
    """Return the dependency of a list: `Annotated[Paging, paging(100)]`.

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
    """Return a filter by the fields that are not None: absent query parameters are None."""
    return {name: value for name, value in fields.items() if value is not None}
