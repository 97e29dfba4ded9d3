"""Hourly cleanup: deletes artifacts past their retention and records of closed connections."""

import contextlib
from datetime import UTC, datetime, timedelta

from functions.stepflow.records import RETENTION_DAYS
from functions.stepflow.store import artifacts, connections, delete_artifact_and_file
from functions.stepflow.updates import HUB
from shared import realtime, tables
from shared.faults import Sweep
from shared.workflows import WorkflowClient


async def run_cleanup() -> list[str]:
    """Delete what is out of date; return what was deleted, in sentences. A repeat finds nothing more to delete."""
    expired = await _delete_expired_artifacts(datetime.now(UTC))
    checked, closed = await _delete_closed_connections()
    return [
        f"Deleted {expired} artifacts past their retention",
        f"Checked {checked} connection records, deleted {closed} of closed connections",
    ]


async def hourly_cleanup(workflows: WorkflowClient) -> str:
    """Every hour: run the cleanup; return what it did as one line for the log."""
    return "; ".join(await run_cleanup())


async def _delete_expired_artifacts(now: datetime) -> int:
    """Delete artifacts past their retention, and return how many; newer artifacts are not even read."""
    count = 0
    async with Sweep("deleting artifacts past their retention") as sweep:
        async for artifact in artifacts.all(before=now - timedelta(days=RETENTION_DAYS)):
            with sweep.item(artifact.id):
                await delete_artifact_and_file(artifact)
                count += 1
    return count


async def _delete_closed_connections() -> tuple[int, int]:
    """Return how many connection records were checked, and how many of them were deleted."""
    checked = closed = 0
    async with Sweep("deleting records of closed connections") as sweep:
        async for connection in connections.all():
            checked += 1
            with sweep.item(connection.id), contextlib.suppress(tables.RecordNotFound):
                if await realtime.connection_exists(HUB, connection.connection_id) is False:
                    closed += 1
                    await connections.delete(connection.id)
    return checked, closed
