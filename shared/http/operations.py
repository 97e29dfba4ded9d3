"""The operations on what a person keeps, under the rules that requests have: for routes, and for other code."""

from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi import APIRouter
from pydantic import BaseModel, ValidationError

from shared.http.errors import BadRequest, Conflict, invalid_request
from shared.http.shapes import Settle, Shapes
from shared.recent import RecentValues
from shared.settings import settings
from shared.tables import Collection, Page, Record, RecordConflict
from shared.tables.page import Order
from shared.tables.plain import PlainCollection
from shared.tables.ranges import Between

R = TypeVar("R", bound=Record)
B = TypeVar("B", bound=BaseModel)
BeforeDelete = Callable[[str, str], Awaitable[None]]
"""Called with the owner and the id of a record that is about to be deleted, or that does not exist."""


MAX_CHARACTERS = 256 * 1024
"""Characters of all that requests set of one record: a list holds a thousand of them in memory."""


@dataclass
class KeptCount:
    """How many records an owner has, as far as this instance knows."""

    records: int


class Resource(Generic[R]):
    """The result of `resource`: the routes, and the same operations under the same rules as methods.

    The methods take and check the values that a request would send. `InvalidRequest` says what is wrong with them.
    """

    def __init__(
        self,
        routes: APIRouter,
        collection: PlainCollection[R],
        shapes: Shapes,
        *,
        search: Sequence[str],
        order: Sequence[str],
        settle: Settle,
        before_delete: BeforeDelete | None = None,
        taken: str = "",
    ):
        self.routes, self.collection = routes, collection
        self.shapes, self._search, self._order, self._settle = shapes, search, tuple(order), settle
        self._before_delete, self._taken = before_delete, taken
        self._kept: RecentValues[str, KeptCount] = RecentValues(seconds=60)
        # Instances count apart, so there may be more records than one of them allows; a list must still show them.
        collection.max_records = max(collection.max_records, 2 * settings().max_records)

    async def list(
        self,
        owner: str,
        where: Mapping[str, object] | None = None,
        *,
        between: Between | None = None,
        text: str | None = None,
        limit: int = 50,
        offset: int = 0,
        order: Order | None = None,
        cursor: str | None = None,
    ) -> Page[R]:
        """Return a page of an owner's records that match `where` and contain `text` in a searched field.

        `between` is a range of the first field of `order`, as in `Collection.page`.
        """
        own, order = self.collection.of(owner), order or self._order
        if text:
            return await own.search(
                text, self._search, where, between=between, limit=limit, offset=offset, order=order, cursor=cursor
            )
        return await own.page(where, between=between, limit=limit, offset=offset, order=order, cursor=cursor)

    async def create(self, owner: str, values: Mapping[str, Any] | BaseModel) -> R:
        """Store a new record. `RecordConflict` or `Conflict` when the value of a unique field is taken; `BadRequest`.

        `BadRequest` LIMIT_REACHED as in `admit`.
        """
        record = self.make(owner, values)
        kept = await self.admit(owner)
        with self._explained():
            record = await self.collection.of(owner).insert(record)
        kept.records += 1
        return record

    def make(self, owner: str, values: Mapping[str, Any] | BaseModel) -> R:
        """Return a new record that is not stored yet. `BadRequest`, LIMIT_REACHED for one that is too long."""
        body = checked(self.shapes.new, values)
        members: dict[str, Any] = {name: getattr(body, name) for name in body.model_fields_set}
        if "user_id" in self.collection.model.model_fields:
            members["user_id"] = owner
        record = self.collection.model(**members)
        self._settle(record)
        self.check_size(record)
        return record

    async def admit(self, owner: str) -> KeptCount:
        """Return how many records an owner has, when one more may be stored. They are counted once a minute.

        `BadRequest` LIMIT_REACHED when there are `RUNYARD_MAX_RECORDS` of them.
        """
        kept = await self._kept.get(owner, lambda: self._count(owner))
        if kept.records >= settings().max_records:
            raise BadRequest(f"There are {kept.records} records already: delete some first", code="LIMIT_REACHED")
        return kept

    async def get(self, owner: str, record_id: str) -> R:
        """Return a record. `RecordNotFound`."""
        return await self.collection.of(owner).get(record_id)

    async def change(
        self, owner: str, record_id: str, values: Mapping[str, Any] | BaseModel, *, if_match: str | None = None
    ) -> R:
        """Set these members of a record. `RecordNotFound`, `RecordChanged` (`if_match`), and those of `create`."""
        body = checked(self.shapes.patch, values)

        def change(record: R) -> None:
            for name in body.model_fields_set:
                setattr(record, name, getattr(body, name))
            self._settle(record)
            self.check_size(record)

        with self._explained():
            return await self.collection.of(owner).update(record_id, change, if_match=if_match)

    async def toggle(self, owner: str, record_id: str, field: str) -> R:
        """Make a field that is true false, or one that is false true. `RecordNotFound`."""

        def flip(record: R) -> None:
            setattr(record, field, not getattr(record, field))
            self._settle(record)

        return await self.collection.of(owner).update(record_id, flip)

    async def delete(self, owner: str, record_id: str) -> None:
        """Delete a record, and before it what belongs to it. `RecordNotFound`."""
        if self._before_delete:
            await self._before_delete(owner, record_id)
        await self.collection.of(owner).delete(record_id)
        if kept := self._kept.peek(owner):
            kept.records -= 1

    @contextmanager
    def _explained(self) -> Generator[None]:
        """Say in words what it means that the value of a unique field is taken, if the declaration has such words."""
        try:
            yield
        except RecordConflict as error:
            if not self._taken or error.field not in self.collection.schema.unique:
                raise
            raise Conflict(self._taken) from error

    def check_size(self, record: R) -> None:
        """`BadRequest` LIMIT_REACHED for a record that is too long."""
        check_size(self.collection, record, self.shapes.new.model_fields)

    async def _count(self, owner: str) -> KeptCount:
        return KeptCount(await self.collection.of(owner).count())


def check_size(collection: Collection[R], record: R, names: Iterable[str]) -> None:
    """`BadRequest` LIMIT_REACHED when these fields of a record have more than `MAX_CHARACTERS` characters together."""
    row = collection.columns.encode(record)
    size = sum(len(row[name]) for name in names if isinstance(row.get(name), str))
    if size > MAX_CHARACTERS:
        raise BadRequest(f"A record has at most {MAX_CHARACTERS} characters, not {size}", code="LIMIT_REACHED")


def checked(model: type[B], values: Mapping[str, Any] | B) -> B:
    """Return the values as the body of a request. `InvalidRequest`."""
    if isinstance(values, BaseModel):
        return values
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise invalid_request([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error
