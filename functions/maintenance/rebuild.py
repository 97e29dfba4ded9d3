"""Rebuilds the indexes and counters of a collection that a queue message names."""

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
    """Rebuild indexes and counters: `{"table": "GatewayRuns"}`, and `"tenant"` for a collection with tenants.

    Safe while other requests write. After an interruption the queue repeats the message, and the rebuild continues.
    """
    request = json.loads(message.get_body())
    collection = tables.collections[request["table"]]
    if request.get("tenant") is not None:
        collection = collection.of(request["tenant"])
    done = await collection.rebuild()
    log.info("rebuilt %s: %d records, %d stray index rows", request["table"], done.records, done.stray)
