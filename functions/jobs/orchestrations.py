"""The workflow of a job: create its container, wait for its end, record the end, always remove the container."""

from datetime import timedelta

import azure.durable_functions as df

from shared.jobs import CANCEL, FINISHED, Reason

bp = df.Blueprint()

PAUSES = [15, 30, 60]
"""Seconds between two checks of a container, for an instance whose `job_create` returned the limit alone."""

RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=5000, max_number_of_attempts=5)


@bp.orchestration_trigger(context_name="context")
def run_job(ctx: df.DurableOrchestrationContext):
    """Run one job from its record to its end; the instance id is the job's id, the input its kind."""
    job = {"id": ctx.instance_id, "kind": ctx.get_input()}
    try:
        created = yield ctx.call_activity_with_retry("job_create", RETRY, job)
    except Exception:
        yield ctx.call_activity_with_retry("job_remove", RETRY, job)
        yield ctx.call_activity_with_retry("job_end", RETRY, {**job, "reason": "unstartable"})
        return
    if created is None:
        return
    limit, pauses = (created["limit"], created["pauses"]) if isinstance(created, dict) else (created, PAUSES)
    reason: Reason | None = None
    finished, cancel = ctx.wait_for_external_event(FINISHED), ctx.wait_for_external_event(CANCEL)
    deadline = ctx.create_timer(ctx.current_utc_datetime + timedelta(seconds=limit))
    probes = 0
    while reason is None:
        pause = pauses[min(probes, len(pauses) - 1)]
        probe = ctx.create_timer(ctx.current_utc_datetime + timedelta(seconds=pause))
        winner = yield ctx.task_any([finished, cancel, deadline, probe])
        if winner == probe:
            probes += 1
            reason = yield ctx.call_activity_with_retry("job_probe", RETRY, job)
            continue
        probe.cancel()  # pyright: ignore[reportAttributeAccessIssue]
        reason = "exited" if winner == finished else "cancelled" if winner == cancel else "timeout"
    if not deadline.is_completed:
        deadline.cancel()  # pyright: ignore[reportAttributeAccessIssue]
    end = {**job, "reason": reason}
    if reason == "exited":  # the command has ended, so the end is recorded without waiting for the removal
        yield ctx.task_all(
            [
                ctx.call_activity_with_retry("job_end", RETRY, end),
                ctx.call_activity_with_retry("job_remove", RETRY, job),
            ]
        )
    else:
        yield ctx.call_activity_with_retry("job_remove", RETRY, job)
        yield ctx.call_activity_with_retry("job_end", RETRY, end)
