"""OwnPilot: what its operations on records cost, its envelope, and what it adds to the app's start."""

import asyncio
import itertools
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from unittest.mock import AsyncMock, patch

import orjson
from pydantic import TypeAdapter
from starlette.requests import Request

from bench import (
    ownpilot_channels,
    ownpilot_chat,
    ownpilot_data,
    ownpilot_plans,
    ownpilot_triggers,
    ownpilot_workspaces,
)
from bench.figures import Call, Figure, processor_times
from bench.growth import Timed, measured
from bench.memory_tables import MemoryTables
from functions.ownpilot.core import memory_vectors, settings_store, vector_store
from functions.ownpilot.core.audit_log import Subject, events, record_event
from functions.ownpilot.core.budget import budget_of, spans_of_budgets
from functions.ownpilot.core.custom_records import add_record, list_records, search_records
from functions.ownpilot.core.custom_tables import create_table
from functions.ownpilot.core.dates import Span
from functions.ownpilot.core.envelope import OwnpilotEnvelope
from functions.ownpilot.core.expense_figures import Expense, ExpenseCategory, PeriodName
from functions.ownpilot.core.file_archive import zip_stream
from functions.ownpilot.core.files import FileRow, FileStore
from functions.ownpilot.core.habit_records import HabitLog, log_id, logs_of
from functions.ownpilot.core.llm.embedding import DIMENSIONS
from functions.ownpilot.core.owner import Person
from functions.ownpilot.core.profile_store import NewEntry, profile_of, put_entries
from functions.ownpilot.core.tool_context import ToolContext
from functions.ownpilot.core.usage import Price, UsageDays, read_usage, record_usage
from functions.ownpilot.core.vector_store import MemoryVector
from functions.ownpilot.core.vectors import packed, vector_of
from functions.ownpilot.costs.reports import Report, status_of, summary_of
from functions.ownpilot.expenses import expenses, get_expense_summary
from functions.ownpilot.habits import Completion, complete, habits
from functions.ownpilot.memories import Memory, MemoryType, find_memories, memories
from functions.ownpilot.notes import Note, notes
from functions.ownpilot.profile import get_profile
from functions.ownpilot.tools import list_tools
from functions.ownpilot.tools.bodies import ToolShown
from functions.ownpilot.tools.use import use_tool
from infra.emulator import azurite
from infra.emulator.processes import ROOT
from shared import blobs
from shared.tables import close
from shared.tables.client import client
from tests.support.environments import connected

LISTS = {100: (1, 10), 2_000: (2, 80), 10_000: (10, 400)}
"""Records of a list, and the most calls and milliseconds of processor time that it may take."""

EVENTS = (100, *([100_000] if os.environ.get("FULL") else []))
"""100,000 only when asked for: to make them takes minutes."""

OWN_ROWS = (100, 10_000)
MEMORIES = 2_000
EXPENSES = 3_000
HABIT_DAYS = 365
PROFILE_ENTRIES = 300
IMPORTED = 10_000
CALLS = (1_000, *([100_000] if os.environ.get("FULL") else []))

_START = """
import function_app, time
from shared.slices import add_slice
function_app.app.get_functions()
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
start, before = time.process_time(), resident()
import functions.ownpilot
add_slice(function_app.app, "ownpilot", functions.ownpilot.SLICE)
after = resident()
print(time.process_time() - start, (after - before) / 2**20)
"""
"""Measures what this API adds to the import of the others: two whole starts differ by more than that."""


