"""Filtering, searching and sorting records that have been read."""

from collections.abc import Sequence
from enum import Enum
from typing import Any, cast

from shared.tables import keys
from shared.tables.columns import R
from shared.tables.page import Filter, values_of


def matching(records: list[R], where: Filter | None) -> list[R]:
    """The records with one of the wanted values in each field. Values are compared as in the keys of index rows."""
    wanted = [(name, {keys.encode(value) for value in values}) for name, values in values_of(where).items()]
    for name, texts in wanted:
        records = [record for record in records if keys.encode(getattr(record, name)) in texts]
    return records


def holds(record: Any, text: str, fields: Sequence[str]) -> bool:
    """Whether one of these fields, a text or a list of texts, contains a case-folded text."""
    for name in fields:
        value: Any = getattr(record, name)
        parts = cast("list[Any]", value) if isinstance(value, list) else [value]
        if any(text in str(part).casefold() for part in parts if part is not None):
            return True
    return False


def sort(records: list[Any], fields: list[tuple[str, bool]]) -> None:
    """Sort by these fields, each from high to low or not; equal records by id, in the direction of the last field."""
    records.sort(key=lambda record: record.id, reverse=fields[-1][1])
    for name, high_to_low in reversed(fields):
        if name != "created_at":  # which the id follows
            records.sort(key=lambda record, name=name: _rank(getattr(record, name)), reverse=high_to_low)


def _rank(value: Any) -> tuple[Any, ...]:
    """The sort key of a value: None and NaN are lowest, texts are compared without regard to case, then with."""
    if value is None or value != value:
        return (0,)
    if isinstance(value, Enum):
        value = value.value
    return (1, value.casefold(), value) if isinstance(value, str) else (1, value)
