"""The two timers of the app: one runs every minute, the other every hour and for the nightly work."""

import asyncio
import importlib
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import azure.durable_functions as df
import azure.functions as func

from shared import deferred, faults, queues, tables
from shared.http import idempotency, ratelimit
from shared.settings import settings
from shared.slices import PeriodicWork, slices
from shared.tables import administration
from shared.workflows import WorkflowClient

log = logging.getLogger(__name__)
bp = df.Blueprint()

SECONDS = 300.0
"""How long one part of the work may take: after ten minutes the platform would restart the whole app."""

NIGHT = 3
"""The hour (UTC) of the nightly work."""


@bp.timer_trigger(arg_name="timer", schedule="0 * * * * *", run_on_startup=False)
@bp.durable_client_input(client_name="client")
async def maintenance_minute(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Every minute: run the `every_minute` work of all slices."""
    work = {f"{name}.{item.__name__}": item for name, part in slices.items() for item in part.every_minute}
    await run_all(work, WorkflowClient(client))


@bp.timer_trigger(arg_name="timer", schedule="0 7 * * * *", run_on_startup=False)
@bp.durable_client_input(client_name="client")
async def maintenance_hour(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Every hour: run the `every_hour` work of all slices, and at night their `every_night` work too."""
    at_night = datetime.now(UTC).hour == NIGHT
    work = {
        f"{name}.{item.__name__}": item
        for name, part in slices.items()
        for item in (*part.every_hour, *(part.every_night if at_night else ()))
    }
    await run_all(work, WorkflowClient(client))


async def run_all(work: Mapping[str, PeriodicWork], workflows: WorkflowClient) -> None:
    """Run all of it concurrently; a failure is reported and does not affect the rest, nor does what takes too long."""
    await asyncio.gather(*(_run(name, item, workflows) for name, item in work.items()))


async def _run(name: str, item: PeriodicWork, workflows: WorkflowClient) -> None:
    started = time.monotonic()
    try:
        async with asyncio.timeout(SECONDS):
            done = await item(workflows)
    except Exception as error:
        log.exception("%s failed after %.1f s", name, time.monotonic() - started)
        await faults.report(f"timer: {name}", f"{name} failed: {type(error).__name__}")
        return
    if done:
        log.info("%s: %s (%.1f s)", name, done, time.monotonic() - started)


async def purge_idempotency_keys(workflows: WorkflowClient) -> str:
    """Every hour: delete the idempotency keys that are older than a day."""
    return f"deleted {await idempotency.purge()} idempotency keys"


async def purge_rate_windows(workflows: WorkflowClient) -> str:
    """Every hour: delete the request counts of callers who have sent nothing for a day."""
    return f"deleted {await ratelimit.purge()} rate windows"


async def make_tables(workflows: WorkflowClient) -> None:
    """Every hour: make the tables of collections that are newly declared, so that no request has to."""
    await asyncio.to_thread(importlib.import_module, "azure.data.tables.aio")  # half a second, beside the event loop
    await administration.make_tables()


async def look_at_failed_work(workflows: WorkflowClient) -> None:
    """Every hour: report that the queue of deferred work that was given up is not empty; the host fills it, too."""
    if count := await queues.length(deferred.POISON_QUEUE):
        await faults.report("failed deferred work", f"The queue {deferred.POISON_QUEUE} holds {count} messages")


async def purge_deferred_items(workflows: WorkflowClient) -> str:
    """Every night: forget the items of deferred work that were finished more than a day ago."""
    return f"forgot {await deferred.purge()} items of deferred work"


async def sweep_long_texts(workflows: WorkflowClient) -> str:
    """Every night: delete blobs of long texts to which, after a crash, no record refers."""
    return f"deleted {await tables.sweep()} blobs of long texts without a record"


async def purge_histories(workflows: WorkflowClient) -> str:
    """Every night: delete the old histories of workflows that have ended; records and files stay."""
    days = settings().history_days
    count = await workflows.purge(datetime.now(UTC) - timedelta(days=days))
    return f"deleted {count} histories of workflows that are older than {days} days"
