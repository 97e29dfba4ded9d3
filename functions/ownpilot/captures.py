"""Captures: thoughts that a person jots down, to be made a task, a note or a bookmark of later."""

import contextlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

from fastapi import Query
from pydantic import Field

from functions.ownpilot.bookmarks import bookmarks
from functions.ownpilot.core.capture_kinds import CaptureType, kind_of
from functions.ownpilot.core.entry import Entry, Given, Moment, Shown
from functions.ownpilot.core.links import links_in
from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.notes import notes
from functions.ownpilot.tasks import tasks
from shared import tables
from shared.http.bodies import example
from shared.http.errors import Conflict, InvalidRequest
from shared.http.operations import Resource
from shared.http.paging import Paging, given, paging
from shared.http.resource import resource
from shared.http.shapes import EMPTY_IS_ABSENT, Answers
from shared.tables import Collection, Page
from shared.tables.page import Place

routes = routes_for("captures")
TITLE = 100
"""Characters of the title of what a capture becomes."""


class ProcessedAs(StrEnum):
    """What became of a capture."""

    NOTE = "note"
    TASK = "task"
    BOOKMARK = "bookmark"
    DISCARDED = "discarded"


class QuickCapture(Entry, prefix="cap_"):
    """A thought; `processed_as_id` is the task, note or bookmark that it became.

    `found_url` is the address in its content: as long as `url` is this one, it follows a change of the content.
    """

    model_config = example(content="What if the garden had a pond?", tags=["garden"])

    content: str
    type: CaptureType | None = None
    tags: list[str] = []
    source: str | None = None
    url: str | None = None
    processed: bool = False
    processed_as_type: ProcessedAs | None = None
    processed_as_id: str | None = None
    processed_at: Moment | None = None
    found_url: str | None = Field(default=None, exclude=True)

    def settle(self) -> None:
        """Find out its type and its address, unless they are given."""
        self.type = self.type or kind_of(self.content)
        found = next(links_in(self.content), None)
        if not self.url or self.url == self.found_url:
            self.url = found
        self.found_url = found


captures = resource(
    routes, Collection("OwnpilotCaptures", QuickCapture, plain=True), Owner,
    required=("content",), readonly=("processed", "processed_as_type", "processed_as_id", "processed_at"),
    settle=QuickCapture.settle, only=("get", "update", "delete"), answers=Answers(leave_out=True),
)  # fmt: skip
NewCapture = captures.shapes.new
CaptureShown = captures.shapes.shown


class Processing(Given):
    """What a capture is to become."""

    model_config = example(processedAsType="note")

    processed_as_type: ProcessedAs


class Captures(Shown):
    """Part of the captures, the newest first; `count` is the number of all that match."""

    captures: list[CaptureShown]
    count: int
    limit: int
    offset: int


class CaptureKept(Shown):
    """The new capture, and the number of all that are not processed."""

    capture: CaptureShown
    inbox_count: int
    message: str


class CaptureProcessed(Shown):
    """The capture, with what it has become."""

    capture: CaptureShown
    message: str


class _Target(NamedTuple):
    """Where a capture goes, and as what."""

    resource: Resource[Any]
    values: dict[str, Any]


def _target(capture: QuickCapture, wanted: ProcessedAs) -> _Target | None:
    """Return what a capture becomes, None for one that is discarded. `InvalidRequest`: a bookmark needs an address."""
    content, tags = capture.content, capture.tags
    title = next(line.strip() for line in content.splitlines() if line.strip())[:TITLE]
    match wanted:
        case ProcessedAs.NOTE:
            return _Target(notes, {"title": title, "content": content, "tags": tags})
        case ProcessedAs.TASK:
            return _Target(tasks, {"title": title, "description": None if title == content else content, "tags": tags})
        case ProcessedAs.BOOKMARK:
            if not capture.url:
                raise InvalidRequest("processedAsType: this capture has no address, which a bookmark needs")
            about = None if title == content else content
            return _Target(bookmarks, {"url": capture.url, "title": title, "description": about, "tags": tags})
        case ProcessedAs.DISCARDED:
            return None


async def process(owner: str, capture_id: str, wanted: ProcessedAs) -> QuickCapture:
    """Make a task, a note or a bookmark of a capture, or discard it. `RecordNotFound`; `Conflict` when it was done.

    The new record comes first; its id follows from the capture, so a repeat after a crash finds it instead of making
    another one. 3 calls.
    """
    capture = await captures.get(owner, capture_id)
    _check_open(capture)
    target, made = _target(capture, wanted), None
    if target:
        with tables.repeatable(capture.created_at, lambda: capture.id):
            made = await target.resource.create(owner, target.values)

    def mark(it: QuickCapture) -> None:
        if it.processed and target and made and it.processed_as_id != made.id:
            raise _BecameAnother
        _check_open(it)
        it.processed, it.processed_as_type, it.processed_at = True, wanted, datetime.now(UTC)
        it.processed_as_id = made.id if made else None

    try:
        return await captures.collection.of(owner).update(capture, mark)
    except _BecameAnother:  # another request has made something else of it in the meantime
        assert target and made
        with contextlib.suppress(tables.RecordNotFound):
            await target.resource.delete(owner, made.id)
        raise _was_processed() from None


class _BecameAnother(Exception):
    """The capture has become something else."""


def _was_processed() -> Conflict:
    return Conflict("This capture was processed already")


def _check_open(capture: QuickCapture) -> None:
    if capture.processed:
        raise _was_processed()


async def find(owner: str, where: dict[str, object], tag: str | None, paging: Paging) -> Page[QuickCapture]:
    """Return a page of the captures that match and have this tag, the newest first. A query for each 1,000."""
    if not tag:
        return await captures.list(owner, where, limit=paging.limit, offset=paging.offset, cursor=paging.cursor)
    found = [each async for each in captures.collection.of(owner).scan(where) if tag in each.tags]
    first = Place.offset_of(paging.cursor) if paging.cursor else paging.offset
    end = first + paging.limit
    return Page(found[first:end], str(Place(offset=end)) if end < len(found) else None, total=len(found))


@routes.get("", response_model_exclude_none=True)
async def list_captures(
    owner: Owner,
    paging: Annotated[Paging, paging(20)],
    type_: Annotated[list[CaptureType] | None, EMPTY_IS_ABSENT, Query(alias="type")] = None,
    tag: str | None = None,
    processed: Annotated[bool | None, EMPTY_IS_ABSENT, Query()] = None,
) -> Captures:
    """The captures that match, the newest first."""
    page = await find(owner.id, given(type=type_, processed=processed), tag, paging)
    paging.link(page)
    return Captures(captures=page.items, count=page.total, limit=paging.limit, offset=paging.offset)


@routes.post("", status_code=201, response_model_exclude_none=True)
async def create_capture(body: NewCapture, owner: Owner) -> CaptureKept:
    """Keep a thought. Its type and its address are found out when they are absent."""
    capture = await captures.create(owner.id, body)
    count = await captures.collection.of(owner.id).count({"processed": False})
    return CaptureKept(capture=capture, inbox_count=count, message=f"Captured: {capture.type}")


@routes.post("/{capture_id}/process", response_model_exclude_none=True)
async def process_capture(capture_id: str, body: Processing, owner: Owner) -> CaptureProcessed:
    """Make a task, a note or a bookmark of a capture, or discard it."""
    capture = await process(owner.id, capture_id, body.processed_as_type)
    return CaptureProcessed(capture=capture, message=f"Processed: {body.processed_as_type}")
