"""What clients send and see of a profile."""

from typing import Annotated, Any

from pydantic import Field

from functions.ownpilot.core.entry import Given, Moment, Shown
from functions.ownpilot.core.profile_store import NewEntry
from shared.http.bodies import example

MOST_IMPORTED = 10_000

Object = dict[str, Any]


class ProfileChange(Given):
    """The categories to change, in either vocabulary."""

    model_config = example(identity={"name": "Ann"}, preferences={"theme": "dark"})

    identity: Object = {}
    location: Object = {}
    lifestyle: Object = {}
    communication: Object = {}
    work: Object = {}
    social: Object = {}
    goals: Object = {}
    ai_preferences: Object = {}
    basic_info: Object = {}
    preferences: Object = {}
    interests: Object = {}
    health: Object = {}

    def given(self) -> dict[str, Object]:
        """Return the categories that a request names."""
        return self.model_dump(include=self.model_fields_set, by_alias=True)


class ProfileMeta(Shown):
    """Numbers: `completeness` is the part of the quick set-up that is there, in whole percent."""

    completeness: int
    last_updated: Moment | None
    total_entries: int


class ProfileShown(Shown):
    """A profile in both vocabularies, which name the same entries."""

    user_id: str
    identity: Object
    location: Object
    lifestyle: Object
    communication: Object
    work: Object
    social: Object
    goals: Object
    ai_preferences: Object
    basic_info: Object
    preferences: Object
    interests: Object
    health: Object
    meta: ProfileMeta


class SummaryShown(Shown):
    """Lines of plain text."""

    summary: str


class ProfileEntryShown(Shown):
    """One entry, as an import takes it."""

    id: str
    user_id: str
    category: str
    key: str
    value: Any
    data: Any = None
    confidence: float
    source: str
    sensitive: bool
    created_at: Moment
    updated_at: Moment


class ProfileCategory(Shown):
    """A category: all of it as one object, part of its entries, and the number of all of them."""

    category: str
    data: Object
    entries: list[ProfileEntryShown]
    count: int


class EntryName(Given):
    """Which entry is meant."""

    model_config = example(category="identity", key="name")

    category: str
    key: str


class Export(Shown):
    """All entries."""

    entries: list[ProfileEntryShown]
    count: int
    exported_at: Moment


class Import(Given):
    """Entries, as an export has them."""

    model_config = example(entries=[{"category": "identity", "key": "name", "value": "Ann"}])

    entries: Annotated[list[NewEntry], Field(max_length=MOST_IMPORTED)]


class Imported(Shown):
    """How many entries were stored."""

    imported: int
    message: str


class QuickSetup(Given):
    """What the assistant should know first; empty texts are left out."""

    model_config = example(name="Ann", timezone="Europe/Rome", communicationStyle="casual", autonomyLevel="medium")

    name: str | None = None
    nickname: str | None = None
    location: str | None = None
    timezone: str | None = None
    occupation: str | None = None
    language: str | None = None
    communication_style: str | None = None
    autonomy_level: str | int | None = None


class QuickDone(Shown):
    """The number of members that were set, and the profile."""

    updated: int
    profile: ProfileShown
