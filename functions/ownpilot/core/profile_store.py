"""The entries of a profile: what a person has said, or what was found out, about that person."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, cast

from pydantic import AfterValidator, Field, StringConstraints

from functions.ownpilot.core.entry import Entry, Given, Moment
from functions.ownpilot.core.profile_words import MAX_NAME, Path, place_of_key
from shared.http.bodies import example
from shared.http.errors import BadRequest, InvalidRequest
from shared.http.operations import check_size
from shared.settings import settings
from shared.tables.plain import PlainCollection

LISTS: dict[str, Path] = {
    "instructions": ("aiPreferences", "customInstructions"),
    "boundaries": ("aiPreferences", "boundaries"),
}
"""Categories of which each entry is one item of a list, whatever its key is; and the places of these lists."""

_LIST_OF = {place: category for category, place in LISTS.items()}
_ORIGIN = datetime(2020, 1, 1, tzinfo=UTC)

QUICK: dict[str, Path] = {
    "name": ("identity", "name"),
    "nickname": ("identity", "nickname"),
    "location": ("location", "home", "city"),
    "timezone": ("location", "home", "timezone"),
    "occupation": ("work", "occupation"),
    "language": ("communication", "primaryLanguage"),
    "communication_style": ("communication", "preferredStyle"),
    "autonomy_level": ("aiPreferences", "autonomyLevel"),
}
"""The members of the page's quick set-up; a profile that has all of them is complete."""

MOST_LINES = 100
MOST_CHARACTERS = 300


def _not_null(value: Any) -> Any:
    if value is None:
        raise ValueError("must not be null")
    return value


class ProfileEntry(Entry):
    """One value; its id follows from category and key. `confidence` is from 0 to 1, `data` whatever belongs to it."""

    category: str
    key: str
    value: Any
    data: Any = None
    confidence: float = 0.9
    source: str = "user_stated"
    sensitive: bool = False

    @property
    def place(self) -> Path:
        """The place in the profile at which its value is shown."""
        return LISTS.get(self.category) or place_of_key(self.category, self.key)


class NewEntry(Given):
    """An entry to store in place of the one with the same category and key."""

    model_config = example(category="identity", key="name", value="Ann")

    category: str
    key: Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)]
    value: Annotated[Any, AfterValidator(_not_null)]
    data: Any = None
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.9
    source: Annotated[str, StringConstraints(min_length=1, max_length=100)] = "user_stated"
    sensitive: bool = False
    created_at: Moment | None = None


entries = PlainCollection("OwnpilotProfile", ProfileEntry, plain=True)


@dataclass
class Profile:
    """All entries of a person by their ids."""

    owner: str
    entries: dict[str, ProfileEntry]

    @property
    def in_order(self) -> list[ProfileEntry]:
        """The entries by category, the oldest first."""
        return sorted(self.entries.values(), key=lambda each: (each.category, each.created_at, each.key))

    def values(self, *, sensitive: bool = True) -> dict[Path, Any]:
        """Return the values by place; without the `sensitive` ones if these are not wanted."""
        found: dict[Path, Any] = {}
        for entry in self.in_order:
            if sensitive or not entry.sensitive:
                if entry.category in LISTS:
                    found.setdefault(entry.place, []).append(entry.value)
                else:
                    found[entry.place] = entry.value
        return found

    @property
    def completeness(self) -> int:
        """How much of the quick set-up is there, in whole percent."""
        known = self.values()
        return round(100 * sum(place in known for place in QUICK.values()) / len(QUICK))


async def profile_of(owner: str) -> Profile:
    """Return a person's profile. A query for each 1,000 entries."""
    return Profile(owner, {entry.id: entry async for entry in entries.of(owner).all()})


def address(category: str, key: str) -> tuple[str, str]:
    """Return the category and the key under which an entry is kept, in either vocabulary. `InvalidRequest`."""
    if category in LISTS:
        return category, key
    place = place_of_key(category, key)
    if place in _LIST_OF:
        raise InvalidRequest(f"{category}.{key}: each item is an entry of its own, of category {_LIST_OF[place]}")
    return place[0], ".".join(place[1:])


def entry_id(category: str, key: str) -> str:
    """Return the id of the entry with this category and key."""
    return ProfileEntry.derived_id(_ORIGIN, f"{category} {key}")


