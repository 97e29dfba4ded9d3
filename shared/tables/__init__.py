"""Records in Table Storage: exact lists, counts and histories whose cost does not grow with the data."""

from shared.tables.client import close
from shared.tables.collection import Collection
from shared.tables.connection import BlobStore, Storage, TokenSource, use
from shared.tables.errors import (
    BadCursor,
    BoundPassed,
    MissingIndex,
    RecordChanged,
    RecordConflict,
    RecordNotFound,
    ServiceRefused,
    StorageUnavailable,
    TextLost,
    TooDeep,
    TooManyRecords,
    Unreadable,
    Unstorable,
)
from shared.tables.ids import repeatable
from shared.tables.page import Page, PageWithoutTotal
from shared.tables.rebuild import Rebuilt
from shared.tables.record import Record
from shared.tables.stored import collections
from shared.tables.sweep import sweep
from shared.tables.totals import History, Totals

__all__ = [
    "BadCursor",
    "BlobStore",
    "BoundPassed",
    "Collection",
    "History",
    "MissingIndex",
    "Page",
    "PageWithoutTotal",
    "Rebuilt",
    "Record",
    "RecordChanged",
    "RecordConflict",
    "RecordNotFound",
    "ServiceRefused",
    "Storage",
    "StorageUnavailable",
    "TextLost",
    "TokenSource",
    "TooDeep",
    "TooManyRecords",
    "Totals",
    "Unreadable",
    "Unstorable",
    "close",
    "collections",
    "repeatable",
    "sweep",
    "use",
]
