"""Group commit: writes of one partition that wait at the same moment are sent as one transaction."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

from shared.tables import batch
from shared.tables.batch import Operation
from shared.tables.cells import ROOT, Delta
from shared.tables.errors import BoundPassed, RefusedWrite, ServiceRefused, StorageUnavailable, Unstorable
from shared.tables.sequence import SEQUENCE, Sequence
from shared.tables.shard import Change, Shard
from shared.tables.wire import Unanswered, Wire

Write = tuple[list[Operation], Delta]
Build = Callable[[int, int], Write]
"""Makes a write for a generation of counters, and for the number that it takes (0 when it takes none)."""

_RESERVED = 64 * 1024  # bytes kept for counter rows
_CONFLICTS = 100
NO_BOUNDS: Mapping[str, int] = {}


class Member:
    """One write that waits. Its operations depend on the generation of counters at the time when it is sent.

    So do they on the number that is then the next one, if the write is `numbered`. `new` is whether it stores a new
    record, and does not change one. `bounds` is the most that cells of the partition may be if it makes them larger.
    """

    def __init__(self, build: Build, *, numbered: bool, new: bool, bounds: Mapping[str, int]):
        self._build, self.numbered, self.new, self.bounds = build, numbered, new, bounds
        self._built: tuple[int, int] | None = None
        self.operations: list[Operation] = []
        self.delta = Delta()
        self.parts: list[bytes] = []
        self.size = 0
        self.done: asyncio.Future[list[str | None]] = asyncio.get_running_loop().create_future()

    @property
    def counters(self) -> set[tuple[int, str]]:
        """The rows that it changes together with other writes, besides the root row."""
        return {*self.delta.rows, (0, SEQUENCE)} if self.numbered else {*self.delta.rows}

    def build(self, generation: int, number: int, url: str, partition: str) -> None:
        """Make its operations; `Unstorable` when they do not fit in a transaction."""
        if (generation, number) == self._built:
            return
        self.operations, self.delta = self._build(generation, number)
        self.parts = batch.encode(self.operations, url, partition)
        self.size = sum(map(len, self.parts))
        self._built = generation, number
        if self.size > batch.ROOM - _RESERVED or len(self.parts) + len(self.counters) >= batch.MAX_OPERATIONS:
            raise Unstorable(f"{len(self.parts)} rows of {self.size} bytes are over one transaction", "id")

    def is_for(self, generation: int) -> bool:
        """Whether its operations are right for this generation, whatever the next number is."""
        return self._built == (generation, 0)

    def adds(self, name: str) -> bool:
        """Whether it makes a cell of the whole partition larger."""
        return sum(cells.get(name, 0) for (_, row), cells in self.delta.rows.items() if row == ROOT) > 0

    def drop(self, operation: Operation) -> None:
        """Remove one operation."""
        place = self.operations.index(operation)
        del self.operations[place], self.parts[place]

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Room:
    """What is left of a transaction for further writes; the first one always fits."""

    def __init__(self) -> None:
        self._size, self._count = _RESERVED, 1
        self._counters: set[tuple[int, str]] = set()
        self._empty = True

    def add(self, member: Member) -> bool:
        """Take the room of a write that is built; False when there is not enough of it."""
        counters = self._counters | member.counters
        count, size = self._count + len(member.operations), self._size + member.size
        if not self._empty and (count + len(counters) > batch.MAX_OPERATIONS or size > batch.ROOM):
            return False
        self._counters, self._count, self._size, self._empty = counters, count, size, False
        return True


class Committer:
    """The writer of one partition in this process. It sends one transaction at a time and has one shard of counters."""

    def __init__(self, wire: Wire, table: str, partition: str, shards: int | None = None):
        self._wire, self._table, self._partition = wire, table, partition
        self._url = f"{wire.url}/{table}"
        self._waiting: deque[Member] = deque()
        self._task: asyncio.Task[None] | None = None
        self.shard = Shard(wire, table, partition, shards)
        self.sequence = Sequence(wire, table, partition)

    @property
    def idle(self) -> bool:
        return self._task is None

    async def write(
        self, build: Build, *, numbered: bool = False, new: bool = False, bounds: Mapping[str, int] = NO_BOUNDS
    ) -> list[str | None]:
        """Carry out a write; returns the new ETag of each of its operations, None where it is not known.

        A `numbered` one takes the next whole number of the partition. Those that store a `new` record let waiting
        changes go first: many records that come at once do not hold up what happens to the first of them. `bounds` are
        exact in a partition of one shard.

        Raises `RefusedWrite` when the stored rows contradict the write, `BoundPassed`, `Unstorable`,
        `StorageUnavailable`.
        """
        member = Member(build, numbered=numbered, new=new, bounds=bounds)
        self._waiting.append(member)
        if self._task is None:
            # A task of its own: when a caller is cancelled, the writes of the others go on.
            self._task = asyncio.get_running_loop().create_task(self._run())
        return await member.done

    async def settle(self) -> None:
        """Wait until all writes are finished."""
        while self._task is not None:
            await asyncio.shield(self._task)

    async def _run(self) -> None:
        try:
            while self._waiting:
                try:
                    await self.shard.load()
                except (StorageUnavailable, ServiceRefused) as error:
                    self._fail_all(error)
                    break
                await self._commit(self._take())
        except BaseException as error:
            self._fail_all(error if isinstance(error, Exception) else StorageUnavailable("interrupted"))
            raise
        finally:
            self._task = None

    def _fail_all(self, error: Exception) -> None:
        while self._waiting:
            self._waiting.popleft().fail(error)

    def _take(self) -> list[Member]:
        """The waiting writes that fit in one transaction. Writes of one row go into different transactions.

        The one that has waited longest is always among them.
        """
        taken: list[Member] = []
        left: set[Member] = set()
        rows: set[str] = set()
        room, number = Room(), self.sequence.last
        waiting = [member for member in self._waiting if not member.done.done()]  # the callers of others were cancelled
        for member in [*waiting[:1], *sorted(waiting[1:], key=lambda member: member.new)]:
            try:
                member.build(self.shard.generation, number + 1 if member.numbered else 0, self._url, self._partition)
            except Exception as error:  # whatever the error is, it concerns this write alone
                member.fail(error)
                continue
            number += member.numbered
            own = {operation.row_key for operation in member.operations}
            # A later write of the same rows must not overtake one that is left.
            if rows.isdisjoint(own) and room.add(member):
                taken.append(member)
            else:
                left.add(member)
            rows |= own
        self._waiting = deque(member for member in waiting if member in left)
        return taken

    async def _commit(self, members: list[Member]) -> None:
        """Send the members until each of them has succeeded or failed."""
        try:
            for _ in range(_CONFLICTS):
                await self.shard.load()
                if any(member.numbered for member in members):
                    await self.sequence.load()
                if not all(member.is_for(self.shard.generation) for member in members):
                    members = self._built(members)
                if not members:
                    return
                delta = members[0].delta if len(members) == 1 else Delta.of(member.delta for member in members)
                await self.shard.load_rows(delta)
                change = self.shard.change(delta)
                if beyond := self._beyond(members, change):
                    members = [other for other in members if other is not beyond]
                    continue
                taken = sum(member.numbered for member in members)
                # The numbers come before the records: when they are taken already, the service must say that first.
                heads = [change.root, *self.sequence.take(taken)]
                operations = [*heads, *(o for member in members for o in member.operations), *change.rows]
                head, tail = (batch.encode(own, self._url, self._partition) for own in (heads, change.rows))
                try:
                    etags = await self._send(
                        [*head, *(p for member in members for p in member.parts), *tail], change.mark
                    )
                except ServiceRefused as error:
                    members = await self._without_refused(members, operations, error)
                    continue
                self.shard.accept(change, etags[0])
                if taken:
                    self.sequence.accept(taken, etags[1])
                _resolve(members, etags[len(heads) :])
                return
            raise StorageUnavailable("other processes change the same counters all the time")
        except BaseException as error:
            self.shard.forget()
            self.sequence.forget()
            for member in members:
                member.fail(error if isinstance(error, Exception) else StorageUnavailable("interrupted"))
            if not isinstance(error, Exception):
                raise

    def _built(self, members: list[Member]) -> list[Member]:
        """The members that can be stored, with operations for the present generation and the next numbers.

        In a new generation a write has more operations. Those that do not fit any more wait for the next transaction.
        """
        good: list[Member] = []
        room, number = Room(), self.sequence.last
        for place, member in enumerate(members):
            try:
                member.build(self.shard.generation, number + 1 if member.numbered else 0, self._url, self._partition)
            except Exception as error:  # whatever the error is, it concerns this write alone
                member.fail(error)
                continue
            if not room.add(member):
                self._waiting.extendleft(reversed(members[place:]))
                break
            good.append(member)
            number += member.numbered
        return good

    def _beyond(self, members: list[Member], change: Change) -> Member | None:
        """The last write that makes a cell larger than it allows, which has failed then. A smaller one may fit."""
        for member in reversed(members):
            for name, most in member.bounds.items():
                if member.adds(name) and (amount := self.shard.total(name, change)) > most:
                    member.fail(BoundPassed(name.removeprefix("+"), amount, most))
                    return member
        return None

    async def _without_refused(
        self, members: list[Member], operations: list[Operation], error: ServiceRefused
    ) -> list[Member]:
        """The members to send again after a refusal: all but the refused one, or all when a shared row was refused."""
        if error.index is None or error.index >= len(operations):
            if len(members) == 1:
                raise error
            for member in members:  # sent alone, the one at fault shows
                await self._commit([member])
            return []
        operation = operations[error.index]
        for member in members:
            if any(operation is own for own in member.operations):
                if operation.verb == "DELETE" and operation.etag == "*" and error.status == 404:
                    member.drop(operation)  # an index row that was lost: nothing is left to delete
                    return members
                member.fail(RefusedWrite(operation.verb, operation.row_key, error))
                return [other for other in members if other is not member]
        if operation.row_key == SEQUENCE:
            self.sequence.lost()
        else:
            self.shard.lost()
        return members

    async def _send(self, parts: list[bytes], mark: str) -> list[str | None]:
        """Send one transaction until its outcome is known; after a lost response, find out whether it is stored."""
        attempts = self._wire.attempts()
        while True:
            try:
                return await self._wire.transact(self._table, parts)
            except Unanswered as error:
                await attempts.again(error)
            except ServiceRefused:
                if attempts.failed and await self.shard.landed(mark):
                    return [None] * len(parts)
                raise


def _resolve(members: list[Member], etags: list[str | None]) -> None:
    start = 0
    for member in members:
        end = start + len(member.operations)
        if not member.done.done():
            member.done.set_result(etags[start:end])
        start = end
