"""The gateway's timer: raises alerts when storage is slow."""

import time

from functions.gateway.raise_alert import fault
from functions.gateway.records import AlertType
from shared.health import FILES, RECORDS
from shared.workflows import WorkflowClient

SLOW = 1.0
"""Seconds; a single read takes a few milliseconds."""


async def watch_stores(workflows: WorkflowClient) -> None:
    """Every minute: raise an alert when reading records or files is slow."""
    await watch()


async def watch(slow: float = SLOW) -> None:
    """Read once from each store, and raise an alert for one that takes longer than `slow` seconds."""
    for name, probe in (("database", RECORDS), ("storage", FILES)):
        start = time.monotonic()
        await probe.call()
        took = time.monotonic() - start
        if took > slow:
            await fault(f"{name} slow", f"The {name} is slow: a read took {took:.1f} s", AlertType.WARNING)
