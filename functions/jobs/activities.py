"""The steps of a job's workflow; each may be repeated, and raises `UnknownKind` for a kind that is not served."""

import azure.durable_functions as df

from functions.jobs.ending import change_job, settle
from shared import blobs, containers, tables
from shared.container_groups import ContainerSpec, GroupSpec, RegistryLogin
from shared.jobs import (
    INPUTS,
    Exit,
    Job,
    JobSpec,
    Reason,
    Unstartable,
    group_name,
    jobs,
    kind_of,
    new_token,
)
from shared.order import VARIABLE, InputFile, Order
from shared.settings import settings

bp = df.Blueprint()

STARTUP_SECONDS = 600
"""How long a container may take from the request to its first push, image pull included."""


@bp.activity_trigger(input_name="job")
async def job_create(job: dict) -> dict | None:
    """Create the job's container; return how its workflow is to wait, None when nothing is to run.

    `limit` is the seconds until the job's deadline, `pauses` those between two checks of the container, of which the
    last one repeats; the runner's pushes normally come first.
    """
    job_id, kind = job["id"], kind_of(job["kind"])
    try:
        spec = await kind.prepare(job_id)
        if spec is None:
            return None
        if await containers.state(group_name(job_id)) is None:  # otherwise an earlier attempt has created it
            await _start(job_id, kind.name, spec)
        # A cancel request may have sent its event already, before the workflow waits for it.
        limit = spec.timeout + STARTUP_SECONDS if await kind.wanted(job_id) else 0
        return {"limit": limit, "pauses": [int(pause) for pause in settings().probe_pauses.split(",")]}
    except (Unstartable, containers.ContainerRefused) as error:
        await settle(job_id, kind.name, Exit(reason="unstartable", message=str(error)))
        return None


async def _start(job_id: str, kind: str, spec: JobSpec) -> None:
    token, hashed = new_token()

    def expect(record: Job) -> None:
        record.token_hash, record.timeout, record.inputs = hashed, spec.timeout, list(spec.inputs)

    await change_job(job_id, kind, expect)  # a repeat replaces the hash: its container has the new token
    inputs: list[InputFile] = []
    for path, data in spec.inputs.items():
        await blobs.put(INPUTS, f"{job_id}/{path}", data)
        inputs.append(InputFile(path, await blobs.link(INPUTS, f"{job_id}/{path}")))
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
        capture=spec.capture,
        mask_words=spec.mask_words,
    )
    await containers.create(_group_of(job_id, kind, spec, order))


def _group_of(job_id: str, kind: str, spec: JobSpec, order: Order) -> GroupSpec:
    image, identity = spec.image or settings().runner_image, settings().runner_identity
    main = ContainerSpec(
        name="main",
        image=image,
        # The command's own variables are in the order: they must not change how the runner works.
        secrets={**spec.secrets, VARIABLE: order.to_json()},
        cpu=spec.cpu,
        memory_gb=spec.memory_gb,
    )
    return GroupSpec(
        name=group_name(job_id),
        containers=[main],
        registries=[RegistryLogin(image.split("/")[0], identity)] if identity else [],
        tags={"runyard-job": job_id, "runyard-kind": kind},
    )


@bp.activity_trigger(input_name="job")
async def job_probe(job: dict) -> Reason | None:
    """Check the job's record and its container; return why the job is over, None while it runs."""
    kind = kind_of(job["kind"])
    if (await jobs.get(job["id"])).exit is not None:
        return "exited"
    if not await kind.wanted(job["id"]):
        return "cancelled"
    group = await containers.state(group_name(job["id"]))
    if group is None or group.ended:
        # The exit may have been pushed between the first look at the record and the end of the container.
        return "exited" if (await jobs.get(job["id"])).exit is not None else "lost"
    return None


@bp.activity_trigger(input_name="job")
async def job_remove(job: dict) -> None:
    """Remove the job's container and its input files; it is not an error when either is already removed."""
    kind_of(job["kind"])  # an app that does not serve the kind leaves its containers alone
    await containers.remove(group_name(job["id"]))
    try:
        record = await jobs.get(job["id"])
    except tables.RecordNotFound:
        return
    for path in record.inputs:
        await blobs.delete(INPUTS, f"{record.id}/{path}")


@bp.activity_trigger(input_name="job")
async def job_end(job: dict) -> None:
    """Fix the job's exit and let its API record it."""
    await settle(job["id"], job["kind"], Exit.model_validate({"reason": job["reason"]}))
