"""Query parameters of lists, alike in the APIs that page by limit and offset, or from one page to the next."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from starlette.requests import Request
from starlette.responses import Response

from shared.tables import Page

MAX_LIMIT = 1000
MAX_OFFSET = 1_000_000_000

Limit = Annotated[
    int, Field(ge=1, description=f"At most {MAX_LIMIT}; more is cut"), AfterValidator(lambda n: min(n, MAX_LIMIT))
]
"""How many items of a list; below 1 is refused, above `MAX_LIMIT` is cut."""

Offset = Annotated[int, Field(ge=0), AfterValidator(lambda n: min(n, MAX_OFFSET))]
"""How many items to pass over."""

Cursor = Annotated[
    str | None, Field(description="Where the page before this one ended, from its Link header; then no offset counts")
]
"""A place in a list, which stays the same whatever is added before it."""

SortOrder = Literal["asc", "desc"]


def link_next(request: Request, response: Response, page: Page[Any]) -> None:
    """Name the page behind this one in the answer's Link header, with the same filters and order."""
    if page.cursor:
        url = request.url.remove_query_params(["offset", "api_key"]).include_query_params(cursor=page.cursor)
        response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
