"""Errors with a status: raised where they are known, rendered once, in each API's own shape."""

from collections.abc import Mapping


class ApiError(Exception):
    """An answer other than success; `message` is for the client and must hold no secret."""

    status = 500

    def __init__(self, message: str, headers: Mapping[str, str] | None = None):
        super().__init__(message)
        self.message = message
        self.headers = dict(headers or {})


class BadRequest(ApiError):
    """400: the request cannot be understood or breaks a rule of its record."""

    status = 400


class Unauthorized(ApiError):
    """401: no credential, or one that opens nothing."""

    status = 401


class NotFound(ApiError):
    """404: no such record, or none that the caller may know of."""

    status = 404


class Conflict(ApiError):
    """409: the record's present state does not admit it."""

    status = 409


class Gone(ApiError):
    """410: it was there and has ended."""

    status = 410


class PreconditionFailed(ApiError):
    """412: the record is no longer the one the client read."""

    status = 412


class TooLarge(ApiError):
    """413: a body over its documented limit."""

    status = 413


class RangeNotSatisfiable(ApiError):
    """416: the file has no such part."""

    status = 416


class UpgradeRequired(ApiError):
    """426: this address speaks WebSocket only."""

    status = 426


class TooManyRequests(ApiError):
    """429: the caller's rate is over its limit."""

    status = 429


class Unavailable(ApiError):
    """503: not now; `Retry-After` says when."""

    status = 503
