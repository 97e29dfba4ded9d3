"""Hourly cleanup: deletes artifacts past their retention and records of closed connections."""

from datetime import UTC, datetime, timedelta

from functions.stepflow.records import RETENTION_DAYS
from functions.stepflow.store import artifacts, connections, delete_artifact_and_file
from functions.stepflow.updates import HUB
from shared import realtime, tables
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
    async for artifact in artifacts.all(before=now - timedelta(days=RETENTION_DAYS)):
        await delete_artifact_and_file(artifact)
        count += 1
    return count


async def _delete_closed_connections() -> tuple[int, int]:
    """Return how many connection records were checked, and how many of them were deleted."""
    checked = closed = 0
    async for connection in connections.all():
        checked += 1
        if await realtime.connection_exists(HUB, connection.connection_id) is False:
            closed += 1
            try:
                await connections.delete(connection.id)
            except tables.RecordNotFound:
                pass
    return checked, closed
