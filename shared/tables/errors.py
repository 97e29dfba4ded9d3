"""What can go wrong with records, as plain exceptions; each API translates them into its own answers."""


class RecordNotFound(Exception):
    """The collection has no record with this id, or with this value of a unique field."""

    def __init__(self, collection: str, record_id: str):
        super().__init__(f"{collection} has no record {record_id}")
        self.collection, self.record_id = collection, record_id


class RecordConflict(Exception):
    """The write contradicts what is stored; `field` names the unique field whose value is taken, or "id"."""

    def __init__(self, message: str, field: str | None = None):
        super().__init__(message)
        self.field = field


class RecordChanged(RecordConflict):
    """The stored record is another version than the caller named."""


class BoundPassed(Exception):
    """The partition would hold `amount` of what `name` counts, and may hold `most`. Nothing was stored."""

    def __init__(self, name: str, amount: int, most: int):
        super().__init__(f"{name} would be {amount}, and may be {most}")
        self.name, self.amount, self.most = name, amount, most


class Unstorable(ValueError):
    """The record cannot be stored: the value of `field` is too large or out of range. Nothing was sent."""

    def __init__(self, message: str, field: str):
        super().__init__(message)
        self.field = field


class StorageUnavailable(Exception):
    """The storage service did not respond, or was too busy, at every attempt. A write may or may not be stored."""


class TextLost(Exception):
    """A record's row names a blob that does not exist, because something other than this library deleted the blob."""


class Unreadable(Exception):
    """A record's row holds a value of `field` that the model does not read: another version of the model wrote it."""

    def __init__(self, model: str, record_id: str, field: str):
        super().__init__(f"{model} {record_id}: {field} is stored in a form that cannot be read")
        self.field = field


class BadCursor(Exception):
    """The cursor is malformed, or comes from another list or from the other direction of this list."""


class MissingIndex(Exception):
    """A programming error: the collection's declaration does not support this filter, order, total or look-up."""

    def __init__(self, message: str):
        super().__init__(f"programming error: {message}")


class TooManyRecords(Exception):
    """A list of a plain collection would read more records than the declaration's `max_records`."""


class TooDeep(Exception):
    """A list would pass over more than `limit` records, one after the other, to reach its first one."""

    def __init__(self, limit: int):
        super().__init__(f"this list passes over at most {limit} records")
        self.limit = limit


class ServiceRefused(Exception):
    """The service refused one operation; `index` is its position in the transaction, None when it is not known."""

    def __init__(self, status: int, code: str, index: int | None, message: str):
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.index = status, code, index


class RefusedWrite(Exception):
    """The service refused one operation of one record's write; nothing of that write is stored."""

    def __init__(self, verb: str, row_key: str, refusal: ServiceRefused):
        super().__init__(f"{verb} {row_key}: {refusal}")
        self.row_key, self.status = row_key, refusal.status
