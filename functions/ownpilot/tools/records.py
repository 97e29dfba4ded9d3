"""What the tools on records have in common: their parameters, and how they show records and add several at once."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, Field

from functions.ownpilot.core.entry import Moment
from functions.ownpilot.core.tool_context import ToolError
from shared.http.errors import HANDLED, ApiError, api_error
from shared.http.operations import Resource
from shared.tables import Record

R = TypeVar("R", bound=Record)
T = TypeVar("T")

MOST = 50
"""Records that a list shows at most."""

MAX_BATCH = 100
"""Records that one call adds at most."""

AT_ONCE = 10


def capped(most: int) -> AfterValidator:
    """Bring a number of records into the range from 1 to `most`."""
    return AfterValidator(lambda given: min(max(given, 1), most))


Limit = Annotated[int, Field(description=f"How many to show, {MOST} at most"), capped(MOST)]
When = Annotated[Moment | None, Field(description="A date, or a time in ISO 8601 such as 2026-01-31T09:00:00Z")]
Tags = Annotated[list[str] | None, Field(description="Words to find it by")]
Search = Annotated[str | None, Field(description="A text that it must contain")]


def members(given: BaseModel, *without: str) -> dict[str, Any]:
    """Return the members that a call gives, but for those that are null."""
    return given.model_dump(exclude={*without}, exclude_none=True, exclude_unset=True)


def present(**values: Any) -> dict[str, Any]:
    """Return the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def shown(shape: type[BaseModel], record: object) -> dict[str, Any]:
    """Return a record as clients see it, without the members that have no value."""
    return shape.model_validate(record).model_dump(mode="json", by_alias=True, exclude_none=True)


async def listed(
    resource: Resource[R],
    owner: str,
    name: str,
    where: Mapping[str, Any],
    *,
    tag: str | None = None,
    limit: int = MOST,
    **options: Any,
) -> dict[str, Any]:
    """Return the first records of a list under this name, and the `total`; with `tag`, those that have this tag."""
    page = await resource.list(owner, present(**where), limit=sys.maxsize if tag else limit, **options)
    found, total = page.items, page.total
    if tag:
        found = [each for each in found if tag.casefold() in {one.casefold() for one in getattr(each, "tags", ())}]
        total = len(found)
    return {name: [shown(resource.shapes.shown, each) for each in found[:limit]], "total": total}


async def create_all(
    resource: Resource[R], owner: str, name: str, given: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Store several records. `ToolError` when one of them is wrong; then none is stored."""

    def check(values: Mapping[str, Any]) -> None:
        resource.make(owner, values)

    async def create(values: Mapping[str, Any]) -> Any:
        return shown(resource.shapes.shown, await resource.create(owner, values))

    return await add_all(name, given, check, create)


async def add_all(
    name: str, given: Sequence[T], check: Callable[[T], object], add: Callable[[T], Awaitable[Any]]
) -> dict[str, Any]:
    """Check all of what is given, then add it, `AT_ONCE` at a time; the result has what was added under `name`.

    `ToolError` when one is wrong, and nothing is added. What fails after that is told in `failed`, by its place.
    """
    for place, each in enumerate(given):
        try:
            check(each)
        except ApiError as error:
            raise ToolError(f"Nothing was added, as item {place} is wrong: {error.message}") from error
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(place: int, each: T) -> tuple[Any, dict[str, Any] | None]:
        async with turns:
            try:
                return await add(each), None
            except HANDLED as error:
                return None, {"item": place, "error": api_error(error).message}

    done = await asyncio.gather(*(one(*each) for each in enumerate(given)))
    added, failed = [each for each, error in done if error is None], [error for _, error in done if error]
    if failed and not added:
        raise ToolError(f"Nothing was added: {failed[0]['error']}")
    return {name: added, "added": len(added)} | ({"failed": failed} if failed else {})
