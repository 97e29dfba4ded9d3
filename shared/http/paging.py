"""Query parameters of lists, alike in the APIs that page by limit and offset."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

MAX_LIMIT = 1000

Limit = Annotated[
    int, Field(ge=1, description=f"At most {MAX_LIMIT}; more is cut"), AfterValidator(lambda n: min(n, MAX_LIMIT))
]
"""How many items of a list; below 1 is refused, above `MAX_LIMIT` is cut."""

Offset = Annotated[int, Field(ge=0)]
"""How many items to pass over."""

SortOrder = Literal["asc", "desc"]