async def run() -> list[Figure]:
    """Measure everything, with tables in memory."""
    figures: list[Figure] = []
    async with connected(AzureWebJobsStorage=azurite.connection_string(1, 2, 3)):
        for size in LISTS:
            figures += await _kept(size)
        for size in EVENTS:
            figures += await _audit(size)
        for size in OWN_ROWS:
            figures += await _own_table(size)
        figures += await _memories()
        figures += [*await _expenses(), *await _habit(), *await _profile()]
        figures += await ownpilot_chat.figures(await _fresh())
        figures += await ownpilot_data.figures(await _fresh())
        figures += await ownpilot_triggers.figures(await _fresh())
        figures += await ownpilot_channels.figures(await _fresh())
        figures += [*await _wire_format(), *await _tools()]
        figures += await _files()
        for size in CALLS:
            figures += await _usage(size)
    figures += [*await ownpilot_plans.figures(), *await ownpilot_workspaces.figures()]
    return [*figures, *await ownpilot_triggers.on_the_host(), *_start()]


async def _fresh() -> Timed:
    await close()
    await client().wire.transport.close()
    client().wire.transport = timed = Timed(MemoryTables())
    return timed


async def _kept(size: int) -> list[Figure]:
    timed, owner = await _fresh(), f"owner {size}"
    own = notes.collection.of(owner)
    made = [await own.insert(Note(title=f"n{number}", content="c" * 100, tags=["a"])) for number in range(size)]
    last = made[-1].id
    figures: list[Figure] = []
    if size == min(LISTS):
        operations: dict[str, tuple[Call, int]] = {
            "create": (lambda: notes.create(owner, {"title": "t", "content": "c"}), 1),
            "get": (lambda: notes.get(owner, last), 1),
            "change": (lambda: notes.toggle(owner, last, "is_pinned"), 2),
        }
        for name, (operation, calls) in operations.items():
            figures += _bounded(await measured(f"a note: {name}", operation, timed), calls, None)
    found = await measured(f"list of {size:,} notes", lambda: notes.list(owner, limit=1000), timed)
    return figures + _bounded(found, *LISTS[size])


def _bounded(figures: list[Figure], calls: int, milliseconds: float | None) -> list[Figure]:
    """The same figures, with these goals."""
    for figure in figures:
        figure.at_most = {"calls": calls, "ms": milliseconds}.get(figure.unit)
    return figures


async def _audit(size: int) -> list[Figure]:
    timed, tool = await _fresh(), Subject("tool", "calculate")
    for number in range(size):
        await record_event("bench", "tool.error" if number % 10 == 0 else "tool.success", tool)
    page = await measured(f"page of {size:,} events", lambda: events.of("bench").page(limit=100), timed)
    where = {"type": "tool.error"}
    filtered = await measured(f"filtered page of {size:,} events", lambda: events.of("bench").page(where), timed)
    return _bounded([*page, *filtered], 2, None)


async def _own_table(size: int) -> list[Figure]:
    """A page of an own table with its total, and a search that reads the whole table."""
    timed, owner = await _fresh(), f"owner {size}"
    columns = [{"name": "title", "type": "text"}, {"name": "servings", "type": "number"}]
    table = await create_table(owner, {"name": "recipes", "displayName": "Recipes", "columns": columns})
    for number in range(size):
        await add_record(owner, table, {"title": f"Recipe {number}", "servings": number % 10})
    page = await measured(f"page of {size:,} rows of an own table", lambda: list_records(owner, table), timed)
    search = lambda: search_records(owner, table, "recipe 7")  # noqa: E731
    return [*_bounded(page, 2, None), *await measured(f"search in {size:,} rows of an own table", search, timed)]


async def _memories() -> list[Figure]:
    timed = await _fresh()
    own = memories.collection.of("bench")
    for number in range(MEMORIES):
        memory = Memory(type=MemoryType.FACT, content=f"Fact {number}: {'c' * 100} word", tags=["a"])
        memory.settle()
        await own.insert(memory)
    found = await measured(
        f"search in {MEMORIES:,} memories", lambda: find_memories("bench", "word fact 7"), timed
    )  # fmt: skip
    return [*_bounded(found, 2, 80), *await _meanings([memory async for memory in own.scan()], timed)]


