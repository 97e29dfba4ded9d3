"""Records of every API: each operation compared with the bare storage calls that it needs, and some with the SDK."""

import asyncio
import statistics
from collections.abc import Sequence
from datetime import timedelta
from itertools import count

from bench.figures import Call, Figure, processor_times
from bench.raw import Bare, Recording, Sdk
from bench.samples import RUNS, SAMPLES, SPAN, START, Sample
from bench.services import storage
from shared.tables import Collection, Record
from shared.tables.client import client
from shared.tables.ids import new_id
from tests.support.records import Counting

FILLED, ROUNDS, SECONDS = 500, 7, 0.012
"""Each kind of call is repeated for about so many seconds of processor time in each round."""

_PARTITION = "bench"


class Note(Record):
    """A short text."""

    title: str
    body: str = "a body of a few words"


class Numbered(Record, numbered=True):
    """A record whose id is a number."""

    title: str


class Unnumbered(Record):
    """The same with an id of the usual kind."""

    title: str


async def run() -> list[Figure]:
    """Measure everything on a new emulator; the ratios are of processor time to that of the bare signed requests."""
    async with storage():
        bare = Bare()
        async with bare.http:
            figures = [figure for sample in SAMPLES for figure in await _operations(sample, bare)]
        return [*figures, *await _sdk(), *await _numbers_and_ranges(), *await _search()]


async def _operations(sample: Sample, bare: Bare) -> list[Figure]:
    records = sample.of(_PARTITION)
    ids = await sample.fill(records, FILLED)
    row = records.columns.typed((await records.read(ids[0])).row)
    numbers = count(FILLED)
    made = iter([sample.new(START + SPAN, number) for number in range(FILLED, 2 * FILLED)])

    async def create() -> None:
        await records.insert(next(made))

    async def update() -> None:
        number = next(numbers)
        await records.update(ids[1], lambda record: sample.change(record, number))

    operations: list[tuple[str, Call, float | None]] = [
        ("get", lambda: records.get(ids[0]), 1.3),
        ("create", create, 1.5),
        ("update that changes an index", update, 1.5),
        ("page of 50", lambda: records.page(limit=50), 1.6),
        ("filtered page of 50", lambda: records.page(sample.where, limit=50), None),
        ("page of 500", lambda: records.page(limit=500), None),
        ("page of 50 at half", lambda: records.page(limit=50, offset=FILLED // 2), None),
        ("totals", records.totals, None),
    ]
    figures: list[Figure] = []
    session = client()
    for name, operation, goal in operations:
        await operation()
        recording = session.wire.transport = Recording(session.wire.transport)
        await operation()
        session.wire.transport = recording.inner
        sizes = [body.count(b"HTTP/1.1\r\n") for body in recording.transactions]

        async def same(reads: list[str] = recording.reads, sizes: list[int] = sizes) -> None:
            await bare.read(reads)
            for size in sizes:
                rows = [{**row, "RowKey": f"x~{new_id()}"} for _ in range(size)]
                await bare.transaction(records.table, _PARTITION, rows)

        calls = f"{len(recording.reads)} reads, {sum(sizes)} rows written"
        figures += await _ratios(f"{sample.name}: {name} ({calls})", goal, bare=same, own=operation)
    return figures


async def _ratios(name: str, goal: float | None, *, bare: Call, **kinds: Call) -> list[Figure]:
    """The processor time of the bare calls, and how many times as much the other kinds take: medians over rounds."""
    once = await processor_times(1, 3, bare=bare)
    taken = await processor_times(ROUNDS, max(2, round(SECONDS / once["bare"][0])), bare=bare, **kinds)
    figures = [Figure(f"{name}: bare", 1e6 * statistics.median(taken["bare"]), "us")]
    for kind in kinds:
        figures.append(Figure(f"{name}: {kind}", _ratio(taken, kind, "bare"), "x bare", goal))
    return figures


def _ratio(taken: dict[str, list[float]], kind: str, base: str) -> float:
    """The median of the ratios of two kinds in each round."""
    return statistics.median(own / other for own, other in zip(taken[kind], taken[base], strict=True))


async def _sdk() -> list[Figure]:
    """What the SDK takes for calls as they are above."""
    records = RUNS.of(_PARTITION)
    ids = [record.id for record in (await records.page(limit=1)).items]
    row = records.columns.typed((await records.read(ids[0])).row)
    bare, sdk = Bare(), Sdk(records.table, _PARTITION)

    def rows() -> list[dict[str, object]]:
        return [{**row, "RowKey": f"x~{new_id()}"} for _ in range(10)]

    key = str(row["RowKey"])
    path = f"{records.table}(PartitionKey='{_PARTITION}',RowKey='{key}')"
    where = f"PartitionKey%20eq%20'{_PARTITION}'%20and%20RowKey%20ge%20'r~'%20and%20RowKey%20lt%20'r~~'"
    page = f"{records.table}()?$filter={where}&$top=50"
    pairs: Sequence[tuple[str, Call, Call]] = [
        ("a row", lambda: bare.read([path]), lambda: sdk.get(key)),
        ("50 rows", lambda: bare.read([page]), lambda: sdk.page("r~", 50)),
        (
            "a transaction of 10 rows",
            lambda: bare.transaction(records.table, _PARTITION, rows()),
            lambda: sdk.transaction(rows()),
        ),
    ]
    async with bare.http, sdk.client:
        return [
            figure
            for name, raw, theirs in pairs
            for figure in await _ratios(f"azure-data-tables: {name}", None, bare=raw, SDK=theirs)
        ]


async def _numbers_and_ranges() -> list[Figure]:
    """Creates with numbers as ids, and pages of a range of time, against the usual ones."""
    plain, numbered = Collection("BenchUnnumbered", Unnumbered), Collection("BenchNumbered", Numbered)
    records, day = RUNS.of(_PARTITION), (START, START + timedelta(days=2))
    await plain.insert(Unnumbered(title="a"))
    await numbered.insert(Numbered(title="a"))
    creates = await processor_times(
        ROUNDS, 10, usual=lambda: plain.insert(Unnumbered(title="a")), own=lambda: numbered.insert(Numbered(title="a"))
    )
    pages = await processor_times(
        ROUNDS, 10, usual=lambda: records.page(limit=50), own=lambda: records.page(limit=50, between=day)
    )
    return [
        Figure("a create with a number, relative to one without", _ratio(creates, "own", "usual"), "x"),
        Figure("a page of a range of time, relative to one of all", _ratio(pages, "own", "usual"), "x"),
    ]


async def _search() -> list[Figure]:
    """A search of 10,000 plain records: what a list of a person's own records costs at most."""
    notes = Collection("BenchSearch", Note, plain=True)
    for first in range(0, 10_000, 200):
        await asyncio.gather(*(notes.insert(Note(title=f"Note {n}")) for n in range(first, first + 200)))
    counting = Counting(client().wire.transport)
    client().wire.transport = counting
    taken = await processor_times(1, 1, search=lambda: notes.search("note 7", ["title", "body"]))
    client().wire.transport = counting._inner
    return [
        Figure("search of 10,000 plain records: processor time", 1000 * taken["search"][0], "ms"),
        Figure("search of 10,000 plain records", counting.calls.total(), "calls"),
    ]
