"""Counters: what is counted (cells), in which rows, and exact numbers as JSON.

A cell is named "n" (records), "status=running", "+tokens" (a sum), "+tokens|status=running" or "m3" (records of the
fourth five minutes of an hour). Rows are `c~.~` for the whole partition, `c~client_id~<value>~` for one value,
`h~<hour, inverted>~` for one hour of creation; what follows is the generation and the shard.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation
from math import isfinite
from typing import Any

import orjson

from shared.tables import keys
from shared.tables.wire import Row

Number = int | Decimal
Cells = dict[str, Number]

# A float has at most 309 digits before the decimal point and 1,074 behind it. So 2,000 digits hold every sum of floats;
# if they did not, `Inexact` would be raised.
_EXACT = Context(prec=2_000, Emax=9_999, Emin=-9_999, traps=[Inexact, InvalidOperation, DivisionByZero])

GENERATION = "g"
"""The column that names the generation of counters in which a row is counted; absent from generation 0."""

COUNTED = "of"
"""The column that names the generation of a root row's own cells, when a newer one has been opened since."""

OLD = "old"
"""The column of a root row for its cells of older generations."""

ROOT = "c~.~"
HOURS = "h~"
_LAST_HOUR = 0xFFFFFFFF


def hour_prefix(moment: datetime) -> str:
    """The beginning of the keys of this hour's counter rows; later hours sort first."""
    return f"{HOURS}{_LAST_HOUR - int(moment.timestamp() // 3600):08x}~"


def hour_of(row_key: str) -> datetime:
    """The hour of a counter row with this key."""
    return datetime.fromtimestamp((_LAST_HOUR - int(row_key[len(HOURS) : len(HOURS) + 8], 16)) * 3600, UTC)


class Group:
    """Fields by whose values records are counted.

    Fields with values known from their type are `closed`: their values are cells of one row. The others are `open`:
    each of their values has a row of its own.
    """

    def __init__(self, fields: tuple[str, ...], known: set[str]):
        self.fields = fields
        self.closed = tuple(name for name in fields if name in known)
        self.open = tuple(name for name in fields if name not in known)
        self.prefix = f"c~{'.'.join(self.open)}~" if self.open else ROOT
        self._cells: dict[tuple[Any, ...], str] = {}

    def row(self, record: Any) -> str:
        """The beginning of the key of the row that counts this record."""
        return self.row_of([getattr(record, name) for name in self.open])

    def row_of(self, values: Iterable[object]) -> str:
        """The beginning of the key of the row for these values of the open fields."""
        return self.prefix + "".join([f"{keys.encode(value)}~" for value in values])

    def cell(self, record: Any) -> str:
        """The name of the cell that counts this record; "" when the row counts nothing else."""
        values = tuple([getattr(record, name) for name in self.closed])
        cell = self._cells.get(values)  # of few values, and naming one takes longer than finding its name
        if cell is None:
            cell = self._cells[values] = self.cell_of(values)
        return cell

    def cell_of(self, values: Sequence[Any]) -> str:
        """The name of the cell for these values of the closed fields."""
        return f"{','.join(self.closed)}={','.join(map(keys.encode, values))}" if values else ""


class Delta:
    """The change that some writes make to the counters."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, str], Cells] = {}
        self.values: dict[str, list[Any]] = {}

    def add(self, generation: int, row: str, cells: Mapping[str, Number], values: list[Any] | None = None) -> None:
        """Add to one row of one generation; `values` are the values of the open fields for which the row counts."""
        if values:
            self.values[row] = values
        place = generation, row
        if not (known := self.rows.get(place)):
            self.rows[place] = dict(cells)
            return
        add(known, cells)
        if not known:
            del self.rows[place]

    @classmethod
    def of(cls, deltas: Iterable["Delta"]) -> "Delta":
        """The sum of several changes."""
        sum_ = cls()
        for delta in deltas:
            for (generation, row), cells in delta.rows.items():
                sum_.add(generation, row, cells)
            sum_.values |= delta.values
        return sum_


def exact(value: float | None, sign: int = 1) -> Number:
    """A number, or with `sign` -1 its negative, that adds up without rounding; 0 for None, NaN and the infinities."""
    if value is None or not isfinite(value):
        return 0
    return sign * int(value) if isinstance(value, int) or value.is_integer() else Decimal(sign * value)


def plus(one: Number, other: Number) -> Number:
    """The exact sum. The operator `+` rounds decimals, to 28 digits."""
    if type(one) is int and type(other) is int:
        return one + other
    return _EXACT.normalize(_EXACT.add(one, other))


def add(cells: Cells, more: Mapping[str, Number]) -> None:
    """Add cell by cell; a cell that becomes zero is removed."""
    for name, amount in more.items():
        if total := plus(cells.get(name, 0), amount):
            cells[name] = total
        else:
            cells.pop(name, None)


def dump(cells: Cells) -> str:
    """Cells as JSON; a number that JSON cannot hold exactly is written as text."""
    try:
        return orjson.dumps(cells, str, orjson.OPT_STRICT_INTEGER).decode()
    except TypeError:  # an integer of more than 53 bits
        return orjson.dumps({name: n if abs(n) < 1 << 53 else str(n) for name, n in cells.items()}, str).decode()


def load(row: Row, column: str = "v") -> Cells:
    """The cells of a counter row."""
    cells: dict[str, Any] = orjson.loads(row.get(column) or "{}")
    for name, amount in cells.items():
        if isinstance(amount, str):
            above, _, below = amount.partition("/")  # earlier versions wrote fractions
            cells[name] = _EXACT.divide(Decimal(above), Decimal(below)) if below else Decimal(above)
    return cells
