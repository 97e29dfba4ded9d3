"""Habits: what a person wants to do again and again, and how often it was done."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Annotated

from functions.ownpilot.core.dates import AskedSpan, Day, today
from functions.ownpilot.core.entry import Given, Moment, Shown
from functions.ownpilot.core.habit_records import Count, Habit, HabitLog, counts_of, log_id, logs_of, rate
from functions.ownpilot.core.owner import Owner, routes_for
from shared import tables
from shared.http.bodies import example
from shared.http.errors import InvalidRequest
from shared.http.paging import MAX_LIMIT, Paging, paging
from shared.http.resource import resource
from shared.http.shapes import Answers, Flag
from shared.tables import Collection

routes = routes_for("habits")
WEEK = 7
MONTH = 30
FIRST = "1970-01-01"
"""The first day that a log may be of."""


async def _delete_logs(owner: str, habit_id: str) -> None:
    if Habit.id_form.row_key(habit_id) is not None:  # another text could name a partition of another user
        await logs_of(owner, habit_id).clear()


habits = resource(
    routes, Collection("OwnpilotHabits", Habit, plain=True), Owner,
    required=("name",), readonly=("streak_longest", "total_completions"),
    filters={"category": "category", "archived": Flag("is_archived", default=False)},
    limit=MAX_LIMIT, settle=Habit.settle, before_delete=_delete_logs, only=("list", "create", "update", "delete"),
    answers=Answers(count="count", item="habit", leave_out=True),
)  # fmt: skip
HabitShown = habits.shapes.shown


class HabitLogShown(Shown):
    """What was done on one day."""

    id: str
    habit_id: str
    date: str
    count: int
    notes: str | None = None
    created_at: Moment
    updated_at: Moment


class HabitLogs(Shown):
    """Part of the logs, the latest day first; `count` is the number of all that match."""

    logs: list[HabitLogShown]
    count: int


class Completion(Given):
    """What was done, by default once and today."""

    model_config = example(count=1, notes="Two chapters")

    date: Day | None = None
    count: Count = 1
    notes: str | None = None


class HabitLine(Shown):
    """One habit in numbers."""

    id: str
    name: str
    streak_current: int
    streak_longest: int
    total_completions: int
    due_today: bool
    completed_today: bool


class HabitStats(Shown):
    """All habits in numbers, and part of the lines of the `active` ones.

    `completion_rate` is the part of those due today that was reached, in whole percent.
    """

    total: int
    active: int
    archived: int
    completed_today: int
    completion_rate: int
    best_streak: int
    habits: list[HabitLine]


class HabitDetails(Shown):
    """A habit with what was done in the last 30 days, and how often in 7 and in 30 days.

    `completion_rate` is the part of the target days of these 30 days that was reached, in whole percent.
    """

    habit: HabitShown
    weekly_completions: int
    monthly_completions: int
    completion_rate: int
    recent_logs: list[HabitLogShown]


class HabitCompleted(Shown):
    """What was done on the day, and the habit with its figures."""

    log: HabitLogShown
    habit: HabitShown
    message: str


async def complete(owner: str, habit_id: str, done: Completion) -> tuple[HabitLog, Habit]:
    """Add to what was done on a day, then count the habit's figures from all of its logs. `RecordNotFound`.

    The log comes first, and the figures are stored only if no other completion has stored some since the logs were
    read. So they are right however many come at once, and the next one makes good for one that was interrupted.
    4 calls, 5 when the day has a log already; and one more for each 1,000 days with logs.
    """
    day = done.date or today().isoformat()
    if not FIRST <= day <= (today() + timedelta(days=1)).isoformat():
        raise InvalidRequest(f"date: must be from {FIRST} to tomorrow")
    collection, own = habits.collection.of(owner), logs_of(owner, habit_id)

    async def read() -> tuple[Habit, dict[str, int]]:
        habit, logs = await asyncio.gather(habits.get(owner, habit_id), _logs(owner, habit_id))
        return habit, counts_of(logs)

    habit, counts = await read()
    log = await _add(own, HabitLog(
        id=log_id(day), created_at=datetime.now(UTC), user_id=owner, habit_id=habit.id, date=day, count=done.count,
        notes=done.notes,
    ), exists=day in counts)  # fmt: skip
    counts[day] = log.count
    try:
        while True:
            try:
                return log, await collection.update(habit, partial(Habit.recount, counts=counts), if_match=habit.etag)
            except tables.RecordChanged:
                habit, counts = await read()
    except tables.RecordNotFound:  # deleted in between, so nobody would find the log again
        await own.clear()
        raise


async def _add(logs: Collection[HabitLog], log: HabitLog, *, exists: bool) -> HabitLog:
    def add(stored: HabitLog) -> None:
        stored.count += log.count
        stored.notes = log.notes or stored.notes

    while True:
        if exists:
            try:
                return await logs.update(log.id, add)
            except tables.RecordNotFound:  # deleted with its habit
                exists = False
        try:
            return await logs.insert(log)
        except tables.RecordConflict:  # another completion was the first of this day
            exists = True


async def _logs(owner: str, habit_id: str) -> list[HabitLog]:
    """Return all logs of a habit, the latest day first. A query for each 1,000 days."""
    return [log async for log in logs_of(owner, habit_id).all()]


@routes.get("/{habit_id}", response_model_exclude_none=True)
async def get_habit(habit_id: str, owner: Owner) -> HabitDetails:
    """A habit with what was done in the last 30 days.

    Target days before the habit's first day do not count for the rate, and today does only when it was reached.
    """
    last = today()
    week, month = (last - timedelta(days=number - 1) for number in (WEEK, MONTH))
    habit, logs = await asyncio.gather(habits.get(owner.id, habit_id), _logs(owner.id, habit_id))
    recent = [log for log in logs if log.date >= month.isoformat()]
    begun = date.fromisoformat(min([habit.created_at.date().isoformat(), *(log.date for log in logs)]))
    return HabitDetails(
        habit=habit, monthly_completions=sum(log.count for log in recent),
        weekly_completions=sum(log.count for log in recent if log.date >= week.isoformat()),
        completion_rate=rate(
            counts_of(recent), habit, max(month, begun), last if habit.is_reached else last - timedelta(days=1)
        ),
        recent_logs=[HabitLogShown.model_validate(log) for log in recent],
    )  # fmt: skip


@routes.get("/{habit_id}/history", response_model_exclude_none=True)
async def list_habit_logs(
    habit_id: str, owner: Owner, span: AskedSpan, paging: Annotated[Paging, paging(30)]
) -> HabitLogs:
    """What was done from `startDate` to `endDate`, the latest day first."""
    _, page = await asyncio.gather(
        habits.get(owner.id, habit_id),
        logs_of(owner.id, habit_id).page(
            between=span.between, order="-date", limit=paging.limit, offset=paging.offset, cursor=paging.cursor
        ),
    )
    paging.link(page)
    return HabitLogs(logs=[HabitLogShown.model_validate(log) for log in page.items], count=page.total)


@routes.post("/{habit_id}/complete", response_model_exclude_none=True)
async def complete_habit(habit_id: str, body: Completion, owner: Owner) -> HabitCompleted:
    """Note that a habit was done. What is done on the same day adds up."""
    log, habit = await complete(owner.id, habit_id, body)
    return HabitCompleted(
        log=HabitLogShown.model_validate(log), habit=habit, message=f"{log.count} of {habit.target_count} on {log.date}"
    )


@routes.get("/stats")
async def get_habit_stats(owner: Owner, paging: Annotated[Paging, paging(MAX_LIMIT)]) -> HabitStats:
    """All habits in numbers, and a line for each that is not archived. A query for each 1,000 habits."""
    found = [habit async for habit in habits.collection.of(owner.id).all()]
    active = [habit for habit in found if not habit.is_archived]
    due, reached = [habit for habit in active if habit.is_due], [habit for habit in active if habit.is_reached]
    return HabitStats(
        total=len(found), active=len(active), archived=len(found) - len(active), completed_today=len(reached),
        completion_rate=round(100 * len(reached) / len(due)) if due else 0,
        best_streak=max((habit.streak_longest for habit in found), default=0),
        habits=[
            HabitLine(
                id=habit.id, name=habit.name, streak_current=habit.streak_current, streak_longest=habit.streak_longest,
                total_completions=habit.total_completions, due_today=habit.is_due, completed_today=habit.is_reached,
            )
            for habit in active[paging.offset : paging.offset + paging.limit]
        ],
    )  # fmt: skip
