"""The only module that touches the Durable Functions client."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import logging
from datetime import UTC, datetime
from typing import Annotated, Any

import azure.durable_functions as df
from fastapi import Depends

from shared.http.bridge import durable_client

log = logging.getLogger(__name__)

ACTIVE = frozenset({"Pending", "Running", "ContinuedAsNew", "Suspended"})
"""Runtime statuses of an orchestration that has not ended."""

ENDED = [
    df.OrchestrationRuntimeStatus.Completed,
    df.OrchestrationRuntimeStatus.Failed,
    df.OrchestrationRuntimeStatus.Terminated,
]


class WorkflowClient:
    """Starts, signals and inspects orchestrations; an instance's id is the id of the record it works for."""

    def __init__(self, client: df.DurableOrchestrationClient):
        self._client = client

    async def start(self, name: str, instance_id: str, value: Any = None) -> None:
        """Start orchestrator `name` with a plain-JSON input that holds no secret, unless the instance exists."""
        try:
            await self._client.start_new(name, instance_id, value)
        except Exception:  # the client raises a plain Exception, also for an instance that is running
            if await self.status(instance_id) is None:
                raise

    async def start_now_or_later(self, name: str, instance_id: str, value: Any = None) -> None:
        """As `start`, for a record whose workflow the upkeep of its slice starts within minutes when this fails."""
        try:
            await self.start(name, instance_id, value)
        except Exception:  # the record is stored, so the caller must not be told that it is not
            log.exception("the workflow of %s could not be started and is started later", instance_id)

    async def signal(self, instance_id: str, event: str, value: Any = None) -> bool:
        """Raise an event with a plain-JSON value; return False when the orchestration does not exist or has ended."""
        try:
            await self._client.raise_event(instance_id, event, value)
        except Exception as error:  # the client raises a plain Exception for both
            if str(error).startswith(("No instance with ID", "Instance with ID")):
                return False
            raise
        return True

    async def status(self, instance_id: str) -> str | None:
        """Return the runtime status, None when the orchestration does not exist."""
        status = await self._client.get_status(instance_id)
        return status.runtime_status.name if status and status.runtime_status else None

    async def purge(self, before: datetime) -> int:
        """Delete the histories of ended orchestrations that were created before a moment; return how many."""
        done = await self._client.purge_instance_history_by(datetime(2020, 1, 1, tzinfo=UTC), before, ENDED)
        return done.instances_deleted


async def _of_request(client: Annotated[df.DurableOrchestrationClient, Depends(durable_client)]) -> WorkflowClient:
    return WorkflowClient(client)


Workflows = Annotated[WorkflowClient, Depends(_of_request)]
"""Parameter type of a route that starts or signals orchestrations."""
