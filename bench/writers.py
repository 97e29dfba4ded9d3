"""Concurrent writers of one collection: what joining their writes into one transaction gains."""

import asyncio
import statistics
import time
from collections import defaultdict
from itertools import count, product
from typing import Any

from bench.figures import Figure
from bench.samples import RUNS, SPAN, START
from bench.services import storage
from shared.tables import Collection, batch
from shared.tables.client import client
from tests.support.records import Counting

TURNS, WRITERS, CREATES, CREATES_ALONE = 3, (1, 4, 16), 384, 96

_numbers = count()


async def run() -> list[Figure]:
    """Measure creates of runs whose writes are joined, and of such as write one transaction each, in turns."""
    figures: list[Figure] = []
    rates: dict[tuple[int, bool], list[float]] = defaultdict(list)
    limit = batch.MAX_OPERATIONS
    async with storage():
        counting = client().wire.transport = Counting(client().wire.transport)
        for turn in range(TURNS):
            for writers, joined in product(WRITERS, (True, False)):
                records = RUNS.of(f"writers-{turn}-{writers}-{joined}")
                counting.reset()
                await records.insert(RUNS.new(START, next(_numbers)))
                batch.MAX_OPERATIONS = limit if joined else counting.written + 1  # no second write fits
                counting.reset()
                number = CREATES if joined else CREATES_ALONE
                start = time.perf_counter()
                await asyncio.gather(*(_creates(records, number // writers) for _ in range(writers)))
                rates[writers, joined].append(number / (time.perf_counter() - start))
                batch.MAX_OPERATIONS = limit
                if joined and turn == 0:
                    calls = counting.calls["batch"] / number
                    figures.append(Figure(f"{writers} writers: transactions a create", calls, "calls"))
    for writers in WRITERS:
        joined, alone = rates[writers, True], rates[writers, False]
        gain = statistics.median(one / other for one, other in zip(joined, alone, strict=True))
        figures.append(Figure(f"{writers} writers: creates", statistics.median(joined), "1/s"))
        figures.append(Figure(f"{writers} writers: relative to writes that are not joined", gain, "x"))
    return figures


async def _creates(records: Collection[Any], number: int) -> None:
    for _ in range(number):
        await records.insert(RUNS.new(START + SPAN, next(_numbers)))
