"""The main list of each API as it grows: storage calls, rows, and this process's processor time without storage's."""

import functools
import os
import time
from dataclasses import dataclass, field
from datetime import timedelta

from bench.figures import Call, Figure
from bench.memory_tables import MemoryTables
from bench.samples import MAIN, RUNS, SPAN, START, Sample
from functions.gateway.dashboard import get_metrics
from infra.emulator import azurite
from shared.api_keys import Client
from shared.tables import TooDeep, close
from shared.tables.client import client
from shared.tables.reading import MAX_PASSED
from shared.tables.wire import WireResponse
from tests.support.environments import connected
from tests.support.records import Counting

SIZES = (1_000, 10_000, *([100_000] if os.environ.get("FULL") else []))
"""100,000 only when asked for: to make and store them takes minutes."""

DEEP = 50_000
"""An offset in an order by a changing value, where a list passes over at most `MAX_PASSED` rows."""

ROUNDS = 5

_ME = Client(name="bench", key_hash="")


@dataclass
class Timed:
    """A transport that measures the processor time of the tables, which is not the app's."""

    inner: MemoryTables
    used: float = field(default=0.0)

    async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
        start = time.process_time()
        answer = await self.inner.send(method, url, headers, body)
        self.used += time.process_time() - start
        return answer

    async def close(self) -> None:
        await self.inner.close()


async def run() -> list[Figure]:
    """Measure everything, with tables in memory."""
    figures: list[Figure] = []
    async with connected(AzureWebJobsStorage=azurite.connection_string(1, 2, 3)):
        for sample in MAIN:
            for size in SIZES:
                figures += await _grown(sample, size)
    return figures


async def _grown(sample: Sample, size: int) -> list[Figure]:
    await close()  # the counters of the last size
    await client().wire.transport.close()
    tables = client().wire.transport = Timed(MemoryTables())
    records, start = sample.collection, time.perf_counter()
    ids = await sample.fill(records, size)
    figures = [Figure(f"{sample.name}, {size:,}: filled", size / (time.perf_counter() - start), "1/s")]
    operations: dict[str, Call] = {
        "create": lambda: records.insert(sample.new(START + SPAN, size)),
        "get": lambda: records.get(ids[size // 3]),
        "first page": lambda: records.page(limit=50),
        "filtered page": lambda: records.page(sample.where, limit=50),
        "page at half": lambda: records.page(limit=50, offset=size // 2),
        "totals": records.totals,
        "history of two days": lambda: records.history(START, START + timedelta(days=2)),
    }
    if sample is RUNS:
        year = {"start_date": (START - timedelta(days=340)).isoformat(), "end_date": (START + SPAN).isoformat()}
        operations["dashboard of a year"] = functools.partial(get_metrics, _ME, "month", **year)
    for name, operation in operations.items():
        figures += await measured(f"{sample.name}, {size:,}: {name}", operation, tables)
    if sample is RUNS and size >= MAX_PASSED:
        figures += await measured(f"{sample.name}, {size:,}: updated_at, offset {DEEP:,}, refused", _refused, tables)
    return figures


async def _refused() -> None:
    try:
        await RUNS.collection.page(limit=50, offset=DEEP, order="updated_at")
    except TooDeep:
        return
    raise RuntimeError("a list has passed over more rows than it may")


async def measured(name: str, operation: Call, tables: Timed) -> list[Figure]:
    await operation()
    counting = client().wire.transport = Counting(tables)
    await operation()
    client().wire.transport = tables
    best = float("inf")
    for _ in range(ROUNDS):
        tables.used, start = 0.0, time.process_time()
        await operation()
        best = min(best, time.process_time() - start - tables.used)
    return [
        Figure(name, counting.calls.total(), "calls"),
        *([Figure(name, counting.rows, "rows read")] if counting.rows else []),
        *([Figure(name, counting.written, "rows written")] if counting.written else []),
        Figure(f"{name}: processor time", 1000 * best, "ms"),
    ]
