"""Bookmarks: addresses that a person keeps."""

from functions.ownpilot.core.entry import PERSONAL, Entry, Moment
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.bodies import example
from shared.http.resource import resource
from shared.tables import Collection


class Bookmark(Entry):
    """An address with a title."""

    model_config = example(url="https://example.com", title="An example", tags=["reading"])

    url: str
    title: str
    description: str | None = None
    favicon: str | None = None
    category: str | None = None
    tags: list[str] = []
    is_favorite: bool = False
    visit_count: int = 0
    last_visited_at: Moment | None = None


bookmarks = resource(
    routes_for("bookmarks"), Collection("OwnpilotBookmarks", Bookmark, plain=True), Owner,
    required=("url", "title"), readonly=("visit_count", "last_visited_at"),
    filters={"category": "category", "favorite": "is_favorite"},
    search=("title", "url", "description", "tags", "category"), order=("-is_favorite", "-created_at"),
    toggles={"favorite": "is_favorite"}, answers=PERSONAL, put=True,
)  # fmt: skip
routes = bookmarks.routes
