"""Rebuilds the indexes and counters of a collection that a queue message names."""

import logging
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from functions.maintenance.orders import collections_of, order_for
from shared import faults, queues, tables

log = logging.getLogger(__name__)
bp = df.Blueprint()

REBUILD_QUEUE = "rebuild-records"


@bp.queue_trigger(arg_name="message", queue_name=REBUILD_QUEUE, connection="AzureWebJobsStorage")
async def maintenance_rebuild(message: func.QueueMessage) -> None:
    """Rebuild indexes and counters: `{"table": "GatewayRuns"}`, of all tenants or, with `"tenant"`, of one.

    Safe while other requests write. Of several partitions each gets a message of its own. After an interruption the
    queue repeats the message, and the rebuild continues.
    """
    found = await collections_of(message)
    if len(found) == 1:
        await _rebuild(found[0])
        return
    for collection in found:
        await queues.send(REBUILD_QUEUE, order_for(collection))
    log.info("%d partitions are to be rebuilt by the order %s", len(found), message.get_body().decode())


async def _rebuild(collection: tables.Collection[Any]) -> None:
    try:
        done = await collection.rebuild()
    except Exception as error:  # no record can be left out, as its counts would be lost
        await faults.report(f"rebuild {collection.table}", f"Rebuilding {collection.table}: {type(error).__name__}")
        raise
    name = f"{collection.table} {collection.partition}"
    log.info("rebuilt %s: %d records, %d stray index rows", name, done.records, done.stray)
