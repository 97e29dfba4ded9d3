"""What a person is given when a part of the assistant is used for the first time."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from functions.ownpilot.core import settings_store
from shared.recent import RecentValues

ORIGIN = datetime(2020, 1, 1, tzinfo=UTC)
"""The moment from which the ids of what is given are derived."""

_given: RecentValues[tuple[str, str], bool] = RecentValues(seconds=3600, most=10_000)


async def give_once(owner: str, what: str, give: Callable[[str], Awaitable[object]]) -> None:
    """Call `give` with the owner, once for each `what`: who deletes something does not get it again.

    It may be called again after a crash, or by two requests at once, so the ids of what it stores must be derived.
    2 point reads once an hour; the first time 3 calls more, and those of `give`.
    """
    key = f"{settings_store.INTERNAL}given:{what}"

    async def load() -> bool:
        if not await settings_store.read(owner, key):
            await give(owner)
            await settings_store.write(owner, key, True)
        return True

    await _given.get((owner, what), load)
