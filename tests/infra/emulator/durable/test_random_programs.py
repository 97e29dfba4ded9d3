"""Random orchestrations, many at once and with restarts, have the same result as a direct evaluation.

The SDK numbers what it schedules during a replay, and ends an instance when a result does not match. So these tests
also show that the engine counts as the SDK does, in every mixture of retries, groups and races.
`tests/campaigns/test_engine.py` runs more of them.
"""

import random
from collections.abc import Awaitable, Callable

import pytest

from tests.infra.emulator.durable.harness import TaskHub
from tests.infra.emulator.durable.programs import check, functions


@pytest.mark.parametrize("schema", [0, 1, 2], ids=["V1", "V2", "V3"])
@pytest.mark.parametrize(("seed", "cache"), [(1, 64 << 20), (2, 1)], ids=["in memory", "from the file"])
async def test_random_programs(
    new_hub: Callable[..., Awaitable[TaskHub]], schema: int, seed: int, cache: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("infra.emulator.durable.rows.CACHE_CHARACTERS", cache)
    await check(await new_hub(functions, schema=schema), random.Random(seed), 8)
