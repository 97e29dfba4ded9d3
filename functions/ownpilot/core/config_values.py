"""The values that a person has configured for a service, secrets included."""

from typing import Any

from functions.ownpilot.core.config_store import default_of, with_entries
from shared.http.errors import NotFound


async def values_of(owner: str, name: str) -> dict[str, Any] | None:
    """Return the values of a service's default entry, its schema's defaults where it has none. `SealBroken`.

    None when there is no such service, or it is not active, or has no active entry with a value. A query and 1 or 2
    point reads at once.
    """
    try:
        service, entries = await with_entries(owner, name)
    except NotFound:
        return None
    usable = [each for each in entries if each.is_active and each.has_values]
    if not service.is_active or not usable:
        return None
    default = default_of(service, usable)
    chosen = next(each for each in usable if each.id == default)
    defaults = {each.name: each.default_value for each in service.config_schema}
    given = {**chosen.data, **chosen.secrets()}
    return {name: value for name, value in {**defaults, **given}.items() if value not in (None, "")}
