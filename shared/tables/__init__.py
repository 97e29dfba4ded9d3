"""Records in Table Storage: exact lists, counts and histories whose cost does not grow with the data."""

from shared.tables.client import close
from shared.tables.collection import Collection
from shared.tables.errors import (
    BadCursor,
    Conflict,
    MissingIndex,
    NotFound,
    PreconditionFailed,
    Refused,
    Unavailable,
    Unstorable,
)
from shared.tables.listing import Page
from shared.tables.rebuild import Rebuilt
from shared.tables.record import Record
from shared.tables.records import collections
from shared.tables.sweep import sweep
from shared.tables.totals import Hour, Totals

__all__ = [
    "BadCursor",
    "Collection",
    "Conflict",
    "Hour",
    "MissingIndex",
    "NotFound",
    "Page",
    "PreconditionFailed",
    "Rebuilt",
    "Record",
    "Refused",
    "Totals",
    "Unavailable",
    "Unstorable",
    "close",
    "collections",
    "sweep",
]
