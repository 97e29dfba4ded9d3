"""What follows the deletion of a workspace: what runs in it is stopped, then its executions and files are deleted."""

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import azure.durable_functions as df

from functions.ownpilot.core.file_cleanup import delete_workspace
from functions.ownpilot.workspaces.containers import dismiss_containers
from functions.ownpilot.workspaces.records import Workspace, executions, workspaces
from shared import tables
from shared.faults import Sweep, report
from shared.job_removal import delete_job
from shared.workflows import WorkflowClient

bp = df.Blueprint()

WORKFLOW = "ownpilot_workspace_deletion"
BATCH = 20
"""Executions that are deleted at a time."""

LONGEST = 300
"""Seconds between two rounds, at most: what was stopped needs time to end. After the first one there is a second."""

ROUNDS = 300
"""Rounds after which the deletion is given up: they take about a day."""

RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=1000, max_number_of_attempts=5)


async def delete(workspace: Workspace, workflows: WorkflowClient) -> None:
    """Delete a workspace; one that is gone is no error.

    The workflow is started first and deletes the record too: so after a crash nothing is left half deleted.
    """
    given = {"user": workspace.user_id, "workspace": workspace.id}
    await workflows.start(WORKFLOW, f"ownpilot-workspace-{workspace.id}", given)
    with contextlib.suppress(tables.RecordNotFound):  # the workflow was faster
        await delete_workspace(workspace.store, workspaces)


@bp.orchestration_trigger(context_name="context")
def ownpilot_workspace_deletion(ctx: df.DurableOrchestrationContext):
    """Delete what belongs to a workspace, batch by batch, in rounds until one finds nothing.

    The input is `{"user", "workspace"}`, and when it continues as new also `cursor`, at which the next batch begins,
    `found`, whether this round has found something, and `rounds`, how many came before.
    """
    order: Any = ctx.get_input()
    given = {"cursor": None, "found": False, "rounds": 0, **order}
    batch = yield ctx.call_activity_with_retry("ownpilot_delete_workspace_batch", RETRY, given)
    given |= {"cursor": batch["cursor"], "found": given["found"] or batch["found"]}
    if given["cursor"]:
        ctx.continue_as_new(given)
    elif given["found"] and given["rounds"] < ROUNDS:
        yield ctx.create_timer(ctx.current_utc_datetime + pause(given["rounds"]))
        ctx.continue_as_new({**given, "found": False, "rounds": given["rounds"] + 1})


def pause(rounds: int) -> timedelta:
    """Return the time to the next round after so many."""
    return timedelta(seconds=min(2**rounds, LONGEST))


@bp.activity_trigger(input_name="workspace")
@bp.durable_client_input(client_name="client")
async def ownpilot_delete_workspace_batch(workspace: dict, client: df.DurableOrchestrationClient) -> dict:
    """Delete a batch of what belongs to a workspace, its record and its containers first, in which its files are.

    Executions that have not ended are stopped, and left to the next round. Returns `found`, whether there were any, and
    `cursor`, at which the next batch begins.
    """
    return await delete_batch(workspace, WorkflowClient(client))


async def delete_batch(given: dict[str, Any], workflows: WorkflowClient) -> dict[str, Any]:
    """Do what the activity does."""
    user, id_ = given["user"], given["workspace"]
    with contextlib.suppress(tables.RecordNotFound):
        await delete_workspace((await workspaces.of(user).get(id_)).store, workspaces)
    await dismiss_containers(id_, workflows)
    page = await executions.page({"workspace": id_}, limit=BATCH, total=False, cursor=given["cursor"])
    async with Sweep("deleting what belonged to a workspace") as sweep:

        async def remove(execution_id: str) -> bool:
            with sweep.item(f"execution {execution_id}"):
                if await delete_job(execution_id, workflows):
                    with contextlib.suppress(tables.RecordNotFound):
                        await executions.delete(execution_id)
                    return True
            return False

        deleted = await asyncio.gather(*(remove(execution.id) for execution in page.items))
    if given["rounds"] == ROUNDS and not all(deleted):
        await report("deletion of a workspace", f"It is given up for workspace {id_}: some executions do not end")
    return {"found": bool(page.items), "cursor": page.cursor}
