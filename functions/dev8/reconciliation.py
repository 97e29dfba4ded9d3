"""Comparing records with the container groups and file shares of this deployment; others are never touched."""

import asyncio
import random
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

from functions.dev8 import layout, places
from functions.dev8.lifecycle import state
from functions.dev8.records import ERROR, RUNNING, STOPPED, DevEnvironment, Orphan
from functions.dev8.settle import STILL, rest
from functions.dev8.store import environments, orphans
from shared import containers, faults, shares, tables
from shared.container_groups import ContainerPhase, GroupStatus
from shared.containers import ContainersUnavailable
from shared.faults import Sweep
from shared.settings import settings
from shared.tables.ids import derived_id
from shared.workflows import WorkflowClient

AT_ONCE = 8
"""Container groups that are looked at side by side."""

SECONDS = 40.0
"""How long further ones are begun with: all work of a minute is waited for."""

LIST_SECONDS = 20.0
"""How long each of the two lists may take, with the removals that it leads to."""

GROUP_AGE = timedelta(hours=1)
"""How long a group may be without a record before it is removed; a share may for `DEV8_SHARE_DAYS`."""

_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


async def reconcile(workflows: WorkflowClient) -> str | None:
    """Correct the records of resting environments, and remove what has had no record for long.

    Each correction raises an alert. What is left after `SECONDS`, or when the container service does not answer, waits
    for the next run. Cost: two lists, a query for each 250 records, and two calls for each environment that runs or is
    stopped.
    """
    done: list[str] = []
    async with Sweep("comparing environments with their container groups") as sweep:
        known = {each.id: each async for each in environments.all()}
        resting = [each for each in known.values() if each.status in (RUNNING, STOPPED)]
        is_answered = await _correct_all(sweep, resting, done)
        orphaned = _Orphaned(known)
        if is_answered:
            with sweep.item("container groups"):
                async with asyncio.timeout(LIST_SECONDS):
                    await _sweep_groups(sweep, orphaned, known, done)
            with sweep.item("file shares"):
                async with asyncio.timeout(LIST_SECONDS):
                    await _sweep_shares(sweep, orphaned, done)
        with sweep.item("places"):
            for place in await places.stale(places.EVERYONE, known):
                if not await _has_record(place.environment_id):
                    await places.release(place.environment_id, place.user_id)
        if not sweep.failed:
            await orphaned.forget_others()
    return "; ".join(done) or None


async def _correct_all(sweep: Sweep, resting: list[DevEnvironment], done: list[str]) -> bool:
    """Correct these records, some at once; return False when the container service does not answer."""
    end = time.monotonic() + SECONDS
    random.shuffle(resting)  # so that a run that ends early leaves other ones each time
    for first in range(0, len(resting), AT_ONCE):
        part = resting[first : first + AT_ONCE]
        results = await asyncio.gather(*map(_correct, part), return_exceptions=True)
        for environment, result in zip(part, results, strict=True):
            with sweep.item(environment.id):
                if isinstance(result, BaseException):
                    raise result
                done += [result] if result else []
        if any(isinstance(result, ContainersUnavailable) for result in results):
            return False
        if time.monotonic() > end:
            break
    return True


async def _correct(listed: DevEnvironment) -> str | None:
    """Make a resting record, or one in ERROR that has a group, agree with its group; return what was done."""
    try:
        environment = await environments.get(listed.id)
        group = await state(listed.id)
        if environment.status is ERROR and group is not None:
            return await _recover(environment, group)
        if environment.status not in (RUNNING, STOPPED):
            return None
        if group is None:
            await rest(environment, ERROR, "its container group was deleted by somebody else")
            return f"{environment.id} has lost its group"
        if environment.status is RUNNING and group.state in STILL:
            await rest(environment, STOPPED, "its containers were stopped by the platform or by somebody else")
            return f"{environment.id} was stopped"
        if environment.status is RUNNING and _has_ended(group):
            await containers.stop(environment.id)
            await rest(environment, STOPPED, "one of its containers has ended")
            return f"{environment.id} has ended and was stopped"
        if environment.status is STOPPED and group.running:
            await faults.report(f"environment {environment.id}", f"Environment {environment.id} ran although stopped")
            await containers.stop(environment.id)
            return f"stopped the group of {environment.id}"
        if environment.status is RUNNING and group.running and (group.ip or "") != environment.ip:

            def readdress(record: DevEnvironment) -> None:
                record.ip, record.fqdn = group.ip or "", group.fqdn or ""

            await environments.update(environment, readdress, if_match=environment.etag)
            return f"{environment.id} has another address"
    except (tables.RecordNotFound, tables.RecordChanged):  # ordered meanwhile
        pass
    return None


