"""Sessions of work and breaks as records, and how they begin and end."""

from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from functions.ownpilot.core.entry import Entry, Given, Moment, days
from shared import tables
from shared.http.bodies import example
from shared.http.errors import BadRequest, NotFound
from shared.http.paging import MAX_LIMIT
from shared.tables import Collection

RUNNING = "running"
REMEMBERED = 400
"""Days of which sessions count for streaks."""

Minutes = Annotated[int, Field(ge=1, le=24 * 60)]


class SessionType(StrEnum):
    """What a session is for."""

    WORK = "work"
    SHORT_BREAK = "short_break"
    LONG_BREAK = "long_break"


class SessionStatus(StrEnum):
    """Whether a session runs, and how it ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    INTERRUPTED = "interrupted"


class PomodoroSession(Entry, prefix="pom_"):
    """A session; it stays `running`, a value that one session of a person has, until it is completed or stopped."""

    type: SessionType
    status: SessionStatus = SessionStatus.RUNNING
    task_description: str | None = None
    duration_minutes: int
    completed_at: Moment | None = None
    interrupted_at: Moment | None = None
    interruption_reason: str | None = None
    running: str | None = RUNNING

    @property
    def ended_on(self) -> date | None:
        """The day on which it was completed or stopped, None while it runs."""
        ended = self.completed_at or self.interrupted_at
        return ended.date() if ended else None


sessions = Collection(
    "OwnpilotPomodoros", PomodoroSession, unique=["running"], indexes=["type"], counters=["type", ("type", "status")],
    sums=["duration_minutes"], sums_by=[("type", "status")],
)  # fmt: skip


class NewSession(Given):
    """A session to start."""

    model_config = example(type="work", durationMinutes=25, taskDescription="Write the report")

    type: SessionType
    duration_minutes: Minutes
    task_description: str | None = None


async def start(owner: str, new: NewSession) -> PomodoroSession:
    """Start a session. `BadRequest` SESSION_ACTIVE while another one runs. 1 transaction."""
    session = PomodoroSession(user_id=owner, **dict(new))
    try:
        return await sessions.of(owner).insert(session)
    except tables.RecordConflict as error:
        raise BadRequest("A session is running: stop or complete it first", code="SESSION_ACTIVE") from error


async def running(owner: str) -> PomodoroSession | None:
    """Return the session that runs. 2 point reads, 1 when none does."""
    try:
        return await sessions.of(owner).find("running", RUNNING)
    except tables.RecordNotFound:
        return None


async def end(owner: str, status: SessionStatus, reason: str | None = None) -> PomodoroSession:
    """End the session that runs, as completed or as interrupted. `NotFound` when none does."""
    session = await running(owner)
    if session is None:
        raise NotFound("No session is running")

    def change(it: PomodoroSession) -> None:
        if it.status is not SessionStatus.RUNNING:
            raise NotFound("No session is running")
        it.status, it.running, it.interruption_reason = status, None, reason
        if status is SessionStatus.COMPLETED:
            it.completed_at = datetime.now(UTC)
        else:
            it.interrupted_at = datetime.now(UTC)

    return await sessions.of(owner).update(session, change)


async def recent_sessions(owner: str) -> list[PomodoroSession]:
    """Return the sessions that began in the last 400 days."""
    found: list[PomodoroSession] = []
    cursor: str | None = None
    while True:
        page = await sessions.of(owner).page(
            between=(days(-REMEMBERED)[0], None), limit=MAX_LIMIT, cursor=cursor, total=False
        )
        found += page.items
        cursor = page.cursor
        if cursor is None:
            return found
