"""The workflow of one order: it looks at the container group on growing pauses until the environment rests.

A resting environment has no workflow, so one that runs for a month costs no history.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.durable_functions as df

from functions.dev8 import places
from functions.dev8.lifecycle import state
from functions.dev8.records import (
    CREATING,
    DELETING,
    ERROR,
    IN_MOTION,
    RUNNING,
    STARTING,
    STOPPED,
    DevEnvironment,
    EnvironmentStatus,
)
from functions.dev8.store import environments
from shared import containers, faults, shares, tables
from shared.container_groups import GroupStatus
from shared.containers import ContainerRefused, ContainersBusy
from shared.settings import settings

log = logging.getLogger(__name__)
bp = df.Blueprint()

RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=5000, max_number_of_attempts=5)

FIRST_PAUSE = 0.5
"""Seconds from an order to the first look at a group that cannot have started before."""

ABANDONED = timedelta(minutes=2)
"""After this time the request that creates an environment has ended: it may not call the service for so long."""

GRACE = timedelta(seconds=15)
"""How long a group may show the state of before an order that was given."""

STUCK = timedelta(minutes=15)
"""How long the service may refuse what an order needs, or not answer, before an alert is raised."""

MANY, LONG_PAUSE = 100, 60.0
"""After so many looks, the pauses have at least so many seconds: the service may refuse the order for ever."""

STILL = ("Stopped", "Succeeded", "Failed")
"""The states of a group in which nothing runs."""


@bp.orchestration_trigger(context_name="context")
def dev8_settle(ctx: df.DurableOrchestrationContext):
    """See an order through; the input is `{"id": environment, "order": number, "looks": how many were made}`.

    With `later`, it waits before the first look. Each look is a new execution of the instance, so that the history
    stays short.
    """
    order: Any = ctx.get_input()
    if order.pop("later", False):
        yield ctx.create_timer(ctx.current_utc_datetime + timedelta(seconds=FIRST_PAUSE))
    pause = yield ctx.call_activity_with_retry("dev8_look", RETRY, order)
    if pause is None:
        return
    yield ctx.create_timer(ctx.current_utc_datetime + timedelta(seconds=pause))
    ctx.continue_as_new({**order, "looks": order["looks"] + 1})


@bp.activity_trigger(input_name="order")
async def dev8_look(order: dict) -> float | None:
    """Look once; return the seconds until the next look, None when the order is seen through or outdated."""
    if await look(order["id"], order["order"]):
        return None
    return pause_after(order["looks"])


def pause_after(looks: int) -> float:
    """Return the seconds between this look, counted from 0, and the next one."""
    pauses = [float(pause) for pause in settings().dev8_look_pauses.split(",")]
    pause = pauses[min(looks, len(pauses) - 1)]
    return pause if looks < MANY else max(pause, LONG_PAUSE)


async def look(environment_id: str, order: int) -> bool:
    """Bring an environment one step further; return whether nothing is left to do for this order."""
    try:
        environment = await environments.get(environment_id)
    except tables.RecordNotFound:
        return True
    if environment.order != order or environment.status not in IN_MOTION:
        return True
    if environment.in_creation and _age(environment) < ABANDONED:
        return False
    try:
        group = await state(environment.id)
        if environment.status is CREATING:
            return await _creation(environment, group)
        if environment.status is STARTING:
            return await _start(environment, group)
        if environment.status is DELETING:
            return await _deletion(environment, group)
        return await _stop(environment, group)
    except (ContainersBusy, ContainerRefused) as error:
        log.warning("%s is %s: %s", environment.id, environment.status, error)
        if (age := _age(environment)) > STUCK:
            cause, minutes = f"environment {environment.id}: {environment.status}", age // timedelta(minutes=1)
            message = f"Environment {environment.id} has been {environment.status} for {minutes} minutes: {error}"
            await faults.report(cause, message)
        return False
    except tables.RecordChanged:
        return False


async def rest(
    environment: DevEnvironment, status: EnvironmentStatus, failure: str = "", group: GroupStatus | None = None
) -> None:
    """Bring the record, as it was read, to a resting status; report why, if it is a failure.

    `group` gives a running environment its address. `RecordChanged` when the record is another version by now.
    """
    if failure:
        cause = f"environment {environment.id}: {status}"
        await faults.report(cause, f"Environment {environment.id} is {status}: {failure}")

    def change(record: DevEnvironment) -> None:
        record.enter(status, failure)
        record.in_creation = False  # its request may have ended without saying so
        if group is not None:
            record.ip, record.fqdn = group.ip or "", group.fqdn or ""

    await environments.update(environment, change, if_match=environment.etag)


async def _creation(environment: DevEnvironment, group: GroupStatus | None) -> bool:
    if group is not None and group.running and group.ip and not environment.failure:
        await rest(environment, RUNNING, group=group)
        return True
    failure = environment.failure or _creation_failure(environment, group)
    if not failure:
        return False
    if not environment.failure:  # kept, because the group that shows it is removed first
        environment = await environments.update(
            environment, lambda record: record.abandon(failure), if_match=environment.etag
        )
    if group is not None:
        await _remove(environment, group)
        return False
    await shares.delete(settings().dev8_storage_account, environment.share)
    await rest(environment, ERROR, failure)
    return True


def _creation_failure(environment: DevEnvironment, group: GroupStatus | None) -> str:
    if group is None:
        return "its creation was interrupted before the container service had accepted it: create another one"
    return _start_failure(environment, group)


def _start_failure(environment: DevEnvironment, group: GroupStatus) -> str:
    """Return why a group that was ordered to run will not, "" while it may."""
    age = _age(environment)
    if group.provisioning == "Failed" and (environment.status is CREATING or age > GRACE):
        return group.failure or "the container service could not start its containers"
    if group.state in STILL and group.provisioning == "Succeeded" and age > GRACE:
        return "its containers have ended"
    if age > timedelta(seconds=settings().dev8_start_deadline):
        return f"its containers do not run after {settings().dev8_start_deadline} seconds"
    return ""


async def _start(environment: DevEnvironment, group: GroupStatus | None) -> bool:
    if group is None:
        await rest(environment, ERROR, "its container group no longer exists")
        return True
    if group.running and group.ip:
        await rest(environment, RUNNING, group=group)
        return True
    failure = _start_failure(environment, group)
    if not failure:
        return False
    if group.state not in STILL:
        await containers.stop(environment.id)
    await rest(environment, STOPPED, environment.failure or failure)  # its files are safe, and it can be started again
    return True


async def _stop(environment: DevEnvironment, group: GroupStatus | None) -> bool:
    if group is None:
        await rest(environment, ERROR, "its container group no longer exists")
        return True
    if group.state in STILL:
        await rest(environment, STOPPED)
        return True
    if environment.failure or _age(environment) > GRACE:
        await containers.stop(environment.id)
    return False


async def _deletion(environment: DevEnvironment, group: GroupStatus | None) -> bool:
    if group is not None:
        await _remove(environment, group)
        return False
    await shares.delete(settings().dev8_storage_account, environment.share)
    await places.release(environment.id, environment.user_id)
    try:
        await environments.delete(environment.id)
    except tables.RecordNotFound:
        pass
    return True


async def _remove(environment: DevEnvironment, group: GroupStatus) -> None:
    if group.provisioning != "Deleting":
        await containers.remove(environment.id)


def _age(environment: DevEnvironment) -> timedelta:
    """Return the time since the last change of its status."""
    return datetime.now(UTC) - environment.moved_at
