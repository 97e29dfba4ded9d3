"""Contacts: the people whom a person knows."""

from typing import Any

from functions.ownpilot.core.entry import PERSONAL, Entry, Moment
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.bodies import example
from shared.http.resource import resource
from shared.tables import Collection


class Contact(Entry):
    """Someone; `birthday` is a date, or `--MM-DD` without the year."""

    model_config = example(name="Ada Lovelace", company="Analytical Engines", birthday="1815-12-10")

    name: str
    nickname: str | None = None
    email: str | None = None
    phone: str | None = None
    company: str | None = None
    job_title: str | None = None
    avatar: str | None = None
    birthday: str | None = None
    address: str | None = None
    notes: str | None = None
    relationship: str | None = None
    tags: list[str] = []
    is_favorite: bool = False
    external_id: str | None = None
    external_source: str | None = None
    social_links: dict[str, str] = {}
    custom_fields: dict[str, Any] = {}
    last_contacted_at: Moment | None = None


contacts = resource(
    routes_for("contacts"), Collection("OwnpilotContacts", Contact, plain=True), Owner,
    required=("name",),
    filters={"relationship": "relationship", "company": "company", "favorite": "is_favorite"},
    search=("name", "nickname", "email", "phone", "company", "job_title", "relationship", "address", "notes", "tags"),
    order=("-is_favorite", "name"), toggles={"favorite": "is_favorite"}, answers=PERSONAL, put=True,
)  # fmt: skip
routes = contacts.routes