async def put_entries(profile: Profile, given: Iterable[NewEntry]) -> list[ProfileEntry]:
    """Store entries, and return them; of several with one category and key the last. `InvalidRequest`, `BadRequest`."""
    now = datetime.now(UTC)
    new: dict[str, ProfileEntry] = {}
    for each in given:
        category, key = address(each.category, each.key)
        old = profile.entries.get(entry_id(category, key))
        created_at = old.created_at if old else each.created_at or now
        members = {name: getattr(each, name) for name in ("value", "data", "confidence", "source", "sensitive")}
        entry = _entry(profile.owner, category, key, created_at, now, **members)
        new[entry.id] = entry
    await _store(profile, new, set())
    return [*new.values()]


async def put_values(profile: Profile, given: Iterable[tuple[Path, Any]], replaced: Iterable[Path] = ()) -> None:
    """Set values at places, and delete those at the `replaced` places that are not given; null deletes too.

    An entry whose value stays as it is stays whole. Of different values for one place, the one that is stored does not
    count: a client that sends back what it has read, in both vocabularies, has changed the other one. `InvalidRequest`,
    `BadRequest`.
    """
    before = profile.values()
    wanted = dict.fromkeys(replaced) | _agreed(given, before)
    now = datetime.now(UTC)
    by_place: dict[Path, list[ProfileEntry]] = {}
    for entry in profile.entries.values():
        by_place.setdefault(entry.place, []).append(entry)
    new, gone = dict[str, ProfileEntry](), set[str]()
    for place, value in wanted.items():
        if _text(value) == _text(before.get(place)):
            continue
        old = by_place.get(place, [])
        gone |= {entry.id for entry in old}
        if value is not None and place in _LIST_OF:
            if not isinstance(value, list) or None in value:
                raise InvalidRequest(f"{'.'.join(place)}: must be an array, without null in it")
            secret = {_text(entry.value) for entry in old if entry.sensitive}
            for number, item in enumerate(cast("list[Any]", value)):
                category, key, sensitive = _LIST_OF[place], f"item_{number:05}", _text(item) in secret
                entry = _entry(profile.owner, category, key, now, now, value=item, sensitive=sensitive)
                new[entry.id] = entry
        elif value is not None:
            kept = {"sensitive": old[0].sensitive} if old else {}
            created_at = old[0].created_at if old else now
            entry = _entry(profile.owner, place[0], ".".join(place[1:]), created_at, now, value=value, **kept)
            new[entry.id] = entry
    await _store(profile, new, gone - new.keys())


def _agreed(given: Iterable[tuple[Path, Any]], before: Mapping[Path, Any]) -> dict[Path, Any]:
    candidates: dict[Path, dict[str, Any]] = {}
    for place, value in given:
        candidates.setdefault(place, {})[_text(value)] = value
    agreed: dict[Path, Any] = {}
    for place, values in candidates.items():
        if len(values) > 1:
            values.pop(_text(before.get(place)), None)
        if len(values) > 1:
            raise InvalidRequest(f"{'.'.join(place)}: is given twice, with different values")
        (agreed[place],) = values.values()
    return agreed


def _text(value: Any) -> str:
    """JSON that tells values apart which Python calls equal, such as 1 and true."""
    return json.dumps(value, sort_keys=True)


def _entry(owner: str, category: str, key: str, created_at: datetime, now: datetime, **members: Any) -> ProfileEntry:
    return ProfileEntry(
        id=entry_id(category, key), created_at=created_at, updated_at=now, user_id=owner, category=category, key=key,
        **members,
    )  # fmt: skip


async def _store(profile: Profile, new: dict[str, ProfileEntry], gone: set[str]) -> None:
    after = {entry_id: entry for entry_id, entry in profile.entries.items() if entry_id not in gone} | new
    if len(after) > max(settings().max_records, len(profile.entries)):
        raise BadRequest(f"A profile has at most {settings().max_records} entries", code="LIMIT_REACHED")
    for entry in new.values():
        check_size(entries, entry, ("value", "data"))
    await entries.of(profile.owner).store(new.values(), gone)
    profile.entries = after


def summary_of(profile: Profile) -> str:
    """Return a profile in lines of plain text for prompts, without sensitive entries; what is usual comes first."""
    values = profile.values(sensitive=False)
    places = [*(place for place in QUICK.values() if place in values), *sorted(values.keys() - {*QUICK.values()})]
    return "\n".join(f"{_label(place)}: {_plain(values[place])}"[:MOST_CHARACTERS] for place in places[:MOST_LINES])


def _label(place: Path) -> str:
    words = (re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower() for name in place)
    return _plain(" ".join(words)).capitalize()


def _plain(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case str():
            return " ".join(value.split())
        case list():
            return ", ".join(map(_plain, cast("list[Any]", value)))
        case dict():
            return ", ".join(f"{_plain(name)}: {_plain(each)}" for name, each in cast("dict[str, Any]", value).items())
        case _:
            return str(value)
