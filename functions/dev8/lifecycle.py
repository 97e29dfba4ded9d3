"""What requests order of an environment: one call to the container service each, then a workflow that sees to its end.

The record's status is the lock: it is changed on the condition of its version before anything else is done.
"""

import asyncio
import logging
import secrets as random_values
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from functions.dev8 import layout, places
from functions.dev8.layout import Secret
from functions.dev8.records import (
    CREATING,
    DELETING,
    MAX_FAILURE,
    RUNNING,
    STARTING,
    STOPPED,
    STOPPING,
    DevEnvironment,
    EnvironmentStatus,
)
from functions.dev8.store import environments
from shared import containers, shares, tables
from shared.container_groups import GroupStatus
from shared.containers import ContainerRefused, ContainersBusy, ContainersUnavailable
from shared.http.errors import ApiError
from shared.jobs import new_token
from shared.settings import settings
from shared.workflows import WorkflowClient

log = logging.getLogger(__name__)

WORKFLOW = "dev8_settle"
PATIENCE = 60.0
"""Seconds that the calls of one request may take in all."""

REPEATS = (0.3, 1.2)
"""Seconds before each further attempt of a call."""

LONGEST_WAIT = 5.0
"""Seconds that a request waits for an attempt at most, whatever the service asks for."""


class OrderFailed(ApiError):
    """500: the container service did not do what the request ordered."""

    code = "ENVIRONMENT_ERROR"


async def create(new: DevEnvironment, secrets: Mapping[Secret, str], workflows: WorkflowClient) -> DevEnvironment:
    """Create an environment: its places, record, share and container group; return it as it is stored.

    What the service refuses is noted in the record, and the workflow ends the environment in ERROR. `OrderFailed` when
    the service does not answer; then nothing of it stays. `BadRequest` when no environment may be added.
    A repeat with the same id goes on with a creation that was interrupted.
    """
    token, new.token_hash = new_token()
    await places.claim(new)
    environment = await environments.insert(new)
    if environment.token_hash != new.token_hash:  # a repeat of a request that was interrupted, or has failed
        if environment.status is DELETING:
            raise OrderFailed("what an earlier request has left is being removed: repeat this one later")
        if environment.status is not CREATING:
            return environment
        if await state(environment.id) is not None:
            return await _placed(environment, workflows)
        environment = await environments.update(environment, lambda record: _expect(record, new.token_hash))
    try:
        async with asyncio.timeout(PATIENCE):
            await _place(environment, _with_password(secrets), token)
    except (ContainersUnavailable, TimeoutError) as error:
        await delete(environment.id, workflows, _abandon)
        raise OrderFailed(f"failed to create the container group: {_reason(error)}") from error
    except (ContainerRefused, ContainersBusy) as error:
        return await _placed(environment, workflows, _reason(error))
    return await _placed(environment, workflows)


async def start(
    environment_id: str, workflows: WorkflowClient, allowed: Callable[[DevEnvironment], None]
) -> DevEnvironment:
    """Start a stopped environment; `allowed` may raise on its record.

    `BadRequest` in any other status. `OrderFailed` when the service refuses it, which leaves it stopped, or does not
    answer; then the workflow finds out what became of it.
    """
    return await _order(environment_id, workflows, allowed, DevEnvironment.begin_start, containers.start, back=STOPPED)


async def stop(
    environment_id: str, workflows: WorkflowClient, allowed: Callable[[DevEnvironment], None]
) -> DevEnvironment:
    """Stop a running environment. Errors as in `start`, but one that the service refuses to stop is left running."""
    return await _order(environment_id, workflows, allowed, DevEnvironment.begin_stop, containers.stop, back=RUNNING)


async def delete(
    environment_id: str, workflows: WorkflowClient, allowed: Callable[[DevEnvironment], None]
) -> DevEnvironment:
    """Delete an environment in any status; the workflow removes its group, then its share, then its record."""

    def change(record: DevEnvironment) -> None:
        allowed(record)
        record.begin_deletion()

    environment = await environments.update(environment_id, change)
    await settle(environment, workflows)
    return environment


async def settle(environment: DevEnvironment, workflows: WorkflowClient, *, later: bool = False) -> None:
    """Start the workflow of the environment's last order; what fails here is done by the timer.

    `later`: there is nothing to see yet, so it waits before its first look at the container group, too.
    """
    order = {"id": environment.id, "order": environment.order, "looks": 0, "later": later}
    await workflows.start_now_or_later(WORKFLOW, workflow_id(environment), order)


def workflow_id(environment: DevEnvironment) -> str:
    """Return the id of the workflow of the environment's last order."""
    return f"{environment.id}-{environment.order}"


