"""ETags of records, and `If-Match`: changes only while a record still is the version that was read."""

import re
from typing import Annotated

from fastapi import Depends, Header
from starlette.responses import Response

from shared.tables import Record

_TAG = re.compile(r'(?:W/)?"([^"]*)"')


def show_version(response: Response, record: Record) -> None:
    """Set the response's ETag to the record's version."""
    if record.etag and (match := _TAG.fullmatch(record.etag)):
        response.headers["ETag"] = f'"{match[1]}"'


def _required_version(given: Annotated[str | None, Header(alias="If-Match")] = None) -> str | None:
    if given is None or given.strip() == "*":
        return None
    match = _TAG.fullmatch(given.strip())
    # A text that is not an ETag is the version of no record; whether the record exists is found out first.
    return f'W/"{match[1]}"' if match else given


IfMatch = Annotated[str | None, Depends(_required_version)]
"""Parameter type of a change: the version that the record must have (for `Collection.update`), None for any version."""
