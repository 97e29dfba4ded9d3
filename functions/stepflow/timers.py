"""Upkeep: files past their retention, and connections whose end nobody told."""

from datetime import UTC, datetime, timedelta

from functions.stepflow.records import RETENTION_DAYS
from functions.stepflow.store import artifacts, connections, delete_artifact
from functions.stepflow.updates import HUB
from shared import realtime, tables
from shared.workflows import WorkflowClient


async def maintain() -> list[str]:
    """Do what is due; answers what was done, in sentences. Done twice it finds nothing more to do."""
    expired = await _remove_expired(datetime.now(UTC))
    checked, gone = await _forget_connections()
    return [
        f"Removed {expired} artifacts past their retention",
        f"Checked {checked} connections, forgot {gone} that are gone",
    ]


async def tidy_up(workflows: WorkflowClient) -> str:
    """Every hour: the same, for the log."""
    return "; ".join(await maintain())


async def _remove_expired(now: datetime) -> int:
    """Only artifacts that are old enough are read."""
    count = 0
    async for artifact in artifacts.all(before=now - timedelta(days=RETENTION_DAYS)):
        await delete_artifact(artifact)
        count += 1
    return count


async def _forget_connections() -> tuple[int, int]:
    checked = gone = 0
    async for connection in connections.all():
        checked += 1
        if await realtime.connection_exists(HUB, connection.connection_id) is False:
            gone += 1
            try:
                await connections.delete(connection.id)
            except tables.RecordNotFound:
                pass
    return checked, gone
