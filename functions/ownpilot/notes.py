"""Notes: texts that a person keeps."""

from typing import Literal

from functions.ownpilot.core.entry import PERSONAL, Entry
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.bodies import example
from shared.http.resource import resource
from shared.http.shapes import Flag
from shared.tables import Collection


class Note(Entry):
    """A text with a title; archived ones are listed only when asked for."""

    model_config = example(title="Bicycle", content="Frame number 4711", tags=["things"])

    title: str
    content: str
    content_type: Literal["markdown", "text", "html"] = "markdown"
    category: str | None = None
    tags: list[str] = []
    is_pinned: bool = False
    is_archived: bool = False
    color: str | None = None


notes = resource(
    routes_for("notes"), Collection("OwnpilotNotes", Note, plain=True), Owner,
    required=("title", "content"),
    filters={"category": "category", "pinned": "is_pinned", "archived": Flag("is_archived", default=False)},
    search=("title", "content", "tags", "category"), order=("-is_pinned", "-created_at"),
    toggles={"pin": "is_pinned"}, answers=PERSONAL, put=True,
)  # fmt: skip
routes = notes.routes
