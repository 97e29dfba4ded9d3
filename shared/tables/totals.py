"""Exact counts and sums, read from the counter rows."""

from collections import Counter
from datetime import datetime
from functools import reduce
from itertools import product
from typing import Any

import orjson

from shared.tables import keys
from shared.tables.cells import OLD, ROOT, Cells, Group, Number, add, hour_of, load, plus
from shared.tables.columns import Column
from shared.tables.errors import MissingIndex
from shared.tables.wire import Row


class Totals:
    """Counts and sums of a partition, or of one hour of it."""

    def __init__(self, table: str, groups: list[Group], columns: dict[str, Column]):
        self._table, self._groups, self._columns = table, groups, columns
        self._rows: dict[str, tuple[list[Any], Cells]] = {}

    def add(self, row: Row, prefix: str) -> None:
        """Add one counter row, whose key begins with `prefix`."""
        if prefix in self._rows:
            add(self._rows[prefix][1], load(row))
        else:
            self._rows[prefix] = (orjson.loads(row["k"]) if "k" in row else [], load(row))
        if OLD in row:
            add(self._rows[prefix][1], load(row, OLD))

    def _cell(self, prefix: str, name: str) -> Number:
        return self._rows.get(prefix, ([], {}))[1].get(name, 0)

    @property
    def count(self) -> int:
        """The number of all records."""
        return int(sum(cells.get("n", 0) for values, cells in self._rows.values() if not values))

    def by(self, *fields: str) -> Counter[Any]:
        """Records by value of a declared counter, by tuple of values when it has several fields; 0 for other values."""
        found = self.amounts(*fields).items()
        return Counter({key if len(fields) > 1 else key[0]: int(amounts.get("n", 0)) for key, amounts in found})

    def amounts(self, *fields: str) -> dict[tuple[Any, ...], dict[str, int | float]]:
        """What is known of each tuple of values of a declared counter: the number of its records as `n`, and its sums.

        A sum that is 0 may be missing.
        """
        group = self._group(set(fields))
        places = [(*group.open, *group.closed).index(name) for name in fields]
        known = [
            {keys.encode(value): value for value in [*(self._columns[name].values or []), None]}
            for name in group.closed
        ]
        parts: dict[str, tuple[str, list[Any]] | None] = {}  # by the name of a cell: many rows have the same names
        found: dict[tuple[Any, ...], dict[str, int | float]] = {}
        for prefix, (values, cells) in self._rows.items():
            if len(values) != len(group.open) or not (prefix.startswith(group.prefix) or not group.open):
                continue
            for name, amount in cells.items():
                if name not in parts:
                    parts[name] = _parts(group, known, name)
                if (part := parts[name]) is not None:
                    field, closed = part
                    combined = [*values, *closed]
                    key = tuple([combined[place] for place in places])
                    found.setdefault(key, {})[field] = self._plain(field, amount)
        return found

    def _plain(self, field: str, amount: Number) -> int | float:
        return float(amount) if field != "n" and self._columns[field].edm == "Edm.Double" else int(amount)

    def sum(self, field: str, **where: object) -> float | int:
        """The sum of a field of `sums`; with `where`, for one value of each field of a declared `sums_by`."""
        group = self._group(set(where))
        cell = group.cell_of([where[name] for name in group.closed])
        prefix = group.row_of(where[name] for name in group.open)
        rows = [prefix] if group.open else [key for key, (values, _) in self._rows.items() if not values]
        amounts = (self._cell(key, f"+{field}|{cell}" if cell else f"+{field}") for key in rows)
        return self._plain(field, reduce(plus, amounts, 0))

    def matching(self, where: dict[str, list[object]]) -> int:
        """The number of records that have one of these values in each of these fields, by which a counter counts."""
        group = self._group(set(where))
        total = 0
        for open_ in product(*(where[name] for name in group.open)):
            prefix = group.row_of(open_)
            for closed in product(*(where[name] for name in group.closed)):
                total += int(self._cell(prefix, group.cell_of(list(closed)) or "n"))
        return total

    def _group(self, fields: set[str]) -> Group:
        for group in self._groups:
            if {*group.fields} == fields:
                return group
        raise MissingIndex(f"{self._table}: nothing is declared that counts by {', '.join(sorted(fields))}")


def _parts(group: Group, known: list[dict[str, Any]], cell: str) -> tuple[str, list[Any]] | None:
    """What a cell sums up (`n`: it counts), and its values of the closed fields; None when it is not of this group.

    `known` are the values of each closed field by what cells call them.
    """
    field, _, values = cell[1:].partition("|") if cell.startswith("+") else ("n", "", "" if cell == "n" else cell)
    names, _, texts = values.partition("=")
    if names != ",".join(group.closed):
        return None
    return field, [own.get(text, text) for own, text in zip(known, texts.split(","), strict=True)] if names else []


class History(Totals):
    """The records created in a range of hours, counted by their present state; `hours` are those that had any."""

    def __init__(self, table: str, groups: list[Group], columns: dict[str, Column]):
        super().__init__(table, groups, columns)
        self._hours: dict[datetime, Hour] = {}

    @property
    def hours(self) -> "list[Hour]":
        """The hours in which records were created, the oldest first."""
        return [self._hours[hour] for hour in sorted(self._hours)]

    def add_hour(self, row: Row) -> None:
        """Add one counter row of an hour."""
        moment = hour_of(row["RowKey"])
        if moment not in self._hours:
            self._hours[moment] = Hour(moment, self._table, self._groups, self._columns)
        self._hours[moment].add(row, ROOT)
        self.add(row, ROOT)


class Hour(Totals):
    """The records created in one hour, counted by their present state."""

    def __init__(self, hour: datetime, table: str, groups: list[Group], columns: dict[str, Column]):
        super().__init__(table, groups, columns)
        self.hour = hour

    @property
    def fives(self) -> list[int]:
        """The number of records created in each five minutes of the hour."""
        return [int(sum(cells.get(f"m{i}", 0) for _, cells in self._rows.values())) for i in range(12)]
