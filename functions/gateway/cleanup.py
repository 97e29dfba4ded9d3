"""The cleanup: deletes old runs with their artifacts, logs, alerts and jobs, and old alerts.

It works in batches. One activity finds and counts the records of a batch, then another deletes them. A batch that is
repeated after a crash deletes what is left, and nothing is counted twice.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import azure.durable_functions as df

from functions.gateway.records import Run, RunStatus
from functions.gateway.store import alerts, artifacts, delete_artifact_and_file, outlines, runs
from shared import blobs, tables
from shared.faults import Sweep
from shared.jobs import LOGS, jobs
from shared.tables import Collection, Record

bp = df.Blueprint()

BATCH = 100
"""Runs in a batch; a batch of alerts has ten times as many. Records of the same millisecond stay together."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OLDEST = 100_000
"""Days before which nothing was created; a larger number means the same."""

START = {
    "kinds": ["alerts", "runs"],  # alerts first, so that the old alerts of an old run are counted once
    "before": None,
    "totals": {"runs": 0, "artifacts": 0, "alerts": 0, "bytes": 0},
}
FINAL = [status for status in RunStatus if status.final]
RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=1000, max_number_of_attempts=5)


class Cleanup(Record):
    """One cleanup and its totals; `bytes` is the size of the deleted artifacts."""

    older_than_days: int
    dry_run: bool
    done: bool = False
    runs: int = 0
    artifacts: int = 0
    alerts: int = 0
    bytes: int = 0

    @property
    def limit(self) -> datetime:
        """Runs that ended, and alerts that were raised, before this moment are old."""
        return max(self.created_at - timedelta(days=min(self.older_than_days, OLDEST)), EPOCH)


cleanups = Collection("GatewayCleanups", Cleanup, plain=True)


@bp.orchestration_trigger(context_name="context")
def gateway_cleanup(ctx: df.DurableOrchestrationContext):
    """Process one batch, then continue as new to keep the history short. The instance's id is the cleanup's."""
    state = ctx.get_input() or START
    kind, totals = state["kinds"][0], dict(state["totals"])
    place = {"id": ctx.instance_id, "before": state["before"]}
    due = yield ctx.call_activity_with_retry(f"gateway_cleanup_find_{kind}", RETRY, place)
    for name, count in due["counts"].items():
        totals[name] += count
    if due["ids"]:
        with contextlib.suppress(Exception):  # what could not be deleted was reported; the next cleanup finds it again
            yield ctx.call_activity_with_retry(f"gateway_cleanup_delete_{kind}", RETRY, due["ids"])
    kinds = state["kinds"] if due["before"] else state["kinds"][1:]
    if kinds:
        ctx.continue_as_new({"kinds": kinds, "before": due["before"], "totals": totals})
    else:
        yield ctx.call_activity_with_retry("gateway_cleanup_done", RETRY, {"id": ctx.instance_id, **totals})


@bp.activity_trigger(input_name="place")
async def gateway_cleanup_find_runs(place: dict) -> dict:
    """Return the ids of the next old runs, the counts of all that is deleted with them, and where to continue."""
    cleanup = await cleanups.get(place["id"])
    limit = cleanup.limit
    found, before = await _batch(outlines.all({"status": FINAL}, before=_moment(place["before"]) or limit), BATCH)
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
    """Delete runs with their artifacts, logs, alerts and jobs."""
    await in_parallel(ids, _delete_run)


async def _delete_run(run_id: str) -> None:
    await _delete_artifacts(run_id)
    async for alert in alerts.all({"run_id": run_id}):
        await _ignore_missing(alerts.delete(alert.id))
    await blobs.delete(LOGS, run_id)
    await _ignore_missing(jobs.delete(run_id))
    await _ignore_missing(runs.delete(run_id))
    await _delete_artifacts(run_id)  # those uploaded until the run was deleted; a later upload finds no run


async def _delete_artifacts(run_id: str) -> None:
    async for artifact in artifacts.all({"run_id": run_id}):
        await delete_artifact_and_file(artifact)


@bp.activity_trigger(input_name="place")
async def gateway_cleanup_find_alerts(place: dict) -> dict:
    """Return the ids of the next old alerts, their count, and where to continue."""
    cleanup = await cleanups.get(place["id"])
    found, before = await _batch(alerts.all(before=_moment(place["before"]) or cleanup.limit), 10 * BATCH)
    ids = [] if cleanup.dry_run else [alert.id for alert in found]
    return {"ids": ids, "counts": {"alerts": len(found)}, "before": before}


@bp.activity_trigger(input_name="ids")
async def gateway_cleanup_delete_alerts(ids: list) -> None:
    """Delete alerts."""

    async def delete(alert_id: str) -> None:
        await _ignore_missing(alerts.delete(alert_id))

    await in_parallel(ids, delete)


@bp.activity_trigger(input_name="totals")
async def gateway_cleanup_done(totals: dict) -> None:
    """Store the totals of a finished cleanup."""

    def finish(cleanup: Cleanup) -> None:
        cleanup.done = True
        cleanup.runs, cleanup.artifacts = totals["runs"], totals["artifacts"]
        cleanup.alerts, cleanup.bytes = totals["alerts"], totals["bytes"]

    await cleanups.update(totals["id"], finish)


async def in_parallel(ids: list[str], act: Callable[[str], Awaitable[None]], width: int = 50) -> None:
    """Call `act` with each id, `width` at a time: concurrent writes share transactions.

    RuntimeError at the end when it has failed for some of them.
    """
    async with Sweep("cleanup of old records") as sweep:

        async def one(record_id: str) -> None:
            with sweep.item(record_id):
                await act(record_id)

        for start in range(0, len(ids), width):
            await asyncio.gather(*map(one, ids[start : start + width]))
    if sweep.failed:
        raise RuntimeError(f"{sweep.failed} records could not be deleted")


async def _batch(records: AsyncIterator[Record], size: int) -> tuple[list[Record], str | None]:
    """Return at least `size` records, newest first, and the moment before which the next batch begins (None: no more).

    Moments are whole milliseconds, so a batch includes all records of its last millisecond.
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


async def _ignore_missing(deletion: Awaitable[None]) -> None:
    try:
        await deletion
    except tables.RecordNotFound:  # this is a repeat, or another request deleted it
        pass
