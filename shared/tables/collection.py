"""Collections of records in Table Storage: one table each, one partition for each tenant."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Self, Unpack, cast, overload

from shared.tables.columns import Columns, R
from shared.tables.copying import CopiedRecords
from shared.tables.errors import MissingIndex
from shared.tables.page import Asked, Check, Filter, Page, PageOptions, PageWithoutTotal
from shared.tables.ranges import Between
from shared.tables.rebuild import Rebuilt
from shared.tables.totals import History, Totals
from shared.tables.wire import Row


class Collection(CopiedRecords[R]):
    """The records of one model, of one of two kinds.

    **Counted**, `Collection("Runs", Run, indexes=["status"], counters=["status"])`: for what grows by itself, such as
    runs, logs, an audit. Index rows and counters change together with the record, so that a list, a total or a history
    costs the same however many records there are. Writes of one partition go through one writer a process.

    - `indexes`: fields, or tuples of fields, to filter by. One row each a record, holding the list view.
    - `counters`: fields, or tuples, whose records are counted by value. A filter by fields that are counted knows its
      total at once; any other total is counted, a thousand keys a query.
    - `sums`: numbers that are added up; `sums_by`: fields, or tuples, by whose values they are added up too.
    - `orders`: fields to sort by besides `created_at`; a tuple filters by all but its last field.
    - `bounded`: a partition has one row of counters, for which all its writers wait, so that `within` can bound its
      records and sums at no further cost. For partitions with few writers.

    A declaration that changes holds for old records once `rebuild` has run.

    **Plain**, `Collection("Notes", Note, plain=True)`: for what one person keeps, or what is never counted. One row a
    record and nothing besides; lists read the partition, a thousand records a query, and filter and sort by any field.
    Writes of different records run side by side.

    - `max_records`: records of a partition that a page may read; beyond it `page` raises `TooManyRecords`.
    - `spread`: number of partitions over which a tenant's records are spread, for a collection of many small writes.
      A record's partition follows from its id and this number: it must not change once there are records.

    Both kinds:

    - `unique`: fields whose value no two records share (None may be shared); `find` reads by them. Not with `spread`.
    - `view`: the fields that lists hold. By default, counted: all plain values, which keeps index rows short;
      plain: all fields. A record of a list whose text is too long for the list's row costs a point read.

    **Numbered**, of a model declared with `numbered=True`: ids are whole numbers, counted from 1 over all users. The
    collection is one partition, without `of`, that has the owner as an index; and it is counted, because the one writer
    that each process has in a partition takes the number in the transaction of the insert.

    - No number is taken twice. A refused write takes none, except one with a text over 30,000 characters, which takes
      its number first, in a call more.
    - Creates: a process alone joins up to 20 in a transaction, as in any counted collection. Several processes write
      one transaction at a time in all: 8 of them, with 4 creates waiting in each, made 200 creates a second in all (on
      the emulator, with 2 cores).
    - Lists run by number, the order in which records were stored. `created_at` stands for it, and `id` is its name for
      `between`. A range of `created_at` (also `after` and `before`) needs it in `orders`; lists then sort by it.
    - `history` counts by `created_at`. A deep offset passes over the keys, a thousand a query.
    - With `numbered="ascending"` the cheap direction of lists by number is from the lowest on, and `all` runs in it.
    - An insert that is repeated after `StorageUnavailable` may make a second record, unless a field is unique or both
      are in a `repeatable` block: then the second one returns the record of the first, for 1 unique row more.
    """

    def __new__(cls, *declaration: Any, plain: bool = False, **rest: Any) -> Self:
        if cls is not Collection:
            return object.__new__(cls)
        # Imported here because both are subclasses of this class.
        from shared.tables.counted import CountedCollection
        from shared.tables.plain import PlainCollection

        return cast("Self", object.__new__(PlainCollection if plain else CountedCollection))

    def without(self, *fields: str) -> Self:
        """The same collection, whose lists leave these fields out too: no long text of theirs is read for a list."""
        other = self._copy()
        other.columns = Columns(self.model, [name for name in self.columns.view if name not in fields])
        return other

    @overload
    async def page(
        self,
        where: Filter | None = None,
        *,
        between: Between | None = None,
        total: Literal[True] = True,
        **part: Unpack[PageOptions],
    ) -> Page[R]: ...

    @overload
    async def page(
        self,
        where: Filter | None = None,
        *,
        between: Between | None = None,
        total: Literal[False],
        **part: Unpack[PageOptions],
    ) -> PageWithoutTotal[R]: ...

    async def page(
        self,
        where: Filter | None = None,
        *,
        between: Between | None = None,
        total: bool = True,
        **part: Unpack[PageOptions],
    ) -> PageWithoutTotal[R]:
        """A part of the records that match `where`, and the exact number of all of them.

        It has `limit` (50) of them from `offset` (0) on, or behind the page that `cursor` came from; `BadCursor` when
        it came from another list.

        `order` names a field (`created_at`), which `descending` (True) sorts from high to low; None is lowest. In a
        sequence, `("-pinned", "title")`, each field says its direction itself; only plain collections sort by several.
        Records that are equal in all of them come newest first when the last field goes from high to low, else oldest
        first.
        `MissingIndex` when the declaration does not support the filter or the order. `id` orders numbered records only.

        `between=(low, high)` leaves those whose value of the (first) field of `order` is `low` or more and below
        `high`; None leaves a side open. Moments of `created_at` are taken in whole milliseconds; texts are compared by
        60 bytes, without regard to case. With `total=False` the number is not asked for. `check` is given the items
        before their long texts are read (until then these are None), and may refuse the page by an error.

        Cost, counted: 2 queries at once, for `limit` rows and for the counter rows of the filter: one for each process
        that has written, 16 at most. An offset over 250 adds the counter rows of the hours passed over, a thousand a
        query, and reads the last hour (without a filter: five minutes) up to it. Where nothing counts by the filter,
        its total is counted, a thousand keys a query. Several values of a field are as many queries.
        A range is 1 query of its rows, and its total is counted; `total=False` saves that where the list runs from high
        to low. Ranges, other orders than `created_at` and numbered records pass over a deep offset by its keys, a
        thousand a query; but for numbered records, `TooDeep` when these are more than 10,000. A list from low to high
        is counted from its end, so its first page is the deepest; with `numbered="ascending"`, one from high to low.
        Cost, plain: a query for each thousand records of the partition (of the range, if it is one of `created_at`),
        and a point read for each item of the page with a long text. `TooManyRecords`.
        """
        return await self.slice(Asked(where, between, total, **part))

    @abstractmethod
    async def slice(self, asked: Asked) -> PageWithoutTotal[R]:
        """What `page` returns: a `Page`, unless the total is neither wanted nor known."""

    @abstractmethod
    def all(
        self,
        where: Filter | None = None,
        *,
        order: str = "created_at",
        between: Between | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
    ) -> AsyncIterator[R]:
        """Every record that matches, in its list view, newest first or from the highest value of `order` down.

        Records with `numbered="ascending"` come from the lowest number up.

        `between` as in `page`; `after` and `before` are the same range of `created_at` in other words. Records may be
        written and deleted meanwhile: one that exists all the time comes exactly once, unless its value of `order`
        changes. Spread records come one partition after the other, newest first in each.

        Cost, counted: a query for each 250 matching records. Cost, plain: a query for each 1,000 records (of the range,
        if it is one of `created_at`), matching or not, and a point read for each record with a long text. Another order
        is sorted in memory, within `max_records`.
        """

    def scan(self, where: Filter | None = None, *, most: int | None = None) -> AsyncIterator[R]:
        """Every record that matches, whole, in the order of `all`. For exports and for what no list view holds.

        With `most`, only the first so many records are read, matching or not.

        Cost, plain: a query for each 1,000 records, matching or not, and a blob read for each text that is kept as a
        blob, those of 16 records at a time; more queries where a thousand rows are over 4 MiB. Counted: `MissingIndex`.
        """
        raise MissingIndex(f"{self.table} is a counted collection, which is not read whole: `all` gives the list view")

    async def search(
        self,
        text: str,
        fields: Sequence[str],
        where: Filter | None = None,
        *,
        between: Between | None = None,
        **part: Unpack[PageOptions],
    ) -> Page[R]:
        """A page of those records that match `where` and contain `text` in one of these fields, whatever its case.

        A field is a text or a list of texts, long ones too. The other arguments are those of `page`.

        Cost, plain: as `scan`: each search reads the whole partition, 10 queries for 10,000 records. Blobs are read of
        the searched fields only; an item of the page with another long text costs a point read. `TooManyRecords`.
        Counted: `MissingIndex`.
        """
        raise MissingIndex(f"{self.table} is a counted collection, which is not searched: nothing bounds its records")

    @abstractmethod
    async def count(
        self, where: Filter | None = None, *, order: str = "created_at", between: Between | None = None
    ) -> int:
        """How many records match; `order` and `between` as in `page`.

        Cost, counted: 1 query of few rows where a counter is declared, else, as in every range, a query for each 1,000
        matching records. Cost, plain: a query for each 1,000 records, of their keys and the fields that are compared.
        """

    @abstractmethod
    async def totals(self, where: Mapping[str, object] | None = None) -> Totals:
        """The declared counts and sums of this partition: all of them, at a cost that grows with the values counted by.

        With `where`, those of one value of each of these fields, or of no field (`{}`). Fields whose values are known
        from their type are in every result. `MissingIndex` when nothing counts by these fields.

        Cost, counted: 1 query for each 1,000 counter rows. Plain: `MissingIndex`.
        """

    @abstractmethod
    async def history(self, start: datetime, end: datetime) -> History:
        """What was created from the hour of `start` on, in hours that begin before `end`: in total and in each hour.

        Cost, counted: a query for each 1,000 rows, of which there is one for each hour with records and each process
        that wrote in it. Plain: `MissingIndex`.
        """

    @abstractmethod
    async def rebuild(self) -> Rebuilt:
        """Make index rows and counters of this partition anew from its records: for a new declaration, or after damage.

        Readers and writers may go on, and an interrupted rebuild continues where it was when it is called again.
        `RecordConflict` when two records share a value that is to be unique now.

        Cost, counted: all rows are read once, a thousand a query, and a transaction moves as many records as fit with
        their index rows; a record with a long text or unique fields costs point reads too. Plain: `MissingIndex`.
        """

    async def items(self, rows: list[Row], check: Check | None = None) -> list[R]:
        """The records of these rows, which are used up. Long texts of the list view are read from the records."""
        partial = self.columns.partial(rows)
        items = self.columns.readable(rows)
        if check:
            check(items)
        await self.complete(items, partial)
        return items
