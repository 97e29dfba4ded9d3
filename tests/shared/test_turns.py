"""Whose turn it is, among records in the storage emulator."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.tables import reading
from shared.turns import is_among_oldest
from tests.support.environments import connected
from tests.support.records import Run, Status, collection

START = datetime(2026, 1, 1, tzinfo=UTC)


async def test_only_the_oldest_active_records_have_their_turn_however_many_wait(
    storage: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reading, "MAX_PASSED", 3)
    runs = collection()
    async with connected(AzureWebJobsStorage=storage):
        states = [Status.DONE, Status.RUNNING, *[Status.PENDING] * 6]
        # Two at a time are of the same millisecond.
        moments = [START + timedelta(milliseconds=number // 2) for number in range(len(states))]
        made = [await runs.insert(Run(status=s, created_at=at)) for s, at in zip(states, moments, strict=True)]
        await runs.insert(Run(client_id="another", created_at=START - timedelta(days=1)))
        active = {"client_id": "c1", "status": [Status.PENDING, Status.RUNNING]}
        for limit in (1, 2, 5):
            turns = {run.id for run in made if await is_among_oldest(runs, active, run, limit)}
            oldest = sorted(run.id for run in made if run.status is not Status.DONE)[:limit]
            assert turns - {made[0].id} == {*oldest}