async def _meanings(kept: list[Memory], timed: Timed) -> list[Figure]:
    """The memories that are nearest to a query, which the model has answered before."""
    random = Random(1)  # noqa: S311
    vectors = {each.id: vector_of([random.gauss(0, 1) for _ in range(DIMENSIONS)]) for each in kept}
    made = [
        MemoryVector(
            id=each.id, created_at=each.created_at, user_id="bench", model="a/b", fingerprint=each.fingerprint,
            vector=packed(vectors[each.id]),
        )
        for each in kept
    ]  # fmt: skip
    await vector_store.write("bench", made, [])
    await settings_store.write("bench", memory_vectors.SETTING, "a/b")
    asked = AsyncMock(return_value=vectors[kept[0].id])
    with patch.object(memory_vectors, "_query_vector", asked):
        search = lambda: memory_vectors.nearest_memories("bench", "fact", kept)  # noqa: E731
        found = await measured(f"the nearest of {len(kept):,} memories by meaning", search, timed)
    return _bounded(found, 2, 60)


async def _expenses() -> list[Figure]:
    """The summary of a year."""
    timed = await _fresh()
    own = expenses.collection.of("bench")
    for number in range(EXPENSES):
        day = date(2025, 1, 1) + timedelta(days=number % 365)
        await own.insert(
            Expense(
                date=day.isoformat(), amount=number + 1, category=[*ExpenseCategory][number % 11],
                description=f"Expense {number}", currency="EUR" if number % 3 else "USD",
            )
        )  # fmt: skip
    year = Span("2025-01-01", "2025-12-31")
    summary = lambda: get_expense_summary(Person("bench"), year, PeriodName.ALL_TIME)  # noqa: E731
    return _bounded(await measured(f"summary of a year with {EXPENSES:,} expenses", summary, timed), 4, 100)


async def _habit() -> list[Figure]:
    """The first completion of a day, of a habit that was done every day of a year."""
    timed = await _fresh()
    habit = await habits.create("bench", {"name": "Read"})
    days = ((date.today() - timedelta(days=number)).isoformat() for number in range(40, HABIT_DAYS))
    for day in days:
        await logs_of("bench", habit.id).insert(HabitLog(id=log_id(day), habit_id=habit.id, date=day, count=1))
    left = (date.today() - timedelta(days=number) for number in range(40))

    async def done() -> None:
        await complete("bench", habit.id, Completion(date=next(left).isoformat()))

    return _bounded(await measured("completion of a habit", done, timed), 4, None)


async def _profile() -> list[Figure]:
    """Reading a profile, and an import."""
    timed = await _fresh()
    await put_entries(
        await profile_of("bench"),
        [NewEntry(category="work", key=f"k{number}", value=f"v{number}") for number in range(PROFILE_ENTRIES)],
    )
    read = await measured(
        f"profile of {PROFILE_ENTRIES} entries", lambda: get_profile(Person("bench")), timed
    )  # fmt: skip
    many = [NewEntry(category="work", key=f"k{number}", value=f"v{number}") for number in range(IMPORTED)]

    async def import_() -> None:
        await put_entries(await profile_of("many"), many)

    return [*_bounded(read, 1, None), *await measured(f"import of {IMPORTED:,} entries", import_, timed)]


async def _usage(size: int) -> list[Figure]:
    """The costs of a year with so many calls of 5 models, on its last day."""
    timed, begin, today = await _fresh(), datetime(2026, 1, 1, tzinfo=UTC), date(2026, 12, 31)
    year, price = UsageDays.of("year", today), Price(2.5, 10)

    async def call(number: int = 0) -> None:
        at = begin + timedelta(days=365 * number / size)
        await record_usage("bench", f"p{number % 2}", f"m{number % 5}", price=price, input_tokens=number, at=at)

    async def costs() -> None:
        budget, usage = await asyncio.gather(budget_of("bench"), read_usage("bench", year, *spans_of_budgets(today)))
        summary_of(usage.total(year), year)
        status_of(budget, usage, today)

    async def shares() -> None:
        Report("year", await read_usage("bench", year, models=True), today).by_model()

    for number in range(size):
        await call(number)
    return [
        *_bounded(await measured(f"{size:,} calls: one more", call, timed), 1, None),
        *_bounded(await measured(f"{size:,} calls: costs of the year", costs, timed), 13, 60),
        *_bounded(await measured(f"{size:,} calls: shares of models", shares, timed), 13, 60),
    ]


