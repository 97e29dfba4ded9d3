"""The workflow that deletes many file workspaces in which nothing has changed for long."""

import hashlib
from datetime import datetime
from typing import Any

import azure.durable_functions as df

from functions.ownpilot.core.entry import iso
from functions.ownpilot.core.file_workspace_store import delete_all_old, old_workspaces
from shared.workflows import WorkflowClient

bp = df.Blueprint()

WORKFLOW = "ownpilot_workspace_cleanup"
BATCH = 50
"""Workspaces that one activity deletes."""

RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=1000, max_number_of_attempts=5)


@bp.orchestration_trigger(context_name="context")
def ownpilot_workspace_cleanup(ctx: df.DurableOrchestrationContext):
    """Delete a batch, then continue as new until nothing is left; the input is `{"user": ..., "before": time}`."""
    order: Any = ctx.get_input()
    more = yield ctx.call_activity_with_retry("ownpilot_delete_old_workspaces", RETRY, order)
    if more:
        ctx.continue_as_new(order)


@bp.activity_trigger(input_name="order")
async def ownpilot_delete_old_workspaces(order: dict) -> bool:
    """Delete the next batch; return whether there may be more."""
    before = datetime.fromisoformat(order["before"])
    old, _ = await old_workspaces(order["user"], before)
    return any(await delete_all_old(old[:BATCH], before))


async def start_cleanup(workflows: WorkflowClient, owner: str, before: datetime) -> None:
    """Start the workflow that deletes a user's workspaces in which nothing has changed since that moment."""
    order = {"user": owner, "before": iso(before)}
    id_ = hashlib.sha256(f"{owner} {order['before']}".encode()).hexdigest()[:32]
    await workflows.start(WORKFLOW, f"ownpilot-cleanup-{id_}", order)