def _has_ended(group: GroupStatus) -> bool:
    """Whether one of its containers has ended without an error: the service restarts it only after one."""
    ended = ContainerPhase.TERMINATED
    return any(each.phase is ended and each.exit_code == 0 for each in group.containers.values())


async def _recover(environment: DevEnvironment, group: GroupStatus) -> str:
    """See to the group of an environment in ERROR, which has none as far as its record knows; return what was done.

    With its files, it was not to be found for a while: it becomes a stopped one. Without them, its creation has failed,
    and the service has made the group all the same.
    """
    if await shares.metadata(settings().dev8_storage_account, environment.share) is None:
        message = f"Container group {environment.id} was made after its creation had failed, and was removed"
        await faults.report(f"environment {environment.id}", message)
        await containers.remove(environment.id)
        return f"removed the group of {environment.id}"
    if group.state not in STILL:
        await containers.stop(environment.id)
    await rest(environment, STOPPED, "its container group was not to be found for a while")
    return f"{environment.id} has its group again"


async def _sweep_groups(
    sweep: Sweep, orphaned: "_Orphaned", known: Mapping[str, DevEnvironment], done: list[str]
) -> None:
    async for name, tags in containers.groups():
        if tags.get("managed-by") != layout.MANAGER or tags.get("deployment") != layout.deployment():
            continue
        with sweep.item(f"container group {name}"):
            if name in known and known[name].status is ERROR:
                corrected = await _correct(known[name])
                done += [corrected] if corrected else []
                continue
            if await orphaned.age(name, name) < GROUP_AGE:
                continue
            await faults.report(f"group {name}", f"Container group {name} had no record and was removed")
            await containers.remove(name)
            done.append(f"removed the group {name}")


async def _sweep_shares(sweep: Sweep, orphaned: "_Orphaned", done: list[str]) -> None:
    account, prefix = settings().dev8_storage_account, "workspace-"
    async for name in shares.names(account):
        with sweep.item(f"file share {name}"):
            if not name.startswith(prefix):
                continue
            if await orphaned.age(name, name.removeprefix(prefix)) < timedelta(days=settings().dev8_share_days):
                continue
            metadata = await shares.metadata(account, name) or {}
            if metadata.get("managedby") != layout.MANAGER or metadata.get("deployment") != layout.deployment():
                continue
            await faults.report(f"share {name}", f"File share {name} had no record and was removed with its files")
            await shares.delete(account, name)
            done.append(f"removed the share {name}")


class _Orphaned:
    """The groups and shares that have no record now; `known` are the environments that had one before the lists."""

    def __init__(self, known: Collection[str]):
        self._known, self._seen = known, set[str]()

    async def age(self, name: str, environment_id: str) -> timedelta:
        """Return how long a group or a share has been without a record, a negative time when it has one."""
        if environment_id in self._known or await _has_record(environment_id):
            return timedelta(days=-1)
        self._seen.add(name)
        now = datetime.now(UTC)
        orphan = Orphan(id=derived_id(_EPOCH, name), created_at=_EPOCH, name=name, since=now)
        return now - (await orphans.insert(orphan)).since

    async def forget_others(self) -> None:
        """Forget those that no longer exist, or have a record again."""
        async for orphan in orphans.all():
            if orphan.name not in self._seen:
                await orphans.delete(orphan.id)


async def _has_record(environment_id: str) -> bool:
    try:
        await environments.get(environment_id)
    except tables.RecordNotFound:
        return False
    return True
