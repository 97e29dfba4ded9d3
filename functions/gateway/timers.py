"""What the gateway looks after on its own: stores that answer slowly."""

import time

from functions.gateway.health import database, storage
from functions.gateway.raise_alert import fault
from functions.gateway.records import AlertType
from shared.workflows import WorkflowClient

SLOW = 1.0
"""Seconds; a single read takes a few milliseconds."""


async def watch_stores(workflows: WorkflowClient) -> None:
    """Every minute: raise an alert when the records or the files answer slowly."""
    await watch()


async def watch(slow: float = SLOW) -> None:
    """Read once from each store, and tell of one that takes longer than `slow` seconds."""
    for name, check in (("database", database), ("storage", storage)):
        start = time.monotonic()
        await check()
        took = time.monotonic() - start
        if took > slow:
            await fault(f"{name} slow", f"The {name} answers slowly: a read took {took:.1f} s", AlertType.WARNING)
