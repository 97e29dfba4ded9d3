"""The timers run what the slices declare: each item apart from the others, timed and logged by its name."""

import asyncio
import logging
import uuid
from typing import cast

import pytest
from azure.data.tables.aio import TableServiceClient

from functions.maintenance import timers
from shared import deferred, faults, queues
from shared.workflows import WorkflowClient

WORKFLOWS = cast("WorkflowClient", object())


async def fails(workflows: WorkflowClient) -> None:
    raise RuntimeError("storage is full")


async def works(workflows: WorkflowClient) -> str:
    return "deleted 3 things"


async def finds_nothing(workflows: WorkflowClient) -> None:
    return None


async def test_a_failing_item_does_not_stop_the_others(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "functions.maintenance.timers"):
        await timers.run_all({"a.fails": fails, "b.works": works, "c.finds_nothing": finds_nothing}, WORKFLOWS)
    lines = [record.getMessage() for record in caplog.records if record.name == timers.__name__]
    assert len(lines) == 2
    assert lines[0].startswith("a.fails failed after 0.0 s")
    assert lines[1].startswith("b.works: deleted 3 things (0.0 s)")
    assert caplog.records[0].exc_info is not None


async def test_work_that_was_given_up_is_reported(account: None, monkeypatch: pytest.MonkeyPatch):
    reported: list[tuple[str, str]] = []

    async def note(cause: str, message: str) -> None:
        reported.append((cause, message))

    monkeypatch.setattr(faults, "reporters", [note])
    monkeypatch.setattr(deferred, "POISON_QUEUE", queue := f"poison-{uuid.uuid4().hex}")
    await timers.look_at_failed_work(WORKFLOWS)
    assert reported == []
    await queues.send(queue, "m")
    await timers.look_at_failed_work(WORKFLOWS)
    assert reported == [("failed deferred work", f"The queue {queue} holds 1 messages")]
    await queues.close()


async def test_an_item_that_hangs_is_ended_and_reported(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    async def hangs(workflows: WorkflowClient) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(timers, "SECONDS", 0.1)
    async with asyncio.timeout(60):
        await timers.run_all({"a.hangs": hangs}, WORKFLOWS)
    assert "a.hangs failed after" in caplog.text


async def test_the_tables_of_declared_collections_are_made_ahead(account: None, storage: str):
    await timers.make_tables(WORKFLOWS)
    async with TableServiceClient.from_connection_string(storage) as service:
        names = [table.name async for table in service.list_tables()]
    assert {"RateWindows", "IdempotencyKeys"} <= set(names)
