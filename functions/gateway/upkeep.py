"""What the gateway looks after on its own: stores that answer slowly."""

import time

import azure.durable_functions as df
import azure.functions as func

from functions.gateway.alerting import fault
from functions.gateway.health import database, storage
from functions.gateway.models import AlertType

bp = df.Blueprint()

SLOW = 1.0
"""Seconds; a single read takes a few milliseconds."""


@bp.timer_trigger(arg_name="timer", schedule="30 */5 * * * *", run_on_startup=False)
async def gateway_watch(timer: func.TimerRequest) -> None:
    """Every five minutes: raise an alert when the records or the files answer slowly."""
    await watch()


async def watch(slow: float = SLOW) -> None:
    """Read once from each store, and tell of one that takes longer than `slow` seconds."""
    for name, check in (("database", database), ("storage", storage)):
        start = time.monotonic()
        await check()
        took = time.monotonic() - start
        if took > slow:
            await fault(f"{name} slow", f"The {name} answers slowly: a read took {took:.1f} s", AlertType.WARNING)
