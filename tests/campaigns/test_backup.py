"""A backup of many records, and its restore into an emptied user while the host is killed again and again."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

from functions.ownpilot.chat.conversations import ChatMessage, ChatTurn, Conversation, TurnStatus, conversations, turns
from functions.ownpilot.core.audit_log import Subject, record_event
from functions.ownpilot.core.collections import KEPT
from functions.ownpilot.core.custom_records import add_record
from functions.ownpilot.core.custom_tables import create_table
from functions.ownpilot.core.habit_records import HabitLog, log_id, logs_of
from functions.ownpilot.core.usage import Price, record_usage
from functions.ownpilot.database.lines import stored_rows
from functions.ownpilot.expenses import Expense, expenses
from functions.ownpilot.habits import habits
from functions.ownpilot.memories import remember
from functions.ownpilot.notes import Note, notes
from functions.ownpilot.tasks import Task, tasks
from infra.local.environment import Environment
from shared import tables
from tests.support.campaign import Campaign
from tests.support.environments import connected
from tests.support.kills import kill
from tests.support.memory import GROWTH, Peak
from tests.support.ownpilot import OwnPilot, data_of
from tests.support.waiting import eventually

VIEWS = (
    "/notes?limit=1000", "/tasks?limit=1000", "/expenses?limit=1000", "/expenses/summary?period=all_time",
    "/memories?limit=1000", "/custom-data/tables", "/custom-data/tables/rows/records?limit=1000", 
    "/costs/usage?limit=1000", "/habits", "/chat/history?limit=1000", "/dashboard/stats", "/summary",
)  # fmt: skip
AT_ONCE = 32


@pytest.fixture
async def me(stack: Environment) -> AsyncIterator[OwnPilot]:
    """A person who keeps nothing yet, while this process uses the app's storage."""
    async with (
        connected(**stack.app_settings),
        httpx.AsyncClient(base_url=stack.url, timeout=120, trust_env=False) as http,
    ):
        yield OwnPilot(http)


