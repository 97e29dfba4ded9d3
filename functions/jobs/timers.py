"""Repairs after a crash: starts missing workflows, ends jobs whose workflow has ended, removes leftover containers."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from functions.jobs.ending import settle
from shared import containers, tables
from shared.jobs import WORKFLOW, Exit, JobKind, JobState, UnknownKind, jobs, kind_of, kinds
from shared.tables.ids import time_of
from shared.workflows import ACTIVE, WorkflowClient

log = logging.getLogger(__name__)

MIN_AGE = timedelta(seconds=60)
"""A job record younger than this is left alone: its workflow may be starting at this moment."""

_reported: set[str] = set()
"""Kinds that this app does not serve and for which a warning was logged already."""


async def reconcile(workflows: WorkflowClient) -> None:
    """Start jobs without a workflow, end those whose workflow has ended, remove containers whose job is over.

    Jobs and containers of kinds that this app does not serve are left alone. A failure is logged and the
    other items are still handled.
    """
    for kind in kinds.values():
        with _failure_logged("jobs of the kind", kind.name):
            await _repair_jobs(workflows, kind)
    async for group, tags in containers.groups():
        if "runyard-job" in tags:
            with _failure_logged("container group", group):
                await _sweep_group(workflows, group, tags["runyard-job"], tags.get("runyard-kind", ""))


@contextmanager
def _failure_logged(what: str, name: str) -> Generator[None]:
    """Log a failure with one item, so that the next items are still handled."""
    try:
        yield
    except Exception:
        log.exception("could not repair %s %s", what, name)


async def _repair_jobs(workflows: WorkflowClient, kind: JobKind) -> None:
    async for job_id in kind.unfinished():
        created = time_of(job_id)
        if created is None or datetime.now(UTC) - created > MIN_AGE:
            with _failure_logged(kind.name, job_id):
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
    try:
        kind = kind_of(kind_name)
    except UnknownKind as error:
        if kind_name not in _reported:
            _reported.add(kind_name)
            log.warning("leaving container group %s alone: %s", group, error)
        return
    if await workflows.status(job_id) not in ACTIVE and await _is_over(job_id):
        log.warning("removing container group %s: its job %s is over", group, job_id)
        await containers.remove(group)
        await kind.orphaned(job_id)


async def _is_over(job_id: str) -> bool:
    try:
        return (await jobs.get(job_id)).state is JobState.ENDED
    except tables.RecordNotFound:
        return True
