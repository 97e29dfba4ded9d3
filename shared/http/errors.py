"""Errors with a status and a code: raised where they are known, rendered once in each API's own shape."""

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException

from shared import blobs, tables


class ApiError(Exception):
    """A response other than success; `message` and `details` are for the client and must hold no secret.

    `code` names the error for programs; each class has one, and a route may give its own. `details` is JSON: what the
    API's renderer makes of it is that API's affair.
    """

    status = 500
    code = "INTERNAL_ERROR"

    def __init__(
        self, message: str, *, code: str | None = None, details: Any = None, headers: Mapping[str, str] | None = None
    ):
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.details = details
        self.headers = dict(headers or {})


class BadRequest(ApiError):
    """400: the request cannot be read, or breaks a rule of its record."""

    status, code = 400, "BAD_REQUEST"


class InvalidRequest(BadRequest):
    """400: a parameter or a member of the body is missing or has a wrong value.

    `details` lists what is wrong, each as `{"field": "options.timeout", "message": "..."}`.
    """

    code = "INVALID_REQUEST"


class Unauthorized(ApiError):
    """401: no credential, or one that opens nothing."""

    status, code = 401, "UNAUTHORIZED"


class Forbidden(ApiError):
    """403: a known caller who may not do this."""

    status, code = 403, "FORBIDDEN"


class NotFound(ApiError):
    """404: no such record, or none that the caller may see."""

    status, code = 404, "NOT_FOUND"


class MethodNotAllowed(ApiError):
    """405: the path exists, with other methods; the `Allow` header names them."""

    status, code = 405, "METHOD_NOT_ALLOWED"


class Conflict(ApiError):
    """409: the record's present state does not allow it."""

    status, code = 409, "CONFLICT"


class Gone(ApiError):
    """410: it existed and has ended."""

    status, code = 410, "GONE"


class PreconditionFailed(ApiError):
    """412: the record is no longer the one the client read."""

    status, code = 412, "PRECONDITION_FAILED"


class TooLarge(ApiError):
    """413: a body over its documented limit."""

    status, code = 413, "PAYLOAD_TOO_LARGE"


class RangeNotSatisfiable(ApiError):
    """416: the file has no such part."""

    status, code = 416, "RANGE_NOT_SATISFIABLE"


class UpgradeRequired(ApiError):
    """426: this address speaks WebSocket only."""

    status, code = 426, "UPGRADE_REQUIRED"


class TooManyRequests(ApiError):
    """429: the caller sends more than its limit allows."""

    status, code = 429, "RATE_LIMITED"


class Unavailable(ApiError):
    """503: not now; `Retry-After` says when."""

    status, code = 503, "SERVICE_UNAVAILABLE"


_BY_STATUS = {kind.status: kind for kind in ApiError.__subclasses__()}

CHANGED = "The record has changed since it was read"


def error_of_status(status: int, message: str, headers: Mapping[str, str] | None = None) -> ApiError:
    """The error with this status, with the code of its class (`ERROR` where there is no class for it)."""
    kind = _BY_STATUS.get(status)
    if kind is not None:
        return kind(message, headers=headers)
    error = ApiError(message, code="ERROR", headers=headers)
    error.status = status
    return error


RAISED = (
    ApiError,
    HTTPException,
    tables.RecordNotFound,
    tables.RecordConflict,
    tables.BadCursor,
    tables.Unstorable,
    tables.StorageUnavailable,
    tables.TooManyRecords,
    blobs.BlobNotFound,
)
"""What becomes a response. Everything else is a fault of the app and answers 500, `tables.MissingIndex` too: a list
that no index serves is a mistake in the collection's declaration, and the log says so."""


def api_error(error: Exception) -> ApiError:
    """The response that one of `RAISED` becomes: the one place that knows the errors of the layers below."""
    match error:
        case ApiError():
            return error
        case HTTPException():
            return error_of_status(error.status_code, str(error.detail), error.headers)
        case tables.RecordNotFound():
            return NotFound(f"{error.collection} not found")
        case tables.RecordChanged():
            return PreconditionFailed(CHANGED)
        case tables.RecordConflict():
            return Conflict(f"This {error.field} is already taken" if error.field else str(error))
        case tables.BadCursor():
            return BadRequest("cursor: must come from a Link header")
        case tables.Unstorable():
            return BadRequest(f"{error.field}: {error}")
        case tables.StorageUnavailable():
            return Unavailable("The storage service does not answer", headers={"Retry-After": "5"})
        case tables.TooManyRecords():
            return BadRequest("There are more records than a list can show", code="LIMIT_REACHED")
        case blobs.BlobNotFound():
            return NotFound("File not found")
        case _:
            return ApiError("Internal server error")
