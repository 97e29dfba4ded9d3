"""The counter rows that one process writes in one partition, and their cache.

Every transaction of the partition rewrites the root row of its process's shard, on the condition of the ETag that the
process knows. So the rows of a shard change only together with its root row, and cached rows are right as long as that
ETag is. The marks in the root row show each process which of its transactions was the last one to be stored.
"""

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson

from shared.tables.batch import Operation, encode
from shared.tables.cells import COUNTED, GENERATION, OLD, ROOT, Cells, Delta, add, dump, load, plus
from shared.tables.errors import ServiceRefused
from shared.tables.wire import Row, Unanswered, Wire

SHARDS = 16
"""The most root rows of a partition, all of which a total reads. Two processes on one shard move apart."""

_CACHED = 1_000
_WRITERS = 32


@dataclass(slots=True)
class Change:
    """The counter operations of one transaction, and the cells to remember once it is stored."""

    mark: str
    root: Operation
    rows: list[Operation]
    cells: dict[str, Cells]
    old: Cells
    writers: dict[str, str]


class Shard:
    """One shard, as one process knows it; `shards`: how many the partition has, by default `SHARDS`."""

    def __init__(self, wire: Wire, table: str, partition: str, shards: int | None = None):
        self._wire, self._table, self._partition = wire, table, partition
        self._process = secrets.token_hex(6)
        self._sequence = 0
        self._shards = shards or SHARDS
        self.number = secrets.randbelow(self._shards)
        self.generation = 0
        self._etag: str | None = None
        self._known = False
        self._writers: dict[str, str] = {}
        self._old: Cells = {}
        self._cells: OrderedDict[str, Cells] = OrderedDict()

    @property
    def root_key(self) -> str:
        return root_key(self.number)

    def forget(self) -> None:
        """Read everything again before the next write."""
        self._known = False
        self._cells.clear()

    async def load(self) -> None:
        """Read the root row, unless it is known."""
        if self._known:
            return
        self._cells.clear()
        found = await self._wire.get(self._table, self._partition, self.root_key)
        if found is None:
            self._etag, self.generation, self._writers, self._old = None, 0, {}, {}
            self._cells[self.root_key] = {}
        else:
            row, self._etag = found
            self.generation = int(row.get(GENERATION, 0))
            self._writers = orjson.loads(row.get("w") or "{}")
            self._old, cells = load(row, OLD), load(row)
            if int(row.get(COUNTED) or 0) < self.generation:
                add(self._old, cells)
                cells = {}
            self._cells[self.root_key] = cells
        self._known = True

    def _is_old(self, generation: int, row: str) -> bool:
        """Whether this row of a delta stands for the root row's cells of older generations."""
        return row == ROOT and generation < self.generation

    def _key(self, generation: int, row: str) -> str:
        if row == ROOT and generation == self.generation:
            return self.root_key
        return f"{row}{generation:x}.{self.number:x}"

    async def load_rows(self, delta: Delta) -> None:
        """Read the rows that this delta changes and that are not known. The root row must be read before them."""
        await self.load()
        keys = (self._key(*place) for place in delta.rows if not self._is_old(*place))
        missing = [key for key in keys if key not in self._cells]
        if not missing:
            return
        if self._etag is None:  # this shard has never been written: it has no rows
            self._cells |= {key: {} for key in missing}
            return
        found = await asyncio.gather(*(self._wire.get(self._table, self._partition, key) for key in missing))
        for key, row in zip(missing, found, strict=True):
            self._cells[key] = load(row[0]) if row else {}

    def change(self, delta: Delta) -> Change:
        """The operations that add this delta, whose rows must be loaded."""
        self._sequence += 1
        mark = f"{self._sequence:x}"
        cells: dict[str, Cells] = {}
        old = dict(self._old)
        rows: list[Operation] = []
        for (generation, row), more in delta.rows.items():
            if self._is_old(generation, row):
                add(old, more)
                continue
            key = self._key(generation, row)
            before = self._cells[key]
            self._cells.move_to_end(key)
            cells[key] = after = dict(before)
            add(after, more)
            if key == self.root_key:
                continue
            if after:
                columns: Row = {"v": dump(after)}
                if row in delta.values:
                    columns["k"] = orjson.dumps(delta.values[row], default=str).decode()
                rows.append(Operation("PUT", key, columns))
            elif before:
                rows.append(Operation("DELETE", key, etag="*"))
        own = {self._process: mark} | {name: last for name, last in self._writers.items() if name != self._process}
        writers = dict(list(own.items())[:_WRITERS])
        root = self._root(cells.get(self.root_key, self._cells[self.root_key]), old, writers)
        return Change(mark, root, rows, cells, old, writers)

    def total(self, name: str, change: Change) -> int:
        """What a cell of the whole partition is after a change, where this is its only shard."""
        cells = change.cells.get(self.root_key, self._cells[self.root_key])
        return int(plus(cells.get(name, 0), change.old.get(name, 0)))

    def _root(self, cells: Cells, old: Cells, writers: dict[str, str]) -> Operation:
        columns: dict[str, Any] = {"v": dump(cells), "w": orjson.dumps(writers).decode()}
        if self.generation:
            columns[GENERATION] = columns[COUNTED] = str(self.generation)
        if old:
            columns[OLD] = dump(old)
        return Operation("PUT" if self._etag else "POST", self.root_key, columns, self._etag)

    def accept(self, change: Change, etag: str | None) -> None:
        """Remember what a stored transaction wrote."""
        if etag is None:  # its response was lost
            self.forget()
            return
        self._etag, self._writers, self._old = etag, change.writers, change.old
        self._cells |= change.cells
        self._cells.move_to_end(self.root_key)
        while len(self._cells) > _CACHED:
            self._cells.popitem(last=False)

    def lost(self) -> None:
        """Move to another shard, because another process has written this one."""
        self.forget()
        if self._shards > 1:
            self.number = (self.number + 1 + secrets.randbelow(self._shards - 1)) % self._shards

    async def landed(self, mark: str) -> bool:
        """Whether the transaction with this mark is stored; if not, make sure that it will never be.

        A request whose response was lost may still arrive. Rewriting the root row changes the ETag that it depends on.
        """
        attempts = self._wire.attempts()
        while True:
            self.forget()
            await self.load()
            if self._writers.get(self._process) == mark:
                return True
            change = self.change(Delta())
            try:
                parts = encode([change.root], f"{self._wire.url}/{self._table}", self._partition)
                self.accept(change, (await self._wire.transact(self._table, parts))[0])
                return False
            except ServiceRefused as error:
                if error.status not in (404, 409, 412):
                    raise
            except Unanswered as error:
                await attempts.again(error)


@cache
def root_key(number: int) -> str:
    """The row key of a shard's root row."""
    return f"{ROOT}r.{number:x}"
