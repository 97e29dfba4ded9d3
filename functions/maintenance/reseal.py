"""Sealing a collection's secrets with the first key, at the order of a queue message."""

import logging

import azure.durable_functions as df
import azure.functions as func

from functions.maintenance.orders import collection_of
from shared import sealing

log = logging.getLogger(__name__)
bp = df.Blueprint()

RESEAL_QUEUE = "reseal-records"


@bp.queue_trigger(arg_name="message", queue_name=RESEAL_QUEUE, connection="AzureWebJobsStorage")
async def maintenance_reseal(message: func.QueueMessage) -> None:
    """Seal a collection's secrets with the first key: `{"table": "..."}`, with `"tenant"` where it has tenants.

    Safe beside writers. One that is interrupted continues with what is left when its message comes again.
    """
    collection = collection_of(message)
    done = await sealing.reseal(collection)
    log.info("sealed %s anew: %d records, %d do not open", collection.table, done.records, done.broken)
