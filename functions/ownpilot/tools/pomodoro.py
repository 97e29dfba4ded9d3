"""The tools of the plugin that starts and ends sessions of work."""

from datetime import UTC, datetime, timedelta
from typing import Any

from functions.ownpilot import pomodoro as room
from functions.ownpilot.core import pomodoro_sessions as store
from functions.ownpilot.core.owner import Person
from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.tools.parameters import Short
from functions.ownpilot.tools.plugin_tool import plugin_tool

PLUGIN = "pomodoro"


@plugin_tool(PLUGIN, tags=("focus", "timer", "work"))
async def pomodoro_start(context: ToolContext, task: Short | None = None) -> dict[str, Any]:
    """Start a session of work, as long as the user's settings say. One session runs at a time."""
    settings = await room.get_pomodoro_settings(Person(context.owner))
    new = store.NewSession(type=store.SessionType.WORK, duration_minutes=settings.work_duration, task_description=task)
    return {"session": _shown(await store.start(context.owner, new))}


@plugin_tool(PLUGIN, tags=("focus", "timer", "left"))
async def pomodoro_status(context: ToolContext) -> dict[str, Any]:
    """Tell which session runs, and how many minutes are left of it; 0 when its time is over."""
    session = await store.running(context.owner)
    if session is None:
        return {"running": False}
    return {"running": True, "session": _shown(session), "minutesLeft": _minutes_left(session)}


@plugin_tool(PLUGIN, tags=("focus", "timer", "end"))
async def pomodoro_stop(context: ToolContext) -> dict[str, Any]:
    """End the session that runs. It is completed when its time is over, else it counts as an interruption."""
    session = await store.running(context.owner)
    is_over = session is not None and _minutes_left(session) == 0
    status = store.SessionStatus.COMPLETED if is_over else store.SessionStatus.INTERRUPTED
    return {"session": _shown(await store.end(context.owner, status))}


def _minutes_left(session: store.PomodoroSession) -> float:
    end = session.created_at + timedelta(minutes=session.duration_minutes)
    return max(0.0, round((end - datetime.now(UTC)) / timedelta(minutes=1), 1))


def _shown(session: store.PomodoroSession) -> dict[str, Any]:
    return room.shown(session).model_dump(mode="json", by_alias=True, exclude_none=True)
