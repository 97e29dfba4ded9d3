"""The two timers of the app: one for the work of minutes, one for that of hours and nights."""

import asyncio
import importlib
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import azure.durable_functions as df
import azure.functions as func

from shared import tables
from shared.http import idempotency, ratelimit
from shared.slices import PeriodicWork, slices
from shared.tables import administration
from shared.workflows import WorkflowClient

log = logging.getLogger(__name__)
bp = df.Blueprint()

NIGHT = 3
"""The hour (UTC) in which the work of the night is done."""


@bp.timer_trigger(arg_name="timer", schedule="0 * * * * *", run_on_startup=False)
@bp.durable_client_input(client_name="client")
async def maintenance_minute(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Every minute: run what the slices declare for it."""
    work = {f"{name}.{item.__name__}": item for name, part in slices.items() for item in part.every_minute}
    await run_all(work, WorkflowClient(client))


@bp.timer_trigger(arg_name="timer", schedule="0 7 * * * *", run_on_startup=False)
@bp.durable_client_input(client_name="client")
async def maintenance_hour(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Every hour: run what the slices declare for it, and at night what they declare for the night."""
    at_night = datetime.now(UTC).hour == NIGHT
    work = {
        f"{name}.{item.__name__}": item
        for name, part in slices.items()
        for item in (*part.every_hour, *(part.every_night if at_night else ()))
    }
    await run_all(work, WorkflowClient(client))


async def run_all(work: Mapping[str, PeriodicWork], workflows: WorkflowClient) -> None:
    """Run these side by side; the failure of one is logged and stops none of the others."""
    await asyncio.gather(*(_run(name, item, workflows) for name, item in work.items()))


async def _run(name: str, item: PeriodicWork, workflows: WorkflowClient) -> None:
    started = time.monotonic()
    try:
        done = await item(workflows)
    except Exception:
        log.exception("%s failed after %.1f s", name, time.monotonic() - started)
        return
    if done:
        log.info("%s: %s (%.1f s)", name, done, time.monotonic() - started)


async def purge_kept_answers(workflows: WorkflowClient) -> str:
    """Every hour: delete the answers kept for repeated requests whose day is over."""
    return f"deleted {await idempotency.purge()} kept answers"


async def purge_rate_windows(workflows: WorkflowClient) -> str:
    """Every hour: delete the request counts of callers who have sent nothing for a day."""
    return f"deleted {await ratelimit.purge()} rate windows"


async def make_tables(workflows: WorkflowClient) -> None:
    """Every hour: make the tables of collections that are newly declared, so that no request has to."""
    await asyncio.to_thread(importlib.import_module, "azure.data.tables.aio")  # half a second, beside the event loop
    await administration.make_tables()


async def sweep_long_texts(workflows: WorkflowClient) -> str:
    """Every night: delete the blobs of long texts that a crash left without a record."""
    return f"deleted {await tables.sweep()} blobs that no record names"
