"""What follows the deletion of a workspace: what runs in it is stopped, then its executions and files are deleted."""

import asyncio
import contextlib
from datetime import timedelta

import azure.durable_functions as df

from functions.ownpilot.core.file_cleanup import delete_workspace
from functions.ownpilot.workspaces.containers import dismiss_containers
from functions.ownpilot.workspaces.records import Workspace, executions, workspaces
from shared import tables
from shared.faults import Sweep
from shared.job_removal import delete_job
from shared.workflows import WorkflowClient

bp = df.Blueprint()

WORKFLOW = "ownpilot_workspace_deletion"
BATCH = 20
"""Executions that are deleted at a time."""

PAUSE = timedelta(seconds=1)
"""Time for what was stopped to end, before it is looked at again."""

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
    """Delete a batch of what belongs to a workspace, then continue as new until nothing is left.

    The input is `{"user", "workspace"}`.
    """
    given = ctx.get_input()
    left = yield ctx.call_activity_with_retry("ownpilot_delete_workspace_batch", RETRY, given)
    if left == "running":
        yield ctx.create_timer(ctx.current_utc_datetime + PAUSE)
    if left != "nothing":
        ctx.continue_as_new(given)


@bp.activity_trigger(input_name="workspace")
@bp.durable_client_input(client_name="client")
async def ownpilot_delete_workspace_batch(workspace: dict, client: df.DurableOrchestrationClient) -> str:
    """Delete some of what belongs to a workspace, and its record first; return what is left: nothing, some, running.

    `running` are executions that were stopped and have not ended yet.
    """
    workflows, user, id_ = WorkflowClient(client), workspace["user"], workspace["workspace"]
    with contextlib.suppress(tables.RecordNotFound):
        await delete_workspace((await workspaces.of(user).get(id_)).store, workspaces)
    found = (await executions.page({"workspace": id_}, limit=BATCH, total=False)).items
    async with Sweep("deleting what belonged to a workspace") as sweep:

        async def remove(execution_id: str) -> bool:
            with sweep.item(f"execution {execution_id}"):
                if await delete_job(execution_id, workflows):
                    with contextlib.suppress(tables.RecordNotFound):
                        await executions.delete(execution_id)
                    return True
            return False

        deleted = await asyncio.gather(*(remove(execution.id) for execution in found))
    if found:
        return "some" if any(deleted) else "running"
    await dismiss_containers(id_, workflows)
    return "nothing"
