"""Records in Table Storage: exact lists, counts and histories whose cost does not grow with the data."""

from shared.tables.client import close
from shared.tables.collection import Collection
from shared.tables.errors import Conflict, NotFound, PreconditionFailed, Refused, Unavailable, Unstorable
from shared.tables.listing import Page
from shared.tables.rebuild import Rebuilt
from shared.tables.record import Record
from shared.tables.records import collections
from shared.tables.sweep import sweep
from shared.tables.totals import Hour, Totals

__all__ = [
    "Collection",
    "Conflict",
    "Hour",
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
