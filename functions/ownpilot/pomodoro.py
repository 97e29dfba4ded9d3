"""Pomodoro: sessions of work and breaks between them, of which one runs at a time."""

import asyncio
from typing import Annotated

from fastapi import Query
from pydantic import Field

from functions.ownpilot.core import settings_store
from functions.ownpilot.core.dates import today
from functions.ownpilot.core.entry import Given, Moment, Shown
from functions.ownpilot.core.owner import Owner, routes_for
from functions.ownpilot.core.pomodoro_sessions import (
    Minutes,
    NewSession,
    PomodoroSession,
    SessionStatus,
    SessionType,
    end,
    recent_sessions,
    running,
    sessions,
    start,
)
from functions.ownpilot.core.streaks import streaks
from shared import tables
from shared.http.bodies import example
from shared.http.paging import Paging, given, paging
from shared.http.shapes import EMPTY_IS_ABSENT

routes = routes_for("pomodoro")
SETTINGS = f"{settings_store.INTERNAL}pomodoro"


class SessionStop(Given):
    """Why a session is stopped."""

    model_config = example(reason="The telephone rang")

    reason: str | None = None


class SessionShown(Shown):
    """A session; `started_at` is when it began. Members without a value are left out."""

    id: str
    user_id: str
    type: SessionType
    status: SessionStatus
    task_description: str | None = None
    duration_minutes: int
    started_at: Moment
    completed_at: Moment | None = None
    interrupted_at: Moment | None = None
    interruption_reason: str | None = None


class Running(Shown):
    """The session that runs, null when none does."""

    session: SessionShown | None


class Changed(Shown):
    """The session that was started, stopped or completed."""

    session: SessionShown
    message: str


class Sessions(Shown):
    """Part of the sessions, the newest first; `count` is the number of all that match."""

    sessions: list[SessionShown]
    count: int


class DayStats(Shown):
    """What was done on a day: sessions by the day of their end."""

    date: str
    completed_sessions: int
    total_work_minutes: int
    total_break_minutes: int
    interruptions: int


class PomodoroStats(Shown):
    """What was done. Sessions are those of work that were completed; minutes those of completed sessions."""

    total_sessions: int
    total_work_minutes: int
    total_break_minutes: int
    total_interruptions: int
    current_streak: int
    best_streak: int
    today: DayStats


class PomodoroSettings(Given):
    """How long sessions are, in minutes, and what starts by itself."""

    model_config = example(workDuration=50, shortBreakDuration=10)

    work_duration: Minutes = 25
    short_break_duration: Minutes = 5
    long_break_duration: Minutes = 15
    sessions_before_long_break: Annotated[int, Field(ge=1, le=100)] = 4
    auto_start_breaks: bool = False
    auto_start_work: bool = False


class PomodoroSettingsShown(PomodoroSettings):
    """The settings of a person; `updated_at` is null as long as nothing was changed."""

    user_id: str
    updated_at: Moment | None


def shown(session: PomodoroSession) -> SessionShown:
    """Return a session as clients see it."""
    members = session.model_dump(include={*SessionShown.model_fields}, exclude_none=True)
    return SessionShown(started_at=session.created_at, **members)


@routes.get("/session", response_model_exclude_unset=True)
async def get_running_session(owner: Owner) -> Running:
    """The session that runs. One whose time is over runs until it is completed or stopped."""
    session = await running(owner.id)
    return Running(session=shown(session) if session else None)


@routes.post("/session/start", status_code=201, response_model_exclude_unset=True)
async def start_session(body: NewSession, owner: Owner) -> Changed:
    """Start a session, unless one runs."""
    session = await start(owner.id, body)
    return Changed(session=shown(session), message=f"Started: {session.type.replace('_', ' ')}")


@routes.post("/session/stop", response_model_exclude_unset=True)
async def stop_session(body: SessionStop, owner: Owner) -> Changed:
    """Stop the session that runs before its end: it counts as an interruption."""
    session = await end(owner.id, SessionStatus.INTERRUPTED, body.reason)
    return Changed(session=shown(session), message="The session was stopped")


@routes.post("/session/complete", response_model_exclude_unset=True)
async def complete_session(owner: Owner) -> Changed:
    """Complete the session that runs."""
    return Changed(session=shown(await end(owner.id, SessionStatus.COMPLETED)), message="The session is completed")


@routes.get("/history", response_model_exclude_unset=True)
async def list_sessions(
    owner: Owner,
    paging: Annotated[Paging, paging(20)],
    type_: Annotated[list[SessionType] | None, EMPTY_IS_ABSENT, Query(alias="type")] = None,
) -> Sessions:
    """The sessions, the newest first, with the one that runs."""
    page = await paging.page(sessions.of(owner.id), given(type=type_))
    return Sessions(sessions=[*map(shown, page.items)], count=page.total)


@routes.get("/stats")
async def get_pomodoro_stats(owner: Owner) -> PomodoroStats:
    """What was done in all and today, and on how many days in a row a session of work was completed.

    The totals come from counters; streaks and today from the sessions of the last 400 days, 1,000 a query.
    """
    totals, recent = await asyncio.gather(sessions.of(owner.id).totals(), recent_sessions(owner.id))
    by, completed = totals.by("type", "status"), SessionStatus.COMPLETED
    minutes = {kind: int(totals.sum("duration_minutes", type=kind, status=completed)) for kind in SessionType}
    done = [it for it in recent if it.status is completed]
    worked = streaks(day for it in done if it.type is SessionType.WORK and (day := it.ended_on))
    return PomodoroStats(
        total_sessions=by[SessionType.WORK, completed],
        total_work_minutes=minutes[SessionType.WORK],
        total_break_minutes=minutes[SessionType.SHORT_BREAK] + minutes[SessionType.LONG_BREAK],
        total_interruptions=sum(by[kind, SessionStatus.INTERRUPTED] for kind in SessionType),
        current_streak=worked.current(today()), best_streak=worked.longest,
        today=_today([it for it in recent if it.ended_on == today()]),
    )  # fmt: skip


def _today(ended: list[PomodoroSession]) -> DayStats:
    done = [it for it in ended if it.status is SessionStatus.COMPLETED]
    work = [it.duration_minutes for it in done if it.type is SessionType.WORK]
    return DayStats(
        date=today().isoformat(), completed_sessions=len(work), total_work_minutes=sum(work),
        total_break_minutes=sum(it.duration_minutes for it in done) - sum(work), interruptions=len(ended) - len(done),
    )  # fmt: skip


@routes.get("/settings")
async def get_pomodoro_settings(owner: Owner) -> PomodoroSettingsShown:
    """How long sessions are, and what starts by itself."""
    try:
        found = await settings_store.stored_settings.of(owner.id).find("key", SETTINGS)
    except tables.RecordNotFound:
        return PomodoroSettingsShown(user_id=owner.id, updated_at=None)
    return PomodoroSettingsShown(user_id=owner.id, updated_at=found.updated_at, **found.value)


@routes.patch("/settings")
async def update_pomodoro_settings(body: PomodoroSettings, owner: Owner) -> PomodoroSettingsShown:
    """Change the given settings."""
    changed = body.model_dump(exclude_unset=True)

    def merge(setting: settings_store.Setting) -> None:
        setting.value = {**(setting.value or {}), **changed}

    found = await settings_store.change(owner.id, SETTINGS, merge)
    return PomodoroSettingsShown(user_id=owner.id, updated_at=found.updated_at, **found.value)
