"""The containers in which the code of workspaces runs, as the container service shows them."""

import asyncio
from typing import Any

from functions.ownpilot.workspaces.job import KIND, execution_of, owner_of
from functions.ownpilot.workspaces.records import workspaces
from shared import containers, warm
from shared.jobs import CANCEL
from shared.workflows import WorkflowClient

OWNER = f"{KIND.partition('.')[0]} "
"""What the owner of a warm container begins with; the owner of its jobs follows."""


async def containers_of(user: str) -> list[dict[str, Any]]:
    """Return the containers of a person's workspaces, warm ones that wait too.

    A call to the service for the list and one for each container of this person; 2 queries, and a point read for each
    execution that has a container of its own. Errors as those of `shared.containers`.
    """
    own = {workspace.id: workspace.name async for workspace in workspaces.of(user).all()}
    owners = {worker.id: worker.owner async for worker in warm.workers.all()}
    of_worker = {OWNER + owner_of(workspace): workspace for workspace in own}
    found: dict[str, str] = {}
    async for group, tags in containers.groups():
        job_id, kind = tags.get("runyard-job", ""), tags.get("runyard-kind")
        if kind == warm.KIND and owners.get(job_id) in of_worker:
            found[group] = of_worker[owners[job_id]]
        elif kind == KIND and (execution := await execution_of(job_id)) and execution.workspace in own:
            found[group] = execution.workspace
    states = await asyncio.gather(*map(containers.state, found))
    return [
        {"id": group, "workspaceId": workspace, "workspaceName": own[workspace], "status": state.state.lower()}
        for (group, workspace), state in zip(found.items(), states, strict=True)
        if state is not None
    ]


async def dismiss_containers(workspace: str, workflows: WorkflowClient) -> None:
    """End the warm containers of a workspace, in which its files still are."""
    async for worker in warm.workers.all():
        if worker.owner == OWNER + owner_of(workspace):
            await warm.dismiss(worker.id)
            await workflows.signal(worker.id, CANCEL)
