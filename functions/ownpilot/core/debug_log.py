"""The debug log: the latest requests to models, calls of tools and errors, while it is switched on."""

import contextlib
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, cast

from functions.ownpilot.core import settings_store
from functions.ownpilot.core.audit_log import redacted
from functions.ownpilot.core.entry import Entry
from shared import tables
from shared.faults import Sweep
from shared.recent import RecentValues
from shared.redaction import Redactor
from shared.tables import Collection
from shared.workflows import WorkflowClient

PREVIEW = 100
"""Characters of a text that the log keeps."""

KEPT = timedelta(days=1)
ENABLED = f"{settings_store.INTERNAL}debug"


class DebugType(StrEnum):
    """What an entry tells of."""

    REQUEST = "request"
    RESPONSE = "response"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    ERROR = "error"
    RETRY = "retry"
    SANDBOX_EXECUTION = "sandbox_execution"


class DebugEntry(Entry):
    """One line of the log; `duration` is in milliseconds."""

    type: DebugType
    provider: str | None = None
    model: str | None = None
    duration: float | None = None
    data: dict[str, Any] = {}


# One partition for all users, so that the hourly purge finds the old entries of everyone.
entries = Collection(
    "OwnpilotDebug",
    DebugEntry,
    indexes=["user_id", ("user_id", "type")],
    counters=[("user_id", "type"), "user_id"],
    view=[name for name in DebugEntry.model_fields if name != "id"],
)
_enabled: RecentValues[str, bool] = RecentValues()


async def is_enabled(owner: str) -> bool:
    """Whether the log of a user is switched on; another instance may have switched it 5 seconds ago."""

    async def load() -> bool:
        return await settings_store.read(owner, ENABLED) is not False

    return await _enabled.get(owner, load)


async def switch(owner: str, enabled: bool | None) -> bool:
    """Switch the log of a user on or off, None: to what it is not; return what it is now."""
    now = True

    def flip(setting: settings_store.Setting) -> None:
        nonlocal now
        setting.value = now = setting.value is False if enabled is None else enabled

    await settings_store.change(owner, ENABLED, flip)
    _enabled.forget(owner)
    return now


async def record_debug(
    owner: str,
    type_: DebugType,
    data: dict[str, Any],
    *,
    provider: str | None = None,
    model: str | None = None,
    duration: float | None = None,
) -> None:
    """Write one entry, unless the log is switched off. Secrets are masked, and texts are cut to 100 characters."""
    if await is_enabled(owner):
        shown = cast("dict[str, Any]", _previews(redacted(data)))
        await entries.insert(
            DebugEntry(user_id=owner, type=type_, provider=provider, model=model, duration=duration, data=shown)
        )


def _previews(value: Any) -> Any:
    match value:
        case str():
            redactor = Redactor([])
            masked = (redactor.feed(value.encode()) + redactor.finish()).decode("utf-8", "replace")
            return masked if len(masked) <= PREVIEW else f"{masked[:PREVIEW]}..."
        case dict():
            return {name: _previews(each) for name, each in cast("dict[str, Any]", value).items()}
        case list():
            return [_previews(each) for each in cast("list[Any]", value)]
        case _:
            return value


async def purge_debug_log(workflows: WorkflowClient) -> str:
    """Every hour: delete the entries of the debug log that are older than a day."""
    count = 0
    async with Sweep("deleting old debug entries") as sweep:
        async for entry in entries.all(before=datetime.now(UTC) - KEPT):
            with sweep.item(entry.id), contextlib.suppress(tables.RecordNotFound):
                await entries.delete(entry.id)
                count += 1
    return f"deleted {count} debug entries"
