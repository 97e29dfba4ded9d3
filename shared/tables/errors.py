"""What can go wrong with records, as plain exceptions; each API gives them its own answer."""


class NotFound(Exception):
    """No such record."""

    def __init__(self, collection: str, record_id: str):
        super().__init__(f"{collection} has no record {record_id}")
        self.collection, self.record_id = collection, record_id


class Conflict(Exception):
    """The write contradicts what is stored; `field` names the unique field that is taken, or "id"."""

    def __init__(self, message: str, field: str | None = None):
        super().__init__(message)
        self.field = field


class PreconditionFailed(Conflict):
    """The record is no longer the version that the caller named."""


class Unstorable(ValueError):
    """A record cannot be stored as it is: `field` names what is too large or out of range. Nothing was sent."""

    def __init__(self, message: str, field: str):
        super().__init__(message)
        self.field = field


class Unavailable(Exception):
    """The storage service did not answer, or refused, in spite of retries; whether a write landed is unknown."""


class Refused(Exception):
    """The service refused one operation; `index` is its place in the transaction, None when it did not say."""

    def __init__(self, status: int, code: str, index: int | None, message: str):
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.index = status, code, index


class BadCursor(ValueError):
    """Temporary."""


class MissingIndex(Exception):
    """Temporary."""
