"""The two vocabularies of a profile, and the one place that each value has.

The web page speaks of `location.home.city`, the API's document of `basicInfo.city`: two names of one place, which is
kept under the page's name. `RULES` translates, in both directions with the same function.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from shared.http.errors import InvalidRequest

Path = tuple[str, ...]
"""A place in a profile: a category, folders, and a name."""

PAGE = ("identity", "location", "lifestyle", "communication", "work", "social", "goals", "aiPreferences")
"""The categories of the web page."""

DOCUMENT = ("basicInfo", "preferences", "communication", "work", "interests", "health", "goals")
"""The categories of the API's document."""

CATEGORIES = tuple(dict.fromkeys((*PAGE, *DOCUMENT)))

# The document's name of a place, and the page's, also for all that lies below it. The first that fits counts; places
# without a rule have one name.
RULES: tuple[tuple[Path, Path], ...] = (
    (("basicInfo", "city"), ("location", "home", "city")),
    (("basicInfo", "country"), ("location", "home", "country")),
    (("basicInfo", "timezone"), ("location", "home", "timezone")),
    (("basicInfo", "location"), ("location",)),
    (("basicInfo",), ("identity",)),
    (("health", "dietaryRestrictions"), ("lifestyle", "eatingHabits", "dietaryRestrictions")),
    (("health", "allergies"), ("lifestyle", "eatingHabits", "allergies")),
    (("health",), ("lifestyle", "health")),
    (("interests", "hobbies"), ("lifestyle", "hobbies")),
    (("interests",), ("lifestyle", "interests")),
    (("preferences", "lifestyle"), ("lifestyle",)),
    (("preferences", "social"), ("social",)),
    (("preferences",), ("aiPreferences",)),
)
_TO_DOCUMENT = tuple((page, document) for document, page in RULES)

GUESTS: frozenset[Path] = frozenset(
    {("basicInfo", "location"), ("preferences", "lifestyle"), ("preferences", "social")}
)
"""Folders of the document for what it has no category of its own for."""

FOLDERS: frozenset[Path] = frozenset(
    {
        *((category,) for category in PAGE),
        ("location", "home"), ("lifestyle", "eatingHabits"), ("lifestyle", "interests"), ("lifestyle", "health"),
    }
)  # fmt: skip
"""The page's places that hold further places. An object anywhere else is one value."""

MAX_NAME = 200


def _translated(path: Path, rules: Iterable[tuple[Path, Path]]) -> Path:
    return next((new + path[len(old) :] for old, new in rules if path[: len(old)] == old), path)


def to_document(place: Path) -> Path:
    """Return the document's name of a place."""
    return _translated(place, _TO_DOCUMENT)


def to_page(place: Path) -> Path:
    """Return the page's name of a place."""
    return place


def place_of(path: Path) -> Path:
    """Return the place that a path of either vocabulary means.

    Also of a path that one of them never shows: `identity.city` is shown as `basicInfo.city`, and so it is
    `location.home.city`.
    """
    return _translated(to_document(_translated(path, RULES)), RULES)


def place_of_key(category: str, key: str) -> Path:
    """Return the place of a key, in which a dot leads into a folder: `home.city` of location. `InvalidRequest`."""
    if category not in CATEGORIES:
        raise InvalidRequest(f"category: must be one of {', '.join(CATEGORIES)}")
    path, rest = (category,), key
    while "." in rest:
        first, _, behind = rest.partition(".")
        if place_of((*path, first)) not in FOLDERS:
            break
        path, rest = (*path, first), behind
    place = place_of((*path, rest))
    if not rest or len(key) > MAX_NAME or place in FOLDERS:
        raise InvalidRequest(f"{category}: {key[:MAX_NAME]!r} is not the name of a value")
    return place


def values_in(category: str, data: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """Yield each value of a category, in either vocabulary, with its place. `InvalidRequest`."""

    def walk(path: Path, members: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
        for name, value in members.items():
            inside = (*path, name)
            if place_of(inside) not in FOLDERS:
                yield place_of_key(category, ".".join(inside[1:])), value
            elif isinstance(value, dict):
                yield from walk(inside, cast("dict[str, Any]", value))
            else:
                raise InvalidRequest(f"{'.'.join(inside)}: must be an object")

    return walk((category,), data)


def shown(values: Mapping[Path, Any], categories: Iterable[str], name: Callable[[Path], Path]) -> dict[str, Any]:
    """Return values by place as nested objects of these categories; `name` gives a place its name there."""
    found: dict[str, Any] = {category: {} for category in categories}
    for place, value in values.items():
        *folders, last = name(place)
        if folders[0] in found:
            inside = found
            for folder in folders:
                inside = inside.setdefault(folder, {})
            inside[last] = value
    return found


def naming_of(category: str) -> Callable[[Path], Path]:
    """Return the vocabulary of a category: the function that names a place in it."""
    return to_page if category in PAGE else to_document
