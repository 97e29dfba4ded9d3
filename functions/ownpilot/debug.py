"""The debug log as clients read it."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from functions.ownpilot.core.debug_log import DebugEntry, DebugType, entries, is_enabled, switch
from functions.ownpilot.core.entry import Given, Moment, Shown
from functions.ownpilot.core.owner import Owner, routes_for
from shared.http.bodies import Done, example

routes = routes_for("debug")

MOST = 100
Count = Annotated[int, Field(ge=1, description=f"At most {MOST}"), AfterValidator(lambda n: min(n, MOST))]


class DebugEntryShown(Shown):
    """One entry; `duration` is in milliseconds."""

    type: DebugType
    timestamp: Moment
    provider: str | None = None
    model: str | None = None
    duration: float | None = None
    data: dict[str, Any]


class DebugSummary(Shown):
    """The number of all entries that are kept, and of those of each type."""

    total_entries: int
    request_count: int
    error_count: int
    requests: int
    responses: int
    tool_calls: int
    errors: int
    retries: int
    sandbox_executions: int


class DebugLog(Shown):
    """The newest entries, the newest first."""

    enabled: bool
    summary: DebugSummary
    entries: list[DebugEntryShown]


class DebugEntries(Shown):
    """The newest entries, the newest first."""

    count: int
    entries: list[DebugEntryShown]


class DebugSwitch(Given):
    """Without `enabled`, what is on is switched off, and the other way round."""

    model_config = example(enabled=True)

    enabled: bool | None = None


class DebugSwitched(Shown):
    """Whether the log is on now."""

    enabled: bool
    message: str


def _shown(found: Sequence[DebugEntry]) -> list[DebugEntryShown]:
    return [
        DebugEntryShown(
            type=entry.type, timestamp=entry.created_at, provider=entry.provider, model=entry.model,
            duration=entry.duration, data=entry.data,
        )
        for entry in found
    ]  # fmt: skip


@routes.get("", response_model_exclude_none=True)
async def get_debug_log(owner: Owner, count: Count = 50) -> DebugLog:
    """Whether the log is on, what it holds in numbers, and its newest entries."""
    page = await entries.page({"user_id": owner.id}, limit=count)
    by = (await entries.totals({"user_id": owner.id})).by("user_id", "type")
    n = {kind: by[owner.id, kind] for kind in DebugType}
    summary = DebugSummary(
        total_entries=page.total, request_count=n[DebugType.REQUEST], error_count=n[DebugType.ERROR],
        requests=n[DebugType.REQUEST], responses=n[DebugType.RESPONSE], tool_calls=n[DebugType.TOOL_CALL],
        errors=n[DebugType.ERROR], retries=n[DebugType.RETRY], sandbox_executions=n[DebugType.SANDBOX_EXECUTION],
    )  # fmt: skip
    return DebugLog(enabled=await is_enabled(owner.id), summary=summary, entries=_shown(page.items))


@routes.get("/recent", response_model_exclude_none=True)
async def list_recent_debug_entries(owner: Owner, count: Count = 10) -> DebugEntries:
    """The newest entries only."""
    page = await entries.page({"user_id": owner.id}, limit=count)
    return DebugEntries(count=len(page.items), entries=_shown(page.items))


@routes.delete("")
async def clear_debug_log(owner: Owner) -> Done:
    """Delete all entries."""
    return Done(message=f"{await entries.clear({'user_id': owner.id})} debug entries deleted")


@routes.post("/toggle")
async def toggle_debug_log(body: DebugSwitch, owner: Owner) -> DebugSwitched:
    """Switch the log on or off; while it is off, nothing is written."""
    enabled = await switch(owner.id, body.enabled)
    return DebugSwitched(enabled=enabled, message=f"Debug logging is {'on' if enabled else 'off'}")
