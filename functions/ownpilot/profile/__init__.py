"""The profile: what the assistant knows of a person, for its prompts."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Body

from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.core.profile_store import (
    QUICK,
    NewEntry,
    Profile,
    address,
    entries,
    entry_id,
    profile_of,
    put_entries,
    put_values,
    summary_of,
)
from functions.ownpilot.core.profile_words import (
    CATEGORIES,
    DOCUMENT,
    GUESTS,
    PAGE,
    Path,
    naming_of,
    shown,
    to_document,
    to_page,
    values_in,
)
from functions.ownpilot.profile.bodies import (
    EntryName,
    Export,
    Import,
    Imported,
    Object,
    ProfileCategory,
    ProfileChange,
    ProfileEntryShown,
    ProfileMeta,
    ProfileShown,
    QuickDone,
    QuickSetup,
    SummaryShown,
)
from shared.http.errors import InvalidRequest
from shared.http.operations import checked
from shared.http.paging import MAX_LIMIT, Paging, paging
from shared.http.routes import options
from shared.http.shapes import Deleted

routes = routes_for("profile")

MOST_MEMBERS = 200_000
"""Members and elements of an import: some twenty for each entry."""


def _shown(profile: Profile) -> ProfileShown:
    values = profile.values()
    meta = ProfileMeta(
        completeness=profile.completeness, total_entries=len(profile.entries),
        last_updated=max((entry.updated_at for entry in profile.entries.values()), default=None),
    )  # fmt: skip
    both = shown(values, DOCUMENT, to_document) | shown(values, PAGE, to_page)
    return ProfileShown.model_validate({"userId": profile.owner, "meta": meta, **both})


def _category(profile: Profile, category: str, limit: int, offset: int) -> ProfileCategory:
    name = naming_of(category)
    own = [entry for entry in profile.in_order if name(entry.place)[0] == category]
    return ProfileCategory(
        category=category, data=shown(profile.values(), [category], name)[category], count=len(own),
        entries=[ProfileEntryShown.model_validate(entry) for entry in own[offset : offset + limit]],
    )  # fmt: skip


def _known(category: str) -> str:
    if category not in CATEGORIES:
        raise InvalidRequest(f"category: must be one of {', '.join(CATEGORIES)}")
    return category


def _replaced(profile: Profile, given: Mapping[str, Object]) -> list[Path]:
    """Return the places that these categories replace: all of theirs, but those in guests' folders only if named."""
    found: list[Path] = []
    for category, data in given.items():
        name = naming_of(category)
        for place in profile.values():
            path = name(place)
            if path[0] == category and (path[:2] not in GUESTS or path[1] in data):
                found.append(place)
    return found


async def _change(owner: str, given: Mapping[str, Object], *, replace: bool) -> Profile:
    profile = await profile_of(owner)
    values = [each for category, data in given.items() for each in values_in(category, data)]
    await put_values(profile, values, _replaced(profile, given) if replace else ())
    return profile


@routes.get("")
async def get_profile(owner: Owner) -> ProfileShown:
    """The profile in both vocabularies. A query for each 1,000 entries."""
    return _shown(await profile_of(owner.id))


@routes.put("")
async def replace_profile(body: ProfileChange, owner: Owner) -> ProfileShown:
    """Replace the categories that the body names.

    `basicInfo.location`, `preferences.lifestyle` and `preferences.social` show what the document has no category for;
    they are replaced only when they are named themselves.
    """
    return _shown(await _change(owner.id, body.given(), replace=True))


@routes.patch("")
async def update_profile(body: ProfileChange, owner: Owner) -> ProfileShown:
    """Set the given values; null deletes one."""
    return _shown(await _change(owner.id, body.given(), replace=False))


@routes.get("/summary")
async def get_profile_summary(owner: Owner) -> SummaryShown:
    """The profile for prompts, without sensitive entries: 100 lines of 300 characters at most."""
    return SummaryShown(summary=summary_of(await profile_of(owner.id)))


@routes.post("/data", status_code=201)
async def set_profile_entry(body: NewEntry, owner: Owner) -> ProfileEntryShown:
    """Store one entry, in place of the one with the same category and key."""
    (entry,) = await put_entries(await profile_of(owner.id), [body])
    return ProfileEntryShown.model_validate(entry)


@routes.delete("/data")
async def delete_profile_entry(body: EntryName, owner: Owner) -> Deleted:
    """Delete the entry with a category and a key."""
    await entries.of(owner.id).delete(entry_id(*address(body.category, body.key)))
    return Deleted()


@routes.get("/export")
async def export_profile(owner: Owner) -> Export:
    """All entries, in the form that an import takes."""
    found = (await profile_of(owner.id)).in_order
    return Export(
        entries=[ProfileEntryShown.model_validate(entry) for entry in found],
        count=len(found),
        exported_at=datetime.now(UTC),
    )


@routes.post("/import", status_code=201)
@options(max_members=MOST_MEMBERS)
async def import_profile(body: Import, owner: Owner) -> Imported:
    """Store the entries of an export, each in place of the one with the same category and key.

    They are stored a hundred at a time; when that was interrupted, or if it is done twice, a repeat leaves the same.
    """
    stored = await put_entries(await profile_of(owner.id), body.entries)
    return Imported(imported=len(stored), message=f"{len(stored)} entries imported")


@routes.post("/quick")
async def set_up_profile(body: QuickSetup, owner: Owner) -> QuickDone:
    """Set what the assistant should know first."""
    values = [(place, value) for name, place in QUICK.items() if (value := getattr(body, name)) not in (None, "")]
    profile = await profile_of(owner.id)
    await put_values(profile, values)
    return QuickDone(updated=len(values), profile=_shown(profile))


@routes.get("/{category}")
async def get_profile_category(
    category: str, owner: Owner, paging: Annotated[Paging, paging(MAX_LIMIT)]
) -> ProfileCategory:
    """One category, in the vocabulary that has it."""
    return _category(await profile_of(owner.id), _known(category), paging.limit, paging.offset)


@routes.put("/{category}")
async def replace_profile_category(
    category: str, body: Annotated[Object, Body(examples=[{"name": "Ann"}])], owner: Owner
) -> ProfileCategory:
    """Replace one category, in the vocabulary that has it."""
    change = checked(ProfileChange, {_known(category): body})
    profile = await _change(owner.id, change.given(), replace=True)
    return _category(profile, category, MAX_LIMIT, 0)
