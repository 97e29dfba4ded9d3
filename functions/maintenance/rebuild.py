"""Making a collection's indexes and counters anew, at the order of a queue message."""

import json
import logging

import azure.durable_functions as df
import azure.functions as func

from shared import tables

log = logging.getLogger(__name__)
bp = df.Blueprint()

REBUILD_QUEUE = "rebuild-records"


@bp.queue_trigger(arg_name="message", queue_name=REBUILD_QUEUE, connection="AzureWebJobsStorage")
async def maintenance_rebuild(message: func.QueueMessage) -> None:
    """Make a collection's indexes and counters anew: `{"table": "GatewayRuns"}`, with `"tenant"` where it has tenants.

    Safe beside writers. One that is interrupted continues where it was when its message comes again.
    """
    order = json.loads(message.get_body())
    collection = tables.collections[order["table"]]
    if order.get("tenant") is not None:
        collection = collection.of(order["tenant"])
    done = await collection.rebuild()
    log.info("rebuilt %s: %d records, %d stray index rows", order["table"], done.records, done.stray)
