"""The only module that touches the Durable Functions client."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import aiohttp
import azure.durable_functions as df
from fastapi import Depends

from shared.http.bridge import durable_client
from shared.http.errors import Unavailable

log = logging.getLogger(__name__)

ACTIVE = frozenset({"Pending", "Running", "ContinuedAsNew", "Suspended"})
"""Runtime statuses of an orchestration that has not ended."""

ENDED = [
    df.OrchestrationRuntimeStatus.Completed,
    df.OrchestrationRuntimeStatus.Failed,
    df.OrchestrationRuntimeStatus.Terminated,
]


PATIENCE = 10.0
"""Seconds after which a call that the Functions host has not answered is given up; the client itself waits 240."""


@asynccontextmanager
async def _answered() -> AsyncGenerator[None]:
    """Bound one call. `Unavailable` (503) when the Functions host does not answer in time, or cannot be reached."""
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except (TimeoutError, aiohttp.ClientError) as error:
        raise Unavailable("The workflow service does not answer", headers={"Retry-After": "5"}) from error


class WorkflowClient:
    """Starts, signals and inspects orchestrations; an instance's id is the id of the record it works for.

    `Unavailable` when the Functions host has not answered `start`, `signal` or `status` within `PATIENCE` seconds; what
    was asked for may be done all the same, and may be asked for again.
    """

    def __init__(self, client: df.DurableOrchestrationClient):
        self._client = client

    async def start(self, name: str, instance_id: str, value: Any = None) -> None:
        """Start orchestrator `name` with a plain-JSON input that holds no secret, unless the instance exists."""
        async with _answered():
            try:
                await self._client.start_new(name, instance_id, value)
            except Exception:  # the client raises a plain Exception, also for an instance that is running
                if await self._status(instance_id) is None:
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
            async with _answered():
                await self._client.raise_event(instance_id, event, value)
        except Exception as error:  # the client raises a plain Exception for both
            if str(error).startswith(("No instance with ID", "Instance with ID")):
                return False
            raise
        return True

    async def signal_now_or_later(self, instance_id: str, event: str) -> bool:
        """As `signal`, for an event that the upkeep of jobs raises within two minutes when this fails."""
        try:
            return await self.signal(instance_id, event)
        except Exception:  # the record is stored, so the caller must not be told that it is not
            log.exception("the workflow of %s could not be told %s and is told later", instance_id, event)
            return True

    async def status(self, instance_id: str) -> str | None:
        """Return the runtime status, None when the orchestration does not exist."""
        async with _answered():
            return await self._status(instance_id)

    async def _status(self, instance_id: str) -> str | None:
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
