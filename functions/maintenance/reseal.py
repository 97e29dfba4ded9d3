"""Sealing a collection's secrets with the first key, at the order of a queue message."""

import logging

import azure.durable_functions as df
import azure.functions as func

from functions.maintenance.orders import collections_of
from shared import faults, sealing

log = logging.getLogger(__name__)
bp = df.Blueprint()

RESEAL_QUEUE = "reseal-records"


@bp.queue_trigger(arg_name="message", queue_name=RESEAL_QUEUE, connection="AzureWebJobsStorage")
async def maintenance_reseal(message: func.QueueMessage) -> None:
    """Seal a collection's secrets with the first key: `{"table": "..."}`, of all tenants or, with `"tenant"`, of one.

    Safe beside writers. One that is interrupted continues with what is left when its message comes again.
    """
    found = await collections_of(message)
    records = broken = 0
    async with faults.Sweep("sealing partitions anew") as sweep:
        for collection in found:
            with sweep.item(f"{collection.table} {collection.partition}"):
                done = await sealing.reseal(collection)
                records += done.records
                broken += done.broken
    log.info(
        "sealed anew by the order %s: %d records of %d partitions, %d do not open; %d partitions failed",
        message.get_body().decode(), records, len(found), broken, sweep.failed,
    )  # fmt: skip
    if sweep.failed:
        raise RuntimeError(f"{sweep.failed} partitions could not be sealed anew")
