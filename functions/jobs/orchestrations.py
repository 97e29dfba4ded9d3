"""The workflow of a job: make its container, wait for its end, tell its API, always remove the container."""

import contextlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import azure.durable_functions as df

from shared import blobs, containers, tables
from shared.jobs import (
    CANCEL,
    FINISHED,
    INPUTS,
    LOGS,
    Exit,
    Job,
    JobSpec,
    JobState,
    Reason,
    Unstartable,
    group_name,
    jobs,
    kinds,
    new_token,
)
from shared.settings import settings

bp = df.Blueprint()

STARTUP_SECONDS = 600
"""How long a container may take from the request to its first push, image pull included."""

PROBE_SECONDS = (15, 30, 60)
"""Pauses between looks at a container whose runner pushes; the last one repeats."""

RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=5000, max_number_of_attempts=5)


@bp.orchestration_trigger(context_name="context")
def run_job(ctx: df.DurableOrchestrationContext):
    """One job from its record to its end; the instance id is the job's, the input its kind."""
    job = {"id": ctx.instance_id, "kind": ctx.get_input()}
    try:
        limit = yield ctx.call_activity_with_retry("job_create", RETRY, job)
    except Exception:
        yield ctx.call_activity_with_retry("job_remove", RETRY, job)
        yield ctx.call_activity_with_retry("job_end", RETRY, {**job, "reason": "unstartable"})
        return
    if limit is None:
        return
    reason: Reason | None = None
    finished, cancel = ctx.wait_for_external_event(FINISHED), ctx.wait_for_external_event(CANCEL)
    deadline = ctx.create_timer(ctx.current_utc_datetime + timedelta(seconds=limit))
    looks = 0
    while reason is None:
        pause = PROBE_SECONDS[min(looks, len(PROBE_SECONDS) - 1)]
        probe = ctx.create_timer(ctx.current_utc_datetime + timedelta(seconds=pause))
        winner = yield ctx.task_any([finished, cancel, deadline, probe])
        if winner == probe:
            looks += 1
            reason = yield ctx.call_activity_with_retry("job_probe", RETRY, job)
            continue
        probe.cancel()  # pyright: ignore[reportAttributeAccessIssue]
        reason = "exited" if winner == finished else "cancelled" if winner == cancel else "timeout"
    if not deadline.is_completed:
        deadline.cancel()  # pyright: ignore[reportAttributeAccessIssue]
    end = {**job, "reason": reason}
    if reason == "exited":  # nothing runs any more: tell first, clean up beside it
        yield ctx.task_all(
            [
                ctx.call_activity_with_retry("job_end", RETRY, end),
                ctx.call_activity_with_retry("job_remove", RETRY, job),
            ]
        )
    else:
        yield ctx.call_activity_with_retry("job_remove", RETRY, job)
        yield ctx.call_activity_with_retry("job_end", RETRY, end)


@bp.activity_trigger(input_name="job")
async def job_create(job: dict) -> int | None:
    """Make the job's container; answers the seconds after which it is overdue, None when nothing is to run."""
    job_id, kind = job["id"], job["kind"]
    try:
        spec = await kinds[kind].prepare(job_id)
        if spec is None:
            return None
        if await containers.state(group_name(job_id)) is None:  # else this is a repeat
            await _start(job_id, kind, spec)
        # Cancelled in this very moment: its event may have come before there was anything to cancel.
        return spec.timeout + STARTUP_SECONDS if await kinds[kind].wanted(job_id) else 0
    except (Unstartable, containers.ContainerRefused) as error:
        await settle(job_id, kind, Exit(reason="unstartable", message=str(error)))
        return None


async def _start(job_id: str, kind: str, spec: JobSpec) -> None:
    token, hashed = new_token()

    def expect(record: Job) -> None:
        record.token_hash, record.timeout, record.inputs = hashed, spec.timeout, list(spec.inputs)

    await _record(job_id, kind, expect)  # of a repeat, with the hash of the token that its new container will know
    inputs: list[dict[str, str]] = []
    for path, data in spec.inputs.items():
        await blobs.put(INPUTS, f"{job_id}/{path}", data)
        inputs.append({"path": path, "url": await blobs.link(INPUTS, f"{job_id}/{path}")})
    order: dict[str, Any] = {
        "url": f"{settings().base_url}/jobs/{job_id}",
        "token": token,
        "command": spec.command,
        "directory": spec.directory,
        "environment": dict(spec.environment),
        "timeout": spec.timeout,
        "keep": spec.keep,
        "capture": spec.capture,
        "mask_words": spec.mask_words,
        "inputs": inputs,
        "secrets": list(spec.secrets),
    }
    await containers.create(
        group_name(job_id),
        environment={},  # what the command is given must not reach the runner
        secrets={**spec.secrets, "RUNYARD_JOB": json.dumps(order, ensure_ascii=False)},
        tags={"runyard-job": job_id, "runyard-kind": kind},
        image=spec.image or settings().runner_image,
        cpu=spec.cpu,
        memory_gb=spec.memory_gb,
    )


async def _record(job_id: str, kind: str, change: Callable[[Job], None]) -> Job:
    """The job's record, made at need, after this change."""
    try:
        return await jobs.update(job_id, change)
    except tables.NotFound:
        record = Job(id=job_id, kind=kind, token_hash="", timeout=0)
        change(record)
        return await jobs.insert(record)


@bp.activity_trigger(input_name="job")
async def job_probe(job: dict) -> Reason | None:
    """Look at the truth where no push came: the reason why the job is over, None while it runs."""
    if (await jobs.get(job["id"])).exit is not None:
        return "exited"
    if not await kinds[job["kind"]].wanted(job["id"]):
        return "cancelled"
    state = await containers.state(group_name(job["id"]))
    if state is None or state.ended:
        # Its last push may just have come: the record is read after the container was seen to have ended.
        return "exited" if (await jobs.get(job["id"])).exit is not None else "lost"
    return None


@bp.activity_trigger(input_name="job")
async def job_remove(job: dict) -> None:
    """Remove the job's container and its inputs; what is gone already is no error."""
    await containers.remove(group_name(job["id"]))
    try:
        record = await jobs.get(job["id"])
    except tables.NotFound:
        return
    for path in record.inputs:
        await blobs.delete(INPUTS, f"{record.id}/{path}")


@bp.activity_trigger(input_name="job")
async def job_end(job: dict) -> None:
    """Tell the job's API how it ended."""
    await settle(job["id"], job["kind"], Exit.model_validate({"reason": job["reason"]}))


async def settle(job_id: str, kind: str, otherwise: Exit) -> None:
    """Settle the exit in the job's record, so that a repeat tells the same; `otherwise` where the runner told none."""

    def close(record: Job) -> None:
        record.state = JobState.ENDED

    record = await _record(job_id, kind, close)
    if record.exit is None:
        # No push is taken any more. One on its way may have lengthened the log, and not yet counted what it brought.
        with contextlib.suppress(blobs.BlobNotFound):
            otherwise.size = (await blobs.info(LOGS, job_id)).size

        def finish(record: Job) -> None:
            if record.exit is None:
                record.exit, record.size = otherwise.model_dump(mode="json"), otherwise.size

        record = await jobs.update(job_id, finish)
    await kinds[kind].ended(record, Exit.model_validate(record.exit))
