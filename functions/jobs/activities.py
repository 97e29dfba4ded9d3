"""The steps of a job's workflow; each may be repeated, and raises `UnknownKind` for a kind that is not served."""

import logging
from datetime import UTC, datetime, timedelta

import azure.durable_functions as df

from functions.jobs import waiting
from functions.jobs.ending import close_job, settle
from functions.jobs.orchestrations import ANEW, ENDED
from shared import blobs, containers, realtime, tables, warm
from shared.container_groups import ContainerSpec, GroupSpec, GroupStatus, RegistryLogin
from shared.job_orders import order_of, stored_inputs
from shared.jobs import (
    INPUTS,
    MAX_TEXT,
    Exit,
    Job,
    JobSpec,
    JobState,
    Unstartable,
    group_name,
    jobs,
    kind_of,
    new_token,
)
from shared.order import VARIABLE, Order
from shared.settings import settings

log = logging.getLogger(__name__)
bp = df.Blueprint()

STARTUP_SECONDS = 600
"""How long a container may take from the request to its first push, image pull included."""

UNANSWERED = timedelta(seconds=10)
"""How long a job may be placed without a word from its worker until a check takes it back."""

STOPPING = 6.0
"""Seconds within which a warm container must have ended a job that is stopped."""

STOPPED = 143
"""The exit code of a container that was sent SIGTERM."""


@bp.activity_trigger(input_name="job")
async def job_create(job: dict) -> dict | None:
    """Create the job's container; return how its workflow is to wait, None when nothing is to run.

    `limit` is the seconds until the job's deadline, `pauses` those between two checks of the container, of which the
    last one repeats; the runner's pushes normally come first. `inputs` are the paths of the input files that
    `job_remove` deletes. `{"wait": seconds}` when the job cannot start yet; `job` says under `waits` how often that was
    the answer before. With `placed`, a warm container runs the job; `ENDED` when it has done so already.
    """
    job_id, kind, waits = job["id"], kind_of(job["kind"]), job.get("waits", 0)
    pauses = [int(pause) for pause in settings().probe_pauses.split(",")]
    try:
        if settings().warm and (placed := await _placed(job_id)) is not None:
            return placed if placed == ENDED else {**placed, "pauses": pauses}
        spec = await kind.prepare(job_id)
        if spec is None:  # it was ended before its start, perhaps while an earlier attempt created its container
            await close_job(job_id, kind.name)
            return None
        if (pause := await waiting.turn(job_id, kind, waits)) is not None:
            return {"wait": pause}
        if await warm.place_spec(kind.name, job_id, spec):
            if waits:
                await waiting.leave(job_id)
            return {
                "limit": spec.timeout + STARTUP_SECONDS,
                "pauses": pauses,
                "inputs": stored_inputs(spec),
                "placed": True,
            }
        try:
            inputs = await _start(job_id, kind.name, spec)
        except containers.ContainersBusy as error:
            if not kind.queues:
                raise Unstartable(str(error)) from error
            return {"wait": await waiting.refused(job_id, kind, error)}
        if waits:
            await waiting.leave(job_id)
        return {"limit": spec.timeout + STARTUP_SECONDS, "pauses": pauses, "inputs": inputs}
    except (Unstartable, containers.ContainerRefused, waiting.NotInTime) as error:
        await settle(job_id, kind.name, Exit(reason="unstartable", message=str(error)[:MAX_TEXT]))
        return None


async def _placed(job_id: str) -> dict | None:
    """Return the answer for a job that a warm container has been given, None for another one."""
    try:
        job = await jobs.get(job_id)
    except tables.RecordNotFound:
        return None
    if not job.worker:
        return None
    if job.exit is None:
        return {"limit": job.timeout + STARTUP_SECONDS, "inputs": job.inputs, "placed": True}
    await settle(job_id, job.kind, Exit())
    await _delete_inputs(job_id, job.inputs)
    return ENDED


async def _start(job_id: str, kind: str, spec: JobSpec) -> list[str]:
    """Create the job's record and its container, unless an earlier attempt did; return the paths of its own blobs."""
    token, hashed = new_token()
    stored = stored_inputs(spec)
    new = Job(id=job_id, kind=kind, token_hash=hashed, timeout=spec.timeout, inputs=stored)
    if (await jobs.insert(new)).token_hash != hashed:
        if await containers.state(group_name(job_id)) is not None:
            return stored

        def expect(record: Job) -> None:  # the container will have the new token
            record.token_hash, record.timeout, record.inputs = hashed, spec.timeout, stored

        await jobs.update(job_id, expect)
    await containers.create(_group_of(job_id, kind, spec, await order_of(job_id, spec, token)))
    return stored


