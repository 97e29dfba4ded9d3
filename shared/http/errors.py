"""Errors with a status and a code: raised where they are known, rendered once in each API's own shape."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException

from shared import blobs, tables


class ApiError(Exception):
    """A response other than success; `message` and `details` are for the client and must hold no secret.

    `code` names the error for programs; each class has one, and a route may give its own. `details` is JSON; each
    API's renderer decides how to show it.
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
    """401: no credential, or an invalid one."""

    status, code = 401, "UNAUTHORIZED"


class Forbidden(ApiError):
    """403: a known caller who may not do this."""

    status, code = 403, "FORBIDDEN"


class NotFound(ApiError):
    """404: the record does not exist, or the caller may not see it."""

    status, code = 404, "NOT_FOUND"


class MethodNotAllowed(ApiError):
    """405: the path exists, but only with the methods in the `Allow` header."""

    status, code = 405, "METHOD_NOT_ALLOWED"


class Conflict(ApiError):
    """409: the record's current state does not allow the request."""

    status, code = 409, "CONFLICT"


class Gone(ApiError):
    """410: the resource existed and has ended."""

    status, code = 410, "GONE"


class PreconditionFailed(ApiError):
    """412: the record has changed since the client read it."""

    status, code = 412, "PRECONDITION_FAILED"


class TooLarge(ApiError):
    """413: the body is larger than its documented limit."""

    status, code = 413, "PAYLOAD_TOO_LARGE"


class RangeNotSatisfiable(ApiError):
    """416: the requested range is outside the file."""

    status, code = 416, "RANGE_NOT_SATISFIABLE"


class UpgradeRequired(ApiError):
    """426: this address accepts WebSocket connections only."""

    status, code = 426, "UPGRADE_REQUIRED"


class TooManyRequests(ApiError):
    """429: the caller sends more than its limit allows."""

    status, code = 429, "RATE_LIMITED"


class BadGateway(ApiError):
    """502: a service outside, which the request needs, gives no usable answer."""

    status, code = 502, "BAD_GATEWAY"


class Unavailable(ApiError):
    """503: temporarily unavailable; `Retry-After` says when to try again."""

    status, code = 503, "SERVICE_UNAVAILABLE"


_LOCATIONS = ("body", "query", "path", "header")


def invalid_request(errors: Sequence[Any]) -> InvalidRequest:
    """Return the error for what pydantic found in a request; each location begins with the part of the request."""
    details = [{"field": _field(each["loc"]), "message": reason(each)} for each in errors]
    first = details[0]
    message = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
    return InvalidRequest(message, details=details)


def reason(error: Mapping[str, Any]) -> str:
    """Return why pydantic refused a value."""
    return str(error["msg"]).removeprefix("Value error, ")


def _field(location: Sequence[Any]) -> str:
    return ".".join(map(str, location[1:] if location[0] in _LOCATIONS else location))


_BY_STATUS = {kind.status: kind for kind in ApiError.__subclasses__()}

CHANGED = "The record has changed since it was read"


def error_of_status(status: int, message: str, headers: Mapping[str, str] | None = None) -> ApiError:
    """Return an error with this status and the code of its class (`ERROR` for a status without a class)."""
    kind = _BY_STATUS.get(status)
    if kind is not None:
        return kind(message, headers=headers)
    error = ApiError(message, code="ERROR", headers=headers)
    error.status = status
    return error


HANDLED = (
    ApiError,
    HTTPException,
    tables.RecordNotFound,
    tables.RecordConflict,
    tables.BadCursor,
    tables.Unstorable,
    tables.StorageUnavailable,
    tables.TooDeep,
    tables.TooManyRecords,
    blobs.BlobNotFound,
)
"""The exceptions with a response of their own. Every other exception is a fault of the app and becomes a 500, also
`tables.MissingIndex`: a list without an index is a mistake in the collection's declaration, and it is logged."""


def api_error(error: Exception) -> ApiError:
    """Return the API error for one of `HANDLED`: the only place that maps errors of the layers below."""
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
        case tables.TooDeep():
            return BadRequest(
                f"offset: in this order a list reaches {error.limit} records deep; narrow it by a filter, or list the "
                "newest first and follow the Link header",
                code="LIMIT_REACHED",
            )
        case tables.TooManyRecords():
            return BadRequest("There are more records than a list can show", code="LIMIT_REACHED")
        case blobs.BlobNotFound():
            return NotFound("File not found")
        case _:
            return ApiError("Internal server error")
