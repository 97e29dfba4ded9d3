"""The workflow of a job: create its container, wait for its end, record the end, always remove the container."""

from datetime import timedelta

import azure.durable_functions as df

from shared.jobs import CANCEL, CHECK, FINISHED

bp = df.Blueprint()

PAUSES = [15, 30, 60]
"""Seconds between two checks of a container, for an instance whose `job_create` returned the limit alone."""

SOON = 1
"""Seconds from the event `CHECK` to the check: a container whose connection has ended may still be ending."""

ENDED = {"ended": True}
"""The answer of `job_create` for a job whose end is recorded: a warm container may be that fast."""

ANEW = {"again": True}
"""The answer of `job_probe` for a job that its warm container never took."""

RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=5000, max_number_of_attempts=5)


@bp.orchestration_trigger(context_name="context")
def run_job(ctx: df.DurableOrchestrationContext):
    """Run one job from its record to its end; the instance id is the job's id, the input its kind.

    While the job cannot start, each attempt is a new execution of the instance, so that the history stays short; its
    input is then `{"kind": ..., "waits": how often it has waited}`. A job that a warm container runs is looked after in
    the same way; when that container never took it, it starts anew.
    """
    given = ctx.get_input()
    job = {"id": ctx.instance_id, **(given if isinstance(given, dict) else {"kind": given})}
    try:
        created = yield ctx.call_activity_with_retry("job_create", RETRY, job)
    except Exception:
        yield ctx.call_activity_with_retry("job_remove", RETRY, job)
        yield ctx.call_activity_with_retry("job_end", RETRY, {**job, "reason": "unstartable"})
        return
    if created == ENDED:
        return
    if created is None:  # an earlier attempt may have created the container, and its host died then
        yield ctx.call_activity_with_retry("job_remove", RETRY, job)
        return
    if isinstance(created, dict) and "wait" in created:
        waiting = {"kind": job["kind"], "waits": job.get("waits", 0) + 1}
        cancel = ctx.wait_for_external_event(CANCEL)
        pause = ctx.create_timer(ctx.current_utc_datetime + timedelta(seconds=created["wait"]))
        winner = yield ctx.task_any([cancel, pause])
        if winner == pause:
            ctx.continue_as_new(waiting)
            return
        pause.cancel()  # pyright: ignore[reportAttributeAccessIssue]
        yield ctx.call_activity_with_retry("job_remove", RETRY, {**job, **waiting})
        yield ctx.call_activity_with_retry("job_end", RETRY, {**job, "reason": "cancelled"})
        return
    limit, pauses = (created["limit"], created["pauses"]) if isinstance(created, dict) else (created, PAUSES)
    removal = (
        {**job, **{key: created[key] for key in ("inputs", "placed") if key in created}}
        if isinstance(created, dict)
        else job
    )
    over: dict | None = None
    finished, cancel = ctx.wait_for_external_event(FINISHED), ctx.wait_for_external_event(CANCEL)
    check = ctx.wait_for_external_event(CHECK)
    soon = False
    deadline = ctx.create_timer(ctx.current_utc_datetime + timedelta(seconds=limit))
    probes = 0
    while over is None:
        pause = SOON if soon else pauses[min(probes, len(pauses) - 1)]
        probe = ctx.create_timer(ctx.current_utc_datetime + timedelta(seconds=pause))
        winner = yield ctx.task_any([finished, cancel, check, deadline, probe])
        if winner == check:
            probe.cancel()  # pyright: ignore[reportAttributeAccessIssue]
            check, soon = ctx.wait_for_external_event(CHECK), True
            continue
        if winner == probe:
            probes, soon = probes + 1, False
            over = yield ctx.call_activity_with_retry("job_probe", RETRY, job)
            if isinstance(over, str):  # the answer of an older version
                over = {"reason": over}
            if over == ANEW:
                ctx.continue_as_new({"kind": job["kind"], "waits": 0})
                return
            continue
        probe.cancel()  # pyright: ignore[reportAttributeAccessIssue]
        over = {"reason": "exited" if winner == finished else "cancelled" if winner == cancel else "timeout"}
    if not deadline.is_completed:
        deadline.cancel()  # pyright: ignore[reportAttributeAccessIssue]
    end = {**job, **over}
    if finished.is_completed and finished.result:  # the request that has reported the exit has recorded the end, too
        if removal.get("placed") and not removal["inputs"]:
            return  # nothing is left to remove
        yield ctx.call_activity_with_retry("job_remove", RETRY, removal)
    elif over["reason"] == "exited":  # the command has ended, so the end is recorded without waiting for the removal
        yield ctx.task_all(
            [
                ctx.call_activity_with_retry("job_end", RETRY, end),
                ctx.call_activity_with_retry("job_remove", RETRY, removal),
            ]
        )
    else:
        yield ctx.call_activity_with_retry("job_remove", RETRY, removal)
        yield ctx.call_activity_with_retry("job_end", RETRY, end)
