"""The rows that follow from a record: index rows, unique rows, and its share in the counters."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic

from shared.tables import keys
from shared.tables.batch import MAX_OPERATIONS, Operation
from shared.tables.cells import GENERATION, ROOT, Cells, Delta, Group, exact, hour_prefix
from shared.tables.columns import Columns, R
from shared.tables.wire import Row

_TABLE = re.compile(r"[A-Za-z][A-Za-z0-9]{2,62}")

ORIGIN = "_origin"
"""The column of a numbered record that names what it was inserted from in a `repeatable` block; unique."""

Names = str | tuple[str, ...]


def names(declared: Names) -> tuple[str, ...]:
    return (declared,) if isinstance(declared, str) else declared


@dataclass(frozen=True)
class Index:
    """Rows that hold the list view by the values of these fields, newest first, or by `order` from high to low."""

    fields: tuple[str, ...]
    order: str = ""

    @cached_property
    def prefix(self) -> str:
        """The beginning of all its row keys."""
        kind = f"o~{self.order}." if self.order else "i~"
        return f"{kind}{'.'.join(self.fields)}~" if self.fields or self.order else "r~"

    def range(self, values: Iterable[object]) -> str:
        """The prefix of the rows with these values of its fields."""
        return self.prefix + "".join([f"{keys.encode(value)}~" for value in values])

    def key(self, record: Any, suffix: str) -> str:
        """The row key for one record."""
        prefix = self.range([getattr(record, name) for name in self.fields])
        return f"{prefix}{keys.descending(getattr(record, self.order))}~{suffix}" if self.order else prefix + suffix


RECORDS = Index(())


class Schema(Generic[R]):
    """The checked declaration of a collection, and the rows that follow from a record."""

    def __init__(
        self,
        table: str,
        columns: Columns[R],
        *,
        indexes: Iterable[Names],
        unique: Iterable[str],
        counters: Iterable[Names],
        sums: Iterable[str],
        sums_by: Iterable[Names],
        orders: Iterable[Names],
    ):
        if not _TABLE.fullmatch(table):
            raise ValueError(f"{table!r} is not a table name: 3 to 63 letters and digits, a letter first")
        self.table, self.columns = table, columns
        self.indexes = [Index(names(declared)) for declared in indexes]
        self.indexes += [Index(names(declared)[:-1], names(declared)[-1]) for declared in orders]
        self.unique = list(unique)
        self.sums = list(sums)
        counted = [names(declared) for declared in counters]
        summed = [names(declared) for declared in sums_by]
        self._check(counted, summed)
        closed = {name for name, column in columns.all.items() if column.values is not None}
        self.groups = [Group(fields, closed) for fields in dict.fromkeys([(), *counted, *summed])]
        self._summed = {(), *summed}

    def _check(self, counted: list[tuple[str, ...]], summed: list[tuple[str, ...]]) -> None:
        used = {name for index in self.indexes for name in (*index.fields, index.order) if name}
        used |= {*self.unique, *self.sums, *(name for fields in counted + summed for name in fields)}
        if unknown := sorted(used - self.columns.all.keys()):
            raise ValueError(f"{self.table}: no field {', '.join(unknown)}")
        if structured := sorted(name for name in used if not self.columns.all[name].scalar):
            raise ValueError(f"{self.table}: {', '.join(structured)} is not a plain value")
        # The most that an update writes: each index row and unique row twice, and each counter row twice.
        most = 1 + 2 * (len(self.indexes) + len(self.unique) + len(counted) + len(summed)) + 4
        if most > MAX_OPERATIONS:
            raise ValueError(f"{self.table}: a write takes up to {most} rows; a transaction has {MAX_OPERATIONS}")

    @property
    def fingerprint(self) -> str:
        """A text that is another one for a declaration of which other rows follow from a record."""
        groups = [(group.fields, group.open) for group in self.groups]
        parts = (self.indexes, self.unique, groups, sorted(self.sums), sorted(self._summed), self.columns.view)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def counts(self, fields: Iterable[str]) -> Group | None:
        """The group that counts by exactly these fields; None when it is not declared."""
        wanted = set(fields)
        return next((group for group in self.groups if {*group.fields} == wanted), None)

    def rows(self, record: R, row: Row) -> tuple[list[str], Row]:
        """The keys of a record's index rows, and the columns of each of them; `row` is the record's own row."""
        if not self.indexes:
            return [], {}
        suffix = self.columns.form.row_key(record.id) or ""
        cover = self.columns.cover(row)
        if GENERATION in row:
            cover[GENERATION] = row[GENERATION]
        return [index.key(record, suffix) for index in self.indexes], cover

    def unique_rows(self, record: R, row: Row) -> dict[str, tuple[str, Row]]:
        """The rows that make values unique: the row key, with the field and the columns. None has no such row."""
        own: Row = {"id": record.id}
        if GENERATION in row:
            own[GENERATION] = row[GENERATION]
        values = [(name, getattr(record, name)) for name in self.unique]
        if ORIGIN in row:
            values.append((ORIGIN, row[ORIGIN]))
        return {self.unique_key(name, value): (name, own) for name, value in values if value is not None}

    @staticmethod
    def unique_key(name: str, value: object) -> str:
        return f"u~{name}~{keys.encode(value)}"

    def changes(self, old: tuple[R, Row] | None, new: tuple[R, Row] | None) -> list[Operation]:
        """The operations besides the record's own when it goes from one state to the next."""
        before, was = self.rows(*old) if old else ([], {})
        after, cover = self.rows(*new) if new else ([], {})
        operations = [Operation("DELETE", key, etag="*") for key in before if key not in after]
        typed = self.columns.typed(cover)
        operations += [Operation("PUT", key, typed) for key in after if cover != was or key not in before]
        held, wanted = (self.unique_rows(*state) if state else {} for state in (old, new))
        operations += [Operation("DELETE", key, etag="*") for key in held if key not in wanted]
        for key, state in wanted.items():
            if key not in held:
                operations.append(Operation("POST", key, state[1]))
            elif held[key] != state:
                operations.append(Operation("PUT", key, state[1]))
        return operations

    def delta(self, old: tuple[R, Row] | None, new: tuple[R, Row] | None) -> Delta:
        """The change of the counters when a record goes from one state to the next."""
        delta = Delta()
        if old is not None:
            self._count(delta, -1, *old)
        if new is not None:
            self._count(delta, 1, *new)
        return delta

    def _count(self, delta: Delta, sign: int, record: R, row: Row) -> None:
        generation = int(row.get(GENERATION, 0))
        sums = {f"+{name}": amount for name in self.sums if (amount := exact(getattr(record, name), sign))}
        moment = self.columns.form.time_of(record.id) or record.created_at
        hour = hour_prefix(moment)
        closed: Cells = {}
        for group in self.groups:
            own: Cells = {} if group.open else closed
            cell = group.cell(record)
            own[cell or "n"] = sign
            if sums and group.fields in self._summed:
                own |= {f"{name}|{cell}" if cell else name: amount for name, amount in sums.items()}
            if group.open:
                delta.add(generation, group.row(record), own, [getattr(record, name) for name in group.open])
        delta.add(generation, ROOT, closed)
        delta.add(generation, hour, {**closed, f"m{moment.minute // 5}": sign})
