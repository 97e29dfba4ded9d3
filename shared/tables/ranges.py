"""A range of a field's values as a range of row keys."""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from shared.tables import keys
from shared.tables.columns import Column, Columns
from shared.tables.errors import MissingIndex

Between = tuple[Any, Any]
"""The lowest value, and the one that all values are below; None leaves a side open. A field that is None is outside."""


def moments(between: Between | None, order: str, after: datetime | None, before: datetime | None) -> Between | None:
    """The range that `after` and `before`, if one is given, mean instead of `between`."""
    if after is None and before is None:
        return between
    if between or order != "created_at":
        raise ValueError("after and before are a range of created_at: only one range can be asked for")
    return after, before


def bounds(columns: Columns[Any], order: str, between: Between) -> tuple[str, str]:
    """What the keys of these records have behind their list's prefix: `start` or more, and below `end` ("": open)."""
    low, high = between
    if order == columns.form.order:
        first, last = (low, high) if columns.form.ascending else (high, low)
        return _key(first, columns.form.first_key), _key(last, columns.form.first_key)
    if order not in columns.all:
        raise MissingIndex(f"{columns.model.__name__} has no field {order}")
    as_key = _descending(columns.all[order])
    return _key(high, as_key), _key(low, as_key) or keys.descending(None)


def within(columns: Columns[Any], order: str, between: Between) -> Callable[[Any], bool]:
    """Tells of a record in memory whether a range read by keys would hold it."""
    start, end = bounds(columns, order, between)
    return lambda record: start <= f"{keys.descending(getattr(record, order))}~" < end


def _key(value: Any, as_key: Callable[[Any], str]) -> str:
    return "" if value is None else as_key(value)


def _descending(column: Column) -> Callable[[Any], str]:
    def key(value: Any) -> str:
        # A number must be of the field's type: integers and floats have different keys.
        if column.edm:
            value = float(value) if column.edm == "Edm.Double" else math.ceil(value)
        return f"{keys.descending(value)}~~"  # behind the rows with this value

    return key
