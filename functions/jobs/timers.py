"""Repairs after a crash: starts missing workflows, ends jobs whose workflow has ended, removes leftover containers."""

import logging
from datetime import UTC, datetime, timedelta

from functions.jobs import waiting
from functions.jobs.ending import close_job, settle
from shared import containers, tables
from shared.faults import Sweep
from shared.jobs import CANCEL, WORKFLOW, Exit, JobKind, JobState, UnknownKind, jobs, kind_of, kinds
from shared.tables.ids import time_of
from shared.workflows import ACTIVE, WorkflowClient

log = logging.getLogger(__name__)

MIN_AGE = timedelta(seconds=60)
"""A job record younger than this is left alone: its workflow may be starting at this moment."""

_reported: set[str] = set()
"""Kinds that this app does not serve and for which a warning was logged already."""


async def reconcile(workflows: WorkflowClient) -> None:
    """Start jobs without a workflow, end those whose workflow has ended, remove containers that should not run.

    Jobs and containers of kinds that this app does not serve are left alone. A failure with one item is reported, and
    the other items are still handled.
    """
    async with Sweep("upkeep of jobs") as sweep:
        for kind in kinds.values():
            with sweep.item(f"jobs of the kind {kind.name}"):
                await _repair_jobs(sweep, workflows, kind)
        with sweep.item("container groups"):
            async for group, tags in containers.groups():
                if "runyard-job" in tags:
                    with sweep.item(f"container group {group}"):
                        await _sweep_group(workflows, group, tags["runyard-job"], tags.get("runyard-kind", ""))
        with sweep.item("jobs in line"):
            await waiting.sweep()


async def _repair_jobs(sweep: Sweep, workflows: WorkflowClient, kind: JobKind) -> None:
    async for job_id in kind.unfinished():
        created = time_of(job_id)
        if created is None or datetime.now(UTC) - created > MIN_AGE:
            with sweep.item(f"{kind.name} {job_id}"):
                await _repair_job(workflows, kind, job_id)


async def _repair_job(workflows: WorkflowClient, kind: JobKind, job_id: str) -> None:
    status = await workflows.status(job_id)
    if status in ACTIVE or not await kind.wanted(job_id):
        return
    if status is None:
        log.warning("starting the workflow of %s %s, which had none", kind.name, job_id)
        await workflows.start(WORKFLOW, job_id, kind.name)
    else:
        log.warning("ending %s %s: its workflow has ended as %s", kind.name, job_id, status)
        await settle(job_id, kind.name, Exit(reason="lost"))


async def _sweep_group(workflows: WorkflowClient, group: str, job_id: str, kind_name: str) -> None:
    """Remove a container that should not run: its workflow has ended, or its job is not wanted and has no workflow.

    Where the workflow goes on with a job that is not wanted, it has missed the event, which is sent again.
    """
    try:
        kind = kind_of(kind_name)
    except UnknownKind as error:
        if kind_name not in _reported:
            _reported.add(kind_name)
            log.warning("leaving container group %s alone: %s", group, error)
        return
    status, wanted = await workflows.status(job_id), await kind.wanted(job_id)
    if status in ACTIVE:
        if not wanted and not await _has_ended(job_id):
            await workflows.signal(job_id, CANCEL)
        return
    if status is None and wanted and await _is_open(job_id):
        return  # its workflow is started anew, and takes the container over
    found = await containers.state(group)
    if found is None or found.provisioning == "Deleting":
        return
    log.warning("removing container group %s: its job %s is over", group, job_id)
    await containers.remove(group)
    await close_job(job_id, kind.name)
    await kind.orphaned(job_id)


async def _has_ended(job_id: str) -> bool:
    """Whether the job's exit is known, so that its workflow is about to end."""
    try:
        job = await jobs.get(job_id)
    except tables.RecordNotFound:
        return False
    return job.exit is not None or job.state is JobState.ENDED


async def _is_open(job_id: str) -> bool:
    """Whether the job has a record and pushes are still taken."""
    try:
        return (await jobs.get(job_id)).state is not JobState.ENDED
    except tables.RecordNotFound:
        return False