def _group_of(job_id: str, kind: str, spec: JobSpec, order: Order) -> GroupSpec:
    image, identity = spec.image or settings().runner_image, settings().runner_identity
    main = ContainerSpec(
        name="main",
        image=image,
        # The command's own variables are in the order: they must not change how the runner works.
        secrets={**spec.secrets, VARIABLE: order.to_json()},
        cpu=spec.cpu,
        memory_gb=spec.memory_gb or settings().job_memory,
    )
    return GroupSpec(
        name=group_name(job_id),
        containers=[main],
        registries=[RegistryLogin(image.split("/")[0], identity)] if identity else [],
        tags={"runyard-job": job_id, "runyard-kind": kind},
        subnet=spec.subnet,
    )


@bp.activity_trigger(input_name="job")
async def job_probe(job: dict) -> dict | None:
    """Check the job's record and its container; return why the job is over, None while it runs or cannot be checked.

    The reason is as in `Exit`: `{"reason": ..., "message": ...}`, the message only when there is one. `ANEW` when a
    warm container should run it and has not taken it.
    """
    kind = kind_of(job["kind"])
    try:
        record = await jobs.get(job["id"])
        if record.exit is not None:
            return {"reason": "exited"}
        if not await kind.wanted(job["id"]):
            return {"reason": "cancelled"}
        group = await containers.state(group_name(record.worker or record.id))
        if group is None or group.ended:
            # The exit may have been pushed between the first look at the record and the end of the container.
            exited = (await jobs.get(job["id"])).exit is not None
            return {"reason": "exited"} if exited else {"reason": "lost", "message": _cause(group)}
        if record.worker and await _was_not_taken(record):
            return ANEW
        if record.worker and await _was_left(record):
            return {"reason": "lost", "message": "The runner ended without a report"}
    # A refusal too: permissions that are just being changed are no reason to end a job that runs.
    except (containers.ContainersBusy, containers.ContainerRefused, tables.StorageUnavailable) as error:
        log.warning("job %s could not be checked: %s", job["id"], error)
    return None


async def _was_not_taken(job: Job) -> bool:
    """Take back a job whose order was lost with the process that sent it; False while that process may be waiting."""
    young = datetime.now(UTC) - job.updated_at < UNANSWERED
    if young or job.accepted or job.state is not JobState.CREATED or not await warm.take_back(job.id, job.token_hash):
        return False
    await warm.dismiss(job.worker)
    return True


async def _was_left(job: Job) -> bool:
    """Whether the job's worker waits for the next job, or runs it, although the exit of this one was not reported."""
    try:
        worker = await warm.workers.get(job.worker)
    except tables.RecordNotFound:
        return False  # its container is about to end
    left = worker.job != job.id or worker.state is warm.WorkerState.IDLE
    return left and (await jobs.get(job.id)).exit is None


def _cause(group: GroupStatus | None) -> str:
    """Return why a container has ended without a report, "" when that is not known."""
    for container in group.containers.values() if group else ():
        if container.out_of_memory:
            return f"Ran out of memory ({container.memory_gb:g} GB)"
        if container.exit_code == STOPPED:
            return "The container was stopped from outside: its machine was restarted, or somebody stopped it"
    return group.failure[:MAX_TEXT] if group else ""


@bp.activity_trigger(input_name="job")
async def job_remove(job: dict) -> None:
    """Remove the job's container and its input files; it is not an error when either is already removed."""
    kind_of(job["kind"])  # an app that does not serve the kind leaves its containers alone
    if "waits" in job:
        await waiting.leave(job["id"])
    inputs: list[str] | None = job.get("inputs")
    worker = ""
    if inputs is None or job.get("placed"):
        try:
            record = await jobs.get(job["id"])
            inputs, worker = record.inputs, record.worker
        except tables.RecordNotFound:
            inputs = []
    try:
        if worker:
            await _stop(worker, job["id"])
        else:
            await containers.remove(group_name(job["id"]))
    except (containers.ContainersBusy, containers.ContainerRefused) as error:
        log.warning("the container of job %s is left to the upkeep: %s", job["id"], error)
    await _delete_inputs(job["id"], inputs or [])


async def _stop(worker_id: str, job_id: str) -> None:
    """End a job in a warm container; without the worker's word that nothing of it is left, remove the container."""

    async def is_free() -> bool:
        try:
            worker = await warm.workers.get(worker_id)
        except tables.RecordNotFound:
            return True
        return worker.job != job_id or worker.state is warm.WorkerState.IDLE

    if await is_free():
        return
    await realtime.send(warm.HUB, worker_id, {"type": "stop", "job": job_id})
    if not await warm.ends.wait(job_id, STOPPING, is_free):
        log.warning("removing the warm container %s, which has not ended job %s", worker_id, job_id)
        await warm.dismiss(worker_id)
        await containers.remove(group_name(worker_id))


async def _delete_inputs(job_id: str, inputs: list[str]) -> None:
    for path in inputs:
        await blobs.delete(INPUTS, f"{job_id}/{path}")


@bp.activity_trigger(input_name="job")
async def job_end(job: dict) -> None:
    """Fix the job's exit and let its API record it."""
    await settle(job["id"], job["kind"], Exit(reason=job["reason"], message=job.get("message", "")))
