"""Whether a condition holds for what a user keeps."""

from datetime import UTC, datetime, timedelta
from typing import Any

from functions.ownpilot.chat.logs import logs
from functions.ownpilot.core.trigger_rules import threshold_of
from functions.ownpilot.goals import Goal, GoalStatus, goals
from functions.ownpilot.memories import memories
from functions.ownpilot.triggers.actions import ORIGIN, SHOWN, active_goals

MAX_DAYS = 36_500

MOST_LINES = 20_000
"""Lines of the log of requests that are looked through, the newest ones."""


async def judge(owner: str, config: dict[str, Any]) -> str:
    """Return in words why a condition holds; nothing when it does not. 1 query for each 1,000 goals, or memories.

    Goals are active ones: `stale_goals` were not changed for some days, an `upcoming_deadline` is within some days,
    `low_progress` is below some percent. `memory_threshold`: there are so many memories or more. `no_activity`: for
    some days the user has sent the assistant no message.
    """
    threshold, now = threshold_of(config), datetime.now(UTC)
    days = timedelta(days=min(threshold, MAX_DAYS))
    match config["condition"]:
        case "memory_threshold":
            count = await memories.collection.of(owner).count()
            return f"There are {count} memories" if count >= threshold else ""
        case "no_activity":
            return "" if await _was_active(owner, now - days) else f"No message was sent for {threshold:g} days"
        case "stale_goals":
            found = [each for each in await _active_goals(owner) if each.updated_at < now - days]
            return _found(found, f"not changed for {threshold:g} days")
        case "upcoming_deadline":
            found = [each for each in await _active_goals(owner) if each.due_date and now <= each.due_date < now + days]
            return _found(found, f"due within {threshold:g} days")
        case _:
            found = [each for each in await _active_goals(owner) if each.progress < threshold]
            return _found(found, f"below {threshold:g} percent")


async def _active_goals(owner: str) -> list[Goal]:
    return [each async for each in goals.collection.of(owner).all({"status": GoalStatus.ACTIVE})]


def _found(found: list[Goal], what: str) -> str:
    more = ", ..." if len(found) > SHOWN else ""
    names = ", ".join(each.title for each in found[:SHOWN])
    return f"{active_goals(len(found))} {what}: {names}{more}" if found else ""


async def _was_active(owner: str, since: datetime) -> bool:
    """Whether a message was sent since then that did not come from a trigger. 1 query for each 250 requests.

    When none of the newest `MOST_LINES` tells, it is taken for granted: nobody is told what may be wrong.
    """
    looked = 0
    async for each in logs.of(owner).all(after=since):
        looked += 1
        if not (each.endpoint or "").startswith(ORIGIN) or looked == MOST_LINES:
            return True
    return False