async def _wire_format() -> list[Figure]:
    """Making the JSON of 1,000 notes, and the envelope around an answer."""
    shown: TypeAdapter[Any] = TypeAdapter(list[notes.shapes.shown])
    rows = [Note(title=f"n{number}", content="c" * 100, tags=["a"]) for number in range(1000)]
    state = {"request_id": "bench", "started": time.perf_counter()}
    request, envelope = Request({"type": "http", "headers": [], "state": state}), OwnpilotEnvelope()

    async def dump() -> None:
        shown.dump_json(shown.validate_python(rows), by_alias=True, exclude_none=True)

    async def wrap() -> None:
        orjson.loads(envelope.wrap(request, 200, b"{}"))

    taken = await processor_times(5, 20, dump=dump, wrap=wrap)
    return [
        Figure("JSON of 1,000 notes: processor time", 1000 * min(taken["dump"]), "ms", at_most=15),
        Figure("envelope: processor time", 1000 * min(taken["wrap"]), "ms", at_most=0.2),
    ]


async def _tools() -> list[Figure]:
    """The list of all tools as JSON, and a call of one with all that is around it: rules, audit, debug."""
    timed, person, context = await _fresh(), Person("bench"), ToolContext("bench")
    shown: TypeAdapter[Any] = TypeAdapter(list[ToolShown])

    async def list_() -> None:
        shown.dump_json(shown.validate_python(await list_tools(person)), by_alias=True)

    async def call() -> None:
        result = await use_tool(context, "add_note", {"title": "t", "content": "c"})
        assert not result.is_error, result

    taken = await processor_times(5, 20, list_=list_)
    listed = Figure("list of all tools: processor time", 1000 * min(taken["list_"]), "ms", at_most=10)
    return [listed, *_bounded(await measured("a call of a tool", call, timed), 5, 25)]


async def _files() -> list[Figure]:
    """A new file, beside the call for its content; and a ZIP of 100 MB, whose contents come from memory."""
    timed, store, numbers = await _fresh(), FileStore("bench", str(uuid.uuid4())), itertools.count()
    part, megabytes = os.urandom(blobs.CHUNK), 100

    async def stream(*_: Any) -> AsyncIterator[bytes]:
        yield part

    with patch.object(blobs, "put", AsyncMock()), patch.object(blobs, "stream", stream):
        written = await measured("a new file", lambda: store.write(f"f{next(numbers)}", b"content"), timed)
        rows = [
            FileRow(path=f"{number}", size=len(part), sha256="") for number in range(megabytes * 2**20 // len(part))
        ]
        best = 0.0
        for _ in range(3):
            start, size = time.perf_counter(), 0
            async for piece in zip_stream(store, rows):
                size += len(piece)
            best = max(best, size / 2**20 / (time.perf_counter() - start))
    return [*_bounded(written, 3, 15), Figure("a ZIP of 100 MB", best, "MiB/s", at_least=40)]


def _start() -> list[Figure]:
    """What this API adds to import and indexing: the best of five processes."""
    samples: list[tuple[float, float]] = []
    for _ in range(5):
        command, environment = [sys.executable, "-c", _START], {"RUNYARD_APIS": "gateway,stepflow"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        seconds, memory = map(float, done.stdout.split())
        samples.append((seconds, memory))
    return [
        Figure("import of OwnPilot after the others", min(s for s, _ in samples), "s"),
        Figure("import of OwnPilot: growth of memory", min(m for _, m in samples), "MiB"),
    ]
