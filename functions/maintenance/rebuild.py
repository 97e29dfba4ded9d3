"""Making a collection's indexes and counters anew, at the order of a queue message."""

import logging

import azure.durable_functions as df
import azure.functions as func

from functions.maintenance.orders import collection_of

log = logging.getLogger(__name__)
bp = df.Blueprint()

REBUILD_QUEUE = "rebuild-records"


@bp.queue_trigger(arg_name="message", queue_name=REBUILD_QUEUE, connection="AzureWebJobsStorage")
async def maintenance_rebuild(message: func.QueueMessage) -> None:
    """Make a collection's indexes and counters anew: `{"table": "GatewayRuns"}`, with `"tenant"` where it has tenants.

    Safe beside writers. One that is interrupted continues where it was when its message comes again.
    """
    collection = collection_of(message)
    done = await collection.rebuild()
    log.info("rebuilt %s: %d records, %d stray index rows", collection.table, done.records, done.stray)
