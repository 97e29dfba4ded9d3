"""The steps of a job's workflow; each may be repeated, and raises `UnknownKind` for a kind that is not served."""

import logging
from base64 import b64encode

import azure.durable_functions as df

from functions.jobs import waiting
from functions.jobs.ending import close_job, settle
from shared import blobs, containers, tables
from shared.container_groups import ContainerSpec, GroupSpec, GroupStatus, RegistryLogin
from shared.jobs import (
    INPUTS,
    MAX_TEXT,
    BlobInput,
    Exit,
    Job,
    JobSpec,
    Unstartable,
    group_name,
    jobs,
    kind_of,
    new_token,
)
from shared.order import VARIABLE, InputFile, Order
from shared.settings import settings

log = logging.getLogger(__name__)
bp = df.Blueprint()

STARTUP_SECONDS = 600
"""How long a container may take from the request to its first push, image pull included."""

INLINE = 4096
"""Bytes of the largest input file that is a part of the order; a larger one is stored as a blob meanwhile."""

STOPPED = 143
"""The exit code of a container that was sent SIGTERM."""


@bp.activity_trigger(input_name="job")
async def job_create(job: dict) -> dict | None:
    """Create the job's container; return how its workflow is to wait, None when nothing is to run.

    `limit` is the seconds until the job's deadline, `pauses` those between two checks of the container, of which the
    last one repeats; the runner's pushes normally come first. `inputs` are the paths of the input files that
    `job_remove` deletes. `{"wait": seconds}` when the job cannot start yet; `job` says under `waits` how often that was
    the answer before.
    """
    job_id, kind, waits = job["id"], kind_of(job["kind"]), job.get("waits", 0)
    try:
        spec = await kind.prepare(job_id)
        if spec is None:  # it was ended before its start, perhaps while an earlier attempt created its container
            await close_job(job_id, kind.name)
            return None
        if (pause := await waiting.turn(job_id, kind, waits)) is not None:
            return {"wait": pause}
        try:
            inputs = await _start(job_id, kind.name, spec)
        except containers.ContainersBusy as error:
            return {"wait": await waiting.refused(job_id, kind, error)}
        if waits:
            await waiting.leave(job_id)
        pauses = [int(pause) for pause in settings().probe_pauses.split(",")]
        return {"limit": spec.timeout + STARTUP_SECONDS, "pauses": pauses, "inputs": inputs}
    except (Unstartable, containers.ContainerRefused, waiting.NotInTime) as error:
        await settle(job_id, kind.name, Exit(reason="unstartable", message=str(error)[:MAX_TEXT]))
        return None


async def _start(job_id: str, kind: str, spec: JobSpec) -> list[str]:
    """Create the job's record and its container, unless an earlier attempt did; return the paths of its own blobs."""
    token, hashed = new_token()
    stored = [path for path, data in spec.inputs.items() if isinstance(data, bytes) and len(data) > INLINE]
    new = Job(id=job_id, kind=kind, token_hash=hashed, timeout=spec.timeout, inputs=stored)
    if (await jobs.insert(new)).token_hash != hashed:
        if await containers.state(group_name(job_id)) is not None:
            return stored

        def expect(record: Job) -> None:  # the container will have the new token
            record.token_hash, record.timeout, record.inputs = hashed, spec.timeout, stored

        await jobs.update(job_id, expect)
    inputs: list[InputFile] = []
    for path, data in spec.inputs.items():
        if isinstance(data, BlobInput):
            inputs.append(InputFile(path, url=await blobs.link(data.container, data.blob)))
        elif path in stored:
            await blobs.put(INPUTS, f"{job_id}/{path}", data)
            inputs.append(InputFile(path, url=await blobs.link(INPUTS, f"{job_id}/{path}")))
        else:
            inputs.append(InputFile(path, data=b64encode(data).decode()))
    order = Order(
        url=f"{settings().base_url}/jobs/{job_id}",
        token=token,
        command=spec.command,
        directory=spec.directory,
        timeout=spec.timeout,
        inputs=inputs,
        secrets=list(spec.secrets),
        environment=dict(spec.environment),
        keep=spec.keep,
        report=spec.report,
        capture=spec.capture,
        mask_words=spec.mask_words,
        log_limit=settings().log_limit,
    )
    await containers.create(_group_of(job_id, kind, spec, order))
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
    )


@bp.activity_trigger(input_name="job")
async def job_probe(job: dict) -> dict | None:
    """Check the job's record and its container; return why the job is over, None while it runs or cannot be checked.

    The reason is as in `Exit`: `{"reason": ..., "message": ...}`, the message only when there is one.
    """
    kind = kind_of(job["kind"])
    try:
        if (await jobs.get(job["id"])).exit is not None:
            return {"reason": "exited"}
        if not await kind.wanted(job["id"]):
            return {"reason": "cancelled"}
        group = await containers.state(group_name(job["id"]))
        if group is None or group.ended:
            # The exit may have been pushed between the first look at the record and the end of the container.
            exited = (await jobs.get(job["id"])).exit is not None
            return {"reason": "exited"} if exited else {"reason": "lost", "message": _cause(group)}
    except (containers.ContainersBusy, tables.StorageUnavailable) as error:
        log.warning("job %s could not be checked: %s", job["id"], error)
    return None


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
    try:
        await containers.remove(group_name(job["id"]))
    except (containers.ContainersBusy, containers.ContainerRefused) as error:
        log.warning("the container of job %s is left to the upkeep: %s", job["id"], error)
    inputs: list[str] | None = job.get("inputs")
    if inputs is None:  # `job_create` failed and returned none, but its record may name some
        try:
            inputs = (await jobs.get(job["id"])).inputs
        except tables.RecordNotFound:
            return
    for path in inputs:
        await blobs.delete(INPUTS, f"{job['id']}/{path}")


@bp.activity_trigger(input_name="job")
async def job_end(job: dict) -> None:
    """Fix the job's exit and let its API record it."""
    await settle(job["id"], job["kind"], Exit(reason=job["reason"], message=job.get("message", "")))
