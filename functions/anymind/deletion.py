"""What follows the deletion of an agent: jobs are stopped, then executions, versions, files and logs are deleted."""

import asyncio
import contextlib
from datetime import timedelta

import azure.durable_functions as df

from functions.anymind.records import AgentVersion, Execution
from functions.anymind.store import agents, executions, outlines, versions
from shared import blobs, tables
from shared.faults import Sweep
from shared.job_removal import delete_job
from shared.jobs import ARTIFACTS
from shared.workflows import ACTIVE, WorkflowClient

bp = df.Blueprint()

WORKFLOW = "anymind_deletion"
BATCH = 20
"""Records of each kind that are deleted at a time."""

LONGEST_PAUSE = 300
"""Seconds between two looks at what was stopped and does not end: first 1, then twice as many each time, up to this."""

RETRY = df.RetryOptions(first_retry_interval_in_milliseconds=1000, max_number_of_attempts=5)


def workflow_id(agent_id: str) -> str:
    """Return the id of the workflow that deletes what belongs to an agent."""
    return f"anymind-deletion-{agent_id}"


@bp.orchestration_trigger(context_name="context")
def anymind_deletion(ctx: df.DurableOrchestrationContext):
    """Delete a batch of what belongs to an agent, then continue as new until nothing is left: the history stays short.

    The input is the agent's id, or `{"agent": id, "waits": how often in a row nothing could be deleted}`.
    """
    given = ctx.get_input()
    agent_id, waits = (given["agent"], given["waits"]) if isinstance(given, dict) else (given, 0)
    left = yield ctx.call_activity_with_retry("anymind_delete_batch", RETRY, agent_id)
    if left == "nothing":
        return
    if left == "running":
        pause = min(2 ** min(waits, 10), LONGEST_PAUSE)
        yield ctx.create_timer(ctx.current_utc_datetime + timedelta(seconds=pause))
    ctx.continue_as_new({"agent": agent_id, "waits": waits + 1 if left == "running" else 0})


@bp.activity_trigger(input_name="agent")
@bp.durable_client_input(client_name="client")
async def anymind_delete_batch(agent: str, client: df.DurableOrchestrationClient) -> str:
    """Delete some of what belongs to a deleted agent, at last the agent; return what is left: nothing, some, running.

    `running` are jobs that were stopped and have not ended yet, and records whose deletion has failed.
    """
    workflows = WorkflowClient(client)
    found, deleted = False, False
    async with Sweep("deleting what belonged to an agent") as sweep:

        async def delete(record: Execution | AgentVersion) -> bool:
            with sweep.item(f"{type(record).__name__} {record.id}"):
                if await delete_job(record.job_id, workflows):
                    await _delete_record(record)
                    return True
            return False

        for collection in (outlines, versions):
            cursor, done = "", False
            while not done and cursor is not None:  # past those that cannot be deleted yet
                page = await collection.page({"agent_id": agent}, limit=BATCH, total=False, cursor=cursor)
                done = any(await asyncio.gather(*map(delete, page.items)))
                found, deleted, cursor = found or bool(page.items), deleted or done, page.cursor
    if found:
        return "some" if deleted else "running"
    with contextlib.suppress(tables.RecordNotFound):
        await agents.delete(agent)
    return "nothing"


async def continue_deletions(workflows: WorkflowClient) -> None:
    """Every minute: start the workflows of deleted agents that a crash has left without one."""
    async with Sweep("deletions of agents") as sweep:
        async for agent in agents.all({"deleted": True}):
            with sweep.item(f"agent {agent.id}"):
                if await workflows.status(workflow_id(agent.id)) not in ACTIVE:
                    await workflows.start(WORKFLOW, workflow_id(agent.id), agent.id)


async def _delete_record(record: Execution | AgentVersion) -> None:
    with contextlib.suppress(tables.RecordNotFound):
        if isinstance(record, Execution):
            await executions.delete(record.id)
            return
        for blob in (record.blob, record.ready_blob):
            if blob is not None:
                await blobs.delete(ARTIFACTS, blob)
        await versions.delete(record.id)
