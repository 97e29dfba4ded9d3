"""Maintenance of what all APIs share: rows and blobs whose time is over go, indexes can be made anew."""

import json
import logging

import azure.durable_functions as df
import azure.functions as func

from shared import tables
from shared.http import idempotency, ratelimit

log = logging.getLogger(__name__)
bp = df.Blueprint()
blueprints = [bp]

REBUILD_QUEUE = "rebuild-records"


@bp.timer_trigger(arg_name="timer", schedule="0 40 3 * * *", run_on_startup=False)
async def maintenance_sweep(timer: func.TimerRequest) -> None:
    """Every night: remove the blobs of long texts that a crash left without a record."""
    log.info("removed %d blobs that no record names", await tables.sweep())


@bp.timer_trigger(arg_name="timer", schedule="0 7 * * * *", run_on_startup=False)
async def maintenance_purge(timer: func.TimerRequest) -> None:
    """Every hour: forget kept answers and counted requests whose time is over."""
    log.info("purged %d kept answers, %d rate windows", await idempotency.purge(), await ratelimit.purge())


@bp.queue_trigger(arg_name="message", queue_name=REBUILD_QUEUE, connection="AzureWebJobsStorage")
async def maintenance_rebuild(message: func.QueueMessage) -> None:
    """Make a collection's indexes and counters anew: `{"table": "GatewayRuns"}`, with `"tenant"` where it has tenants.

    Safe beside writers. One that is cut off goes on where it was when its message comes again.
    """
    order = json.loads(message.get_body())
    collection = tables.collections[order["table"]]
    if order.get("tenant") is not None:
        collection = collection.of(order["tenant"])
    done = await collection.rebuild()
    log.info("rebuilt %s: %d records, %d stray index rows", order["table"], done.records, done.stray)


__all__ = ["blueprints"]