async def state(environment_id: str) -> GroupStatus | None:
    """Return the state of its group, None when it has none; `ContainersUnavailable` when that takes too long."""
    try:
        async with asyncio.timeout(settings().arm_timeout):
            return await containers.state(environment_id)
    except TimeoutError:
        raise ContainersUnavailable("The container service does not answer in time") from None


def _expect(record: DevEnvironment, token_hash: str) -> None:
    record.token_hash, record.in_creation, record.moved_at = token_hash, True, datetime.now(UTC)


def _abandon(record: DevEnvironment) -> None:
    record.in_creation = False


async def _placed(environment: DevEnvironment, workflows: WorkflowClient, failure: str = "") -> DevEnvironment:
    """Note that the request has made its calls, and why the service has refused them; start the workflow."""

    def change(record: DevEnvironment) -> None:
        record.in_creation = False
        if record.status is CREATING:
            record.failure = failure[:MAX_FAILURE]

    environment = await environments.update(environment, change)
    await settle(environment, workflows, later=not failure)
    return environment


def _with_password(secrets: Mapping[Secret, str]) -> dict[Secret, str]:
    """Return the secrets with a password for the editor: the image would fall back to one that is publicly known."""
    return {"CODE_SERVER_PASSWORD": random_values.token_urlsafe(24), **secrets}


async def _place(environment: DevEnvironment, secrets: Mapping[Secret, str], token: str) -> None:
    """Create its share and its group; return when the service has accepted both.

    One call after the other: a share that is made while another call fails could come after its removal.
    """
    account = settings().dev8_storage_account
    key = await shares.key(account)
    await shares.create(account, environment.share, environment.storage_gb, layout.share_metadata(environment))
    spec = layout.group_of(environment, secrets, token, key)
    await _ask(lambda: containers.create(spec), environment.id, lambda group: group is not None)


async def _order(
    environment_id: str,
    workflows: WorkflowClient,
    allowed: Callable[[DevEnvironment], None],
    begin: Callable[[DevEnvironment], None],
    call: Callable[[str], Awaitable[None]],
    *,
    back: EnvironmentStatus,
) -> DevEnvironment:
    """Change the record, make the call, start the workflow; `back` is the status when the service refuses it."""

    def change(record: DevEnvironment) -> None:
        allowed(record)
        begin(record)

    environment = await environments.update(environment_id, change)
    towards = environment.status
    try:
        async with asyncio.timeout(PATIENCE):
            await _ask(lambda: call(environment.id), environment.id, lambda group: _moves(group, towards))
    except (ContainerRefused, ContainersBusy, TimeoutError) as error:
        log.warning("%s of %s failed: %s", towards, environment.id, error)
        unknown = isinstance(error, ContainersUnavailable | TimeoutError)
        await _note_failure(environment, workflows, None if unknown else back, _reason(error))
        raise OrderFailed(f"failed to change the container group: {_reason(error)}") from error
    await settle(environment, workflows, later=towards is STARTING)
    return environment


async def _note_failure(
    environment: DevEnvironment, workflows: WorkflowClient, back: EnvironmentStatus | None, reason: str
) -> None:
    """Note why an order failed; return to the status `back`, or let the workflow find out when there is none."""

    def change(record: DevEnvironment) -> None:
        if record.order == environment.order and record.status is environment.status:
            if back is not None:
                record.enter(back, reason)
            else:
                record.failure = reason[:MAX_FAILURE]

    try:
        changed = await environments.update(environment.id, change)
    except tables.RecordNotFound:  # deleted meanwhile
        return
    if back is None:
        await settle(changed, workflows)


async def _ask(call: Callable[[], Awaitable[None]], group: str, taken: Callable[[GroupStatus | None], bool]) -> None:
    """Make a call until the service has taken it, a few times.

    `taken` says whether the group shows that an earlier attempt had an effect, although its answer was lost.
    """
    for pause in (*REPEATS, None):
        try:
            return await call()
        except ContainersBusy as error:
            if await _shows(group, taken):
                return None
            if pause is None:
                raise
            await asyncio.sleep(min(max(pause, error.retry_after), LONGEST_WAIT))
    return None


async def _shows(group: str, taken: Callable[[GroupStatus | None], bool]) -> bool:
    try:
        return taken(await state(group))
    except (ContainersBusy, ContainerRefused):
        return False


def _moves(group: GroupStatus | None, towards: EnvironmentStatus) -> bool:
    """Whether a group shows that it has been ordered to start, or to stop."""
    if group is None:
        return False
    stopped = group.state in ("Stopped", "Succeeded", "Failed")
    if towards is STOPPING:
        return stopped
    return towards is STARTING and (not stopped or group.provisioning in ("Pending", "Creating"))


def _reason(error: Exception) -> str:
    return str(error) or "the container service does not answer in time"
