"""Dev8's timers: stop what is idle, see interrupted orders through, and compare records with what exists."""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta

from functions.dev8 import lifecycle
from functions.dev8.lifecycle import OrderFailed
from functions.dev8.reconciliation import reconcile
from functions.dev8.records import IN_MOTION, DevEnvironment
from functions.dev8.store import environments
from shared import tables
from shared.containers import ContainersUnavailable
from shared.faults import Sweep
from shared.http.errors import BadRequest
from shared.settings import settings
from shared.workflows import ACTIVE, WorkflowClient

log = logging.getLogger(__name__)

MIN_AGE = timedelta(seconds=90)
"""An environment that was ordered later is left alone: its request may be calling the container service."""

RECONCILE_MINUTES = 5

AT_ONCE = 8
"""Idle environments that are stopped side by side."""

SECONDS = 40.0
"""How long further ones are begun with: all work of a minute is waited for."""


async def stop_idle(workflows: WorkflowClient) -> str | None:
    """Every minute: stop the environments without a connection for `DEV8_IDLE_MINUTES`, some at once.

    What is left after `SECONDS`, or when the container service does not answer, is done the next minute.
    Cost: 1 query that returns those, and a stop for each.
    """
    minutes = settings().dev8_idle_minutes
    if not minutes:
        return None
    due = datetime.now(UTC) - timedelta(minutes=minutes)

    def still_idle(record: DevEnvironment) -> None:
        if record.idle_since is None or record.idle_since >= due:
            raise BadRequest("somebody has connected meanwhile")

    stopped, is_answered, end = 0, True, time.monotonic() + SECONDS
    idle = [each.id async for each in environments.all(order="idle_since", between=(None, due))]
    async with Sweep("stopping idle environments") as sweep:

        async def stop(environment_id: str) -> None:
            nonlocal stopped, is_answered
            with sweep.item(environment_id):
                try:
                    await lifecycle.stop(environment_id, workflows, still_idle)
                    stopped += 1
                except (BadRequest, tables.RecordNotFound):
                    pass
                except OrderFailed as error:
                    log.warning("%s could not be stopped: %s", environment_id, error)
                    is_answered = is_answered and not isinstance(error.__cause__, ContainersUnavailable | TimeoutError)

        for first in range(0, len(idle), AT_ONCE):
            await asyncio.gather(*map(stop, idle[first : first + AT_ONCE]))
            if not is_answered or time.monotonic() > end:
                break
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
