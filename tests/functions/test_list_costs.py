"""What a page costs this process: for the counted lists of every API, relative to the bare requests of that page."""

from collections.abc import AsyncIterator

import pytest

from bench.figures import processor_times
from bench.raw import Bare, Recording
from bench.samples import SAMPLES, Sample
from shared.tables.client import client

pytestmark = pytest.mark.usefixtures("account")

BOUND = 2.0
"""The goal is 1.6; the rest is for a machine that does other work too."""

ROUNDS, REPEAT, ATTEMPTS = 7, 10, 4


@pytest.fixture(scope="module")
async def bare(account: None) -> AsyncIterator[Bare]:
    bare = Bare()
    yield bare
    await bare.http.close()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
async def test_a_page_takes_at_most_twice_the_processor_time_of_its_requests(sample: Sample, bare: Bare):
    records = sample.of("costs")
    await sample.fill(records, 60)
    session = client()
    recording = session.wire.transport = Recording(session.wire.transport)
    await records.page(limit=50)
    session.wire.transport = recording.inner
    assert [len(found["value"]) for found in await bare.read(recording.reads)] == [50, 1]
    ratios: list[float] = []
    while len(ratios) < ATTEMPTS and min(ratios, default=BOUND) >= BOUND:
        taken = await processor_times(
            ROUNDS, REPEAT, bare=lambda: bare.read(recording.reads), own=lambda: records.page(limit=50)
        )
        ratios.append(min(taken["own"]) / min(taken["bare"]))
    assert min(ratios) < BOUND, ratios