async def fill(me: OwnPilot, number: int) -> None:
    """Keep so many records, of all the ways in which collections are kept."""
    user, part, now = me.user, number // 10, datetime.now(UTC)
    words = "lorem ipsum " * 20
    for first in range(0, 3 * part, 100):
        some = range(first, min(first + 100, 3 * part))
        await notes.collection.of(user).store([Note(user_id=user, title=f"note {n}", content=words) for n in some])
    await tasks.collection.of(user).store(
        [Task(user_id=user, title=f"task {n}", rank="2 none") for n in range(2 * part)]
    )
    await expenses.collection.of(user).store(
        [Expense(user_id=user, amount=1 + n, category="food", description=words) for n in range(part)]  # type: ignore[arg-type]
    )
    habit = await habits.create(user, {"name": "h"})
    days = [date(2020, 1, 1) + timedelta(days=n) for n in range(part // 2)]
    await logs_of(user, habit.id).store([
        HabitLog(
            id=log_id(day.isoformat()), created_at=now, user_id=user, habit_id=habit.id, date=day.isoformat(), count=1
        )
        for day in days
    ])  # fmt: skip
    table = await create_table(user, {
        "name": "rows", "displayName": "r", "columns": [{"name": "title", "type": "text"}],
    })  # fmt: skip
    turn = asyncio.Semaphore(AT_ONCE)

    async def bounded(work: Any) -> None:
        async with turn:
            await work

    price = Price(1, 2)
    await asyncio.gather(
        *(bounded(add_record(user, table, {"title": f"t{n}"})) for n in range(part)),
        *(bounded(remember(user, {"type": "fact", "content": f"fact {n}"})) for n in range(part // 2)),
        *(bounded(record_usage(user, "p", "m", price=price, input_tokens=n)) for n in range(part // 2)),
        *(bounded(record_event(user, "tool.execute", Subject("tool", f"t{n}"))) for n in range(part // 2)),
        *(bounded(_conversation(user, n)) for n in range(part // 4)),
    )


async def _conversation(user: str, number: int) -> None:
    talk = Conversation(user_id=user, title=f"talk {number}", provider="p", model="m", message_count=4)
    await conversations.of(user).insert(talk)
    said = [ChatMessage(role="user", content="q"), ChatMessage(role="assistant", content="a")]
    for _ in range(2):
        await turns.of(talk.id).insert(ChatTurn(user_id=user, status=TurnStatus.DONE, messages=said))


async def rows_of(me: OwnPilot) -> dict[tuple[str, str, str], Any]:
    """Every record that a backup holds, as its columns."""
    found: dict[tuple[str, str, str], Any] = {}
    async for row in stored_rows(me.user, [*KEPT], None):
        found[row.table, row.partition, row.collection.id_of(row.row)] = await row.values()
    return found


async def seen(me: OwnPilot) -> dict[str, Any]:
    return {path: await me.get(path) for path in VIEWS}


async def empty(me: OwnPilot) -> None:
    """Delete all that a backup holds."""
    for table, place in KEPT.items():
        collection: tables.Collection[Any] = tables.collections[table]
        for partition in [] if place.shared else await place.partitions(me.user):
            await collection.of(partition).clear()


async def ended(me: OwnPilot) -> dict[str, Any]:
    """The state of the operations when none runs any more; the host may be starting again."""

    async def state() -> dict[str, Any]:
        with contextlib.suppress(httpx.TransportError):
            answer = await me.send("GET", "/database/operations")
            if answer.status_code == 200:
                return data_of(answer)
        return {"isRunning": True}

    return await eventually(state, until=lambda it: not it["isRunning"], seconds=240)


async def test_a_restore_into_an_emptied_user_brings_everything_back_though_the_host_is_killed(
    me: OwnPilot, stack: Environment, campaign: Campaign
):
    number, kills = campaign.rounds(1_000, 20_000), campaign.rounds(1, 8)
    await fill(me, number)
    small = OwnPilot(me.http)
    await small.send("POST", "/database/backup", json={})  # loads imports
    await ended(small)
    assert stack.host and stack.host.process
    peak = Peak(stack.host.process.pid)
    before = peak.reset()
    made = await me.send("POST", "/database/backup", json={})
    assert made.status_code == 202, made.text
    assert (await ended(me))["lastResult"] == "success"
    assert peak.bytes() - before < GROWTH, "backup"
    saved = await rows_of(me)
    shown = await seen(me)
    assert len(saved) >= number * 0.9
    await empty(me)
    assert {key[0] for key in await rows_of(me)} <= {"OwnpilotDebug"}
    assert await me.get("/notes") == []

    begun = await me.send("POST", "/database/restore", json={"filename": data_of(made)["filename"]})
    assert begun.status_code == 202, begun.text
    for _ in range(kills):
        await asyncio.sleep(campaign.chance.uniform(0.1, 1 if number <= 1_000 else 4))
        await kill(stack, "host")
    done = await ended(me)
    assert (done["operation"], done["lastResult"]) == ("restore", "success"), done
    after = await rows_of(me)
    # The log of events has what was written beside the backup, and that it was restored.
    changed = {key for key in {*saved, *after} if saved.get(key) != after.get(key)}
    assert {key[0] for key in changed} <= {"OwnpilotAudit"} and len(changed) <= 3, Counter(key[0] for key in changed)
    again = await seen(me)
    assert {path for path in VIEWS if again[path] != shown[path]} == set()
    if not campaign.full:
        return
    peak = Peak(stack.host.process.pid)
    before = peak.reset()
    await empty(me)
    await me.send("POST", "/database/restore", json={"filename": data_of(made)["filename"]})
    assert (await ended(me))["lastResult"] == "success"
    assert peak.bytes() - before < GROWTH, "restore"
