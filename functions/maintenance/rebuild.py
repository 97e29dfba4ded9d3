"""Rebuilds the indexes and counters of a collection that a queue message names."""

import logging

import azure.durable_functions as df
import azure.functions as func

from functions.maintenance.orders import collection_of
from shared import faults

log = logging.getLogger(__name__)
bp = df.Blueprint()

REBUILD_QUEUE = "rebuild-records"


@bp.queue_trigger(arg_name="message", queue_name=REBUILD_QUEUE, connection="AzureWebJobsStorage")
async def maintenance_rebuild(message: func.QueueMessage) -> None:
    """Rebuild indexes and counters: `{"table": "GatewayRuns"}`, and `"tenant"` for a collection with tenants.

    Safe while other requests write. After an interruption the queue repeats the message, and the rebuild continues.
    """
    collection = collection_of(message)
    try:
        done = await collection.rebuild()
    except Exception as error:  # no record can be left out, as its counts would be lost
        await faults.report(f"rebuild {collection.table}", f"Rebuilding {collection.table}: {type(error).__name__}")
        raise
    log.info("rebuilt %s: %d records, %d stray index rows", collection.table, done.records, done.stray)
