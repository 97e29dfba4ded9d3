"""Cleaning up: runs that ended long ago with all that is theirs, and old alerts.

Each turn first finds what is due, which counts it, then deletes that: a turn that is repeated after a crash deletes
what is left, and counts nothing twice.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import azure.durable_functions as df

from functions.gateway.records import Run, RunStatus
from functions.gateway.store import alerts, artifacts, runs
from shared import blobs, tables
from shared.jobs import LOGS, jobs
from shared.tables import Collection, Record

bp = df.Blueprint()

TURN = 100
"""Runs of one turn, or alerts (ten times as many); those of the same millisecond stay together."""

START = {
    "kinds": ["alerts", "runs"],  # alerts that outlive the first are then those of runs alone
    "before": None,
    "totals": {"runs": 0, "artifacts": 0, "alerts": 0, "bytes": 0},
}
FINAL = [status for status in RunStatus if status.final]
RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=1000, max_number_of_attempts=5)


class Cleanup(Record):
    """One cleanup, and what it came to; `bytes` are those of the artifacts."""

    older_than_days: int
    dry_run: bool
    done: bool = False
    runs: int = 0
    artifacts: int = 0
    alerts: int = 0
    bytes: int = 0

    @property
    def limit(self) -> datetime:
        """What ended before this is old."""
        return self.created_at - timedelta(days=self.older_than_days)


cleanups = Collection("GatewayCleanups", Cleanup, plain=True)


@bp.orchestration_trigger(context_name="context")
def gateway_cleanup(ctx: df.DurableOrchestrationContext):
    """One turn of a cleanup, whose record has the instance's id; each turn starts anew, so that no history grows."""
    state = ctx.get_input() or START
    kind, totals = state["kinds"][0], dict(state["totals"])
    place = {"id": ctx.instance_id, "before": state["before"]}
    due = yield ctx.call_activity_with_retry(f"gateway_cleanup_find_{kind}", RETRY, place)
    for name, count in due["counts"].items():
        totals[name] += count
    if due["ids"]:
        yield ctx.call_activity_with_retry(f"gateway_cleanup_delete_{kind}", RETRY, due["ids"])
    kinds = state["kinds"] if due["before"] else state["kinds"][1:]
    if kinds:
        ctx.continue_as_new({"kinds": kinds, "before": due["before"], "totals": totals})
    else:
        yield ctx.call_activity_with_retry("gateway_cleanup_done", RETRY, {"id": ctx.instance_id, **totals})


@bp.activity_trigger(input_name="place")
async def gateway_cleanup_find_runs(place: dict) -> dict:
    """The next runs that are due, what hangs on them, and where to go on."""
    cleanup = await cleanups.get(place["id"])
    limit = cleanup.limit
    found, before = await _turn(runs.all({"status": FINAL}, before=_moment(place["before"]) or limit), TURN)
    due = [run for run in found if isinstance(run, Run) and run.completed_at and run.completed_at < limit]
    counts = {"runs": len(due), "artifacts": 0, "alerts": 0, "bytes": 0}
    for run in due:
        async for artifact in artifacts.all({"run_id": run.id}):
            counts["artifacts"] += 1
            counts["bytes"] += artifact.size
        counts["alerts"] += len([1 async for _ in alerts.all({"run_id": run.id}, after=limit)])
    return {"ids": [] if cleanup.dry_run else [run.id for run in due], "counts": counts, "before": before}


@bp.activity_trigger(input_name="ids")
async def gateway_cleanup_delete_runs(ids: list) -> None:
    """Delete runs with their artifacts, logs, alerts and jobs; the run goes last, as it leads to the rest."""
    await in_parallel(ids, _delete_run)


async def _delete_run(run_id: str) -> None:
    async for artifact in artifacts.all({"run_id": run_id}):
        await blobs.delete(artifact.container, artifact.blob)
        await _gone(artifacts.delete(artifact.id))
    async for alert in alerts.all({"run_id": run_id}):
        await _gone(alerts.delete(alert.id))
    await blobs.delete(LOGS, run_id)
    await _gone(jobs.delete(run_id))
    await _gone(runs.delete(run_id))


@bp.activity_trigger(input_name="place")
async def gateway_cleanup_find_alerts(place: dict) -> dict:
    """The next alerts that are due, and where to go on."""
    cleanup = await cleanups.get(place["id"])
    found, before = await _turn(alerts.all(before=_moment(place["before"]) or cleanup.limit), 10 * TURN)
    ids = [] if cleanup.dry_run else [alert.id for alert in found]
    return {"ids": ids, "counts": {"alerts": len(found)}, "before": before}


@bp.activity_trigger(input_name="ids")
async def gateway_cleanup_delete_alerts(ids: list) -> None:
    """Delete alerts."""

    async def delete(alert_id: str) -> None:
        await _gone(alerts.delete(alert_id))

    await in_parallel(ids, delete)


@bp.activity_trigger(input_name="totals")
async def gateway_cleanup_done(totals: dict) -> None:
    """Write down what a cleanup came to."""

    def finish(cleanup: Cleanup) -> None:
        cleanup.done = True
        cleanup.runs, cleanup.artifacts = totals["runs"], totals["artifacts"]
        cleanup.alerts, cleanup.bytes = totals["alerts"], totals["bytes"]

    await cleanups.update(totals["id"], finish)


async def in_parallel(ids: list[str], act: Callable[[str], Awaitable[None]], width: int = 50) -> None:
    """Do this with each, `width` at a time: writes that wait together go out together."""
    for start in range(0, len(ids), width):
        await asyncio.gather(*(act(record_id) for record_id in ids[start : start + width]))


async def _turn(records: AsyncIterator[Record], size: int) -> tuple[list[Record], str | None]:
    """At least `size` records, newest first, and the moment before which to go on; None behind the last one.

    Moments are whole milliseconds, so a turn takes all records of its last one.
    """
    found: list[Record] = []
    last = ""
    async for record in records:
        moment = _millisecond(record)
        if len(found) >= size and moment != last:
            return found, last
        found.append(record)
        last = moment
    return found, None


def _millisecond(record: Record) -> str:
    at = record.created_at
    return at.replace(microsecond=at.microsecond // 1000 * 1000).isoformat()


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


async def _gone(deletion: Awaitable[None]) -> None:
    try:
        await deletion
    except tables.RecordNotFound:  # this is a repeat, or somebody else was faster
        pass
