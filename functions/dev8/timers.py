"""Dev8's timers: stop what is idle, see interrupted orders through, and compare records with what exists."""

import logging
from datetime import UTC, datetime, timedelta

from functions.dev8 import lifecycle
from functions.dev8.lifecycle import OrderFailed
from functions.dev8.reconciliation import reconcile
from functions.dev8.records import IN_MOTION, DevEnvironment
from functions.dev8.store import environments
from shared import tables
from shared.faults import Sweep
from shared.http.errors import BadRequest
from shared.settings import settings
from shared.workflows import ACTIVE, WorkflowClient

log = logging.getLogger(__name__)

MIN_AGE = timedelta(seconds=90)
"""An environment that was ordered later is left alone: its request may be calling the container service."""

RECONCILE_MINUTES = 5


async def stop_idle(workflows: WorkflowClient) -> str | None:
    """Every minute: stop the environments without a connection for `DEV8_IDLE_MINUTES`.

    Cost: 1 query that returns those, and a stop for each.
    """
    minutes = settings().dev8_idle_minutes
    if not minutes:
        return None
    due = datetime.now(UTC) - timedelta(minutes=minutes)

    def still_idle(record: DevEnvironment) -> None:
        if record.idle_since is None or record.idle_since >= due:
            raise BadRequest("somebody has connected meanwhile")

    stopped = 0
    async with Sweep("stopping idle environments") as sweep:
        async for environment in environments.all(order="idle_since", between=(None, due)):
            with sweep.item(environment.id):
                try:
                    await lifecycle.stop(environment.id, workflows, still_idle)
                    stopped += 1
                except (BadRequest, tables.RecordNotFound):
                    pass
                except OrderFailed as error:
                    log.warning("%s could not be stopped: %s", environment.id, error)
    return f"stopped {stopped} idle environments" if stopped else None


async def settle_interrupted(workflows: WorkflowClient) -> str | None:
    """Every minute: start the workflow of each order that has none, because a crash came between the two."""
    before, started = datetime.now(UTC) - MIN_AGE, 0
    async with Sweep("settling interrupted orders") as sweep:
        async for environment in environments.all({"status": IN_MOTION}):
            if environment.moved_at < before:
                with sweep.item(environment.id):
                    if await workflows.status(lifecycle.workflow_id(environment)) not in ACTIVE:
                        log.warning("%s is %s without a workflow", environment.id, environment.status)
                        await lifecycle.settle(environment, workflows)
                        started += 1
    return f"settled {started} interrupted orders" if started else None


async def compare(workflows: WorkflowClient) -> str | None:
    """Every five minutes: make records, container groups and file shares agree."""
    if datetime.now(UTC).minute % RECONCILE_MINUTES:
        return None
    return await reconcile(workflows)
