"""The base of what is kept for a person, and of bodies: camelCase and milliseconds on the wire, snake_case inside."""

import json
import re
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from shared.http.bodies import RequestBody, ResponseBody
from shared.http.json import not_blank
from shared.http.shapes import Answers
from shared.tables import Record

CAMEL = ConfigDict(alias_generator=to_camel, validate_by_name=True)

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}.*)?", re.DOTALL)


def moment(given: Any) -> Any:
    """Return the moment in UTC; a date is its midnight, and a time without a zone is one of UTC. ValueError."""
    if isinstance(given, datetime):
        return given
    if not isinstance(given, str) or not _DATE.fullmatch(given):
        raise ValueError("must be a date or a time in ISO 8601, such as 2026-01-31T09:00:00Z")
    try:
        found = datetime.fromisoformat(given)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be a date or a time that exists, such as 2026-01-31T09:00:00Z") from None


def iso(at: datetime) -> str:
    """Return a moment as clients see it: UTC, with milliseconds and `Z`."""
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def web_address(text: str) -> str:
    """Return an address of http or https without a slash at its end. ValueError, also when it holds a credential."""
    invalid = ValueError("must be an address that begins with http:// or https://")
    try:
        parts = urlsplit(text.strip())
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise invalid from None
    if not is_valid or not re.fullmatch(r"[!-~]{1,500}", text.strip()):
        raise invalid
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must be an address without user name, query and fragment")
    return parts.geturl().rstrip("/")


NotBlank = Annotated[
    str, StringConstraints(max_length=200), BeforeValidator(lambda it: not_blank(it) if isinstance(it, str) else it)
]
"""A name: at most 200 characters, and not only white space."""

MAX_CONFIG = 10_000
"""Characters that an object of a client's own may have as JSON."""


def json_within(most: int) -> Any:
    """Return the validator of a value that has at most so many characters as JSON."""

    def check(value: Any) -> Any:
        if len(json.dumps(value)) > most:
            raise ValueError(f"must be at most {most} characters of JSON")
        return value

    return AfterValidator(check)


Config = Annotated[dict[str, Any], json_within(MAX_CONFIG)]
"""An object of a client's own, which many requests read."""

BaseUrl = Annotated[str, AfterValidator(web_address)]
"""Where a server is reached."""

Moment = Annotated[
    datetime,
    BeforeValidator(moment),
    PlainSerializer(iso, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A moment on the wire."""


def days(first: int = 0, last: int | None = None) -> tuple[datetime, datetime]:
    """Return the range of moments of these days (UTC), the last one included; 0 is today, 1 tomorrow."""
    midnight = datetime.combine(datetime.now(UTC).date(), time(), UTC)
    return midnight + timedelta(days=first), midnight + timedelta(days=1 + (first if last is None else last))


class Entry(Record):
    """Something that is kept for a person, in the person's own partition."""

    model_config = CAMEL

    user_id: str = "default"
    created_at: Moment = Field(default_factory=Record.model_fields["created_at"].default_factory)  # type: ignore[arg-type]
    updated_at: Moment = Field(default_factory=Record.model_fields["updated_at"].default_factory)  # type: ignore[arg-type]


class Given(RequestBody):
    """A body that a client sends."""

    model_config = CAMEL


class Shown(ResponseBody):
    """A body that a client receives."""

    model_config = CAMEL


PERSONAL = Answers(items=None, deleted=True, leave_out=True)
"""The answers about personal things: lists are bare arrays, and members without a value are left out."""
