"""Container Instances: one container group for each job."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from shared.credential import credential
from shared.settings import settings

if TYPE_CHECKING:
    from azure.mgmt.containerinstance.aio import ContainerInstanceManagementClient

CONTAINER = "main"
"""The name of the one container of a group."""

_clients: "WeakKeyDictionary[asyncio.AbstractEventLoop, ContainerInstanceManagementClient]" = WeakKeyDictionary()


class ContainerRefused(Exception):
    """The service will not make this group, however often it is asked; the message is the service's own."""


@dataclass(frozen=True)
class GroupState:
    """Where a container stands: `ended` with its exit code, or not (yet)."""

    ended: bool
    exit_code: int | None = None
    detail: str = ""


def _client() -> "ContainerInstanceManagementClient":
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        from azure.core.pipeline.policies import SansIOHTTPPolicy
        from azure.mgmt.containerinstance.aio import ContainerInstanceManagementClient

        endpoint = settings().arm_endpoint
        options: dict[str, Any] = {"base_url": endpoint, "credential_scopes": [f"{endpoint}/.default"]}
        if endpoint.startswith("http://"):  # a bearer token is never sent over plain HTTP
            options["authentication_policy"] = SansIOHTTPPolicy()
        _clients[loop] = ContainerInstanceManagementClient(
            _NoCredential() if endpoint.startswith("http://") else credential(),  # pyright: ignore[reportArgumentType]
            settings().subscription_id,
            **options,
        )
    return _clients[loop]


class _NoCredential:
    """Stands where a credential must, and is never asked."""

    async def get_token(self, *scopes: str, **options: Any) -> Any:
        raise RuntimeError("no token is sent over plain HTTP")


async def close() -> None:
    """Close this loop's connections."""
    client = _clients.pop(asyncio.get_running_loop(), None)
    if client is not None:
        await client.close()


async def create(
    group: str,
    *,
    environment: Mapping[str, str],
    secrets: Mapping[str, str],
    tags: Mapping[str, str],
    image: str,
    command: Sequence[str] | None = None,
    cpu: float = 1.0,
    memory_gb: float = 1.5,
) -> None:
    """Ask for a group of one container that runs once; answers when the request is accepted, not when it runs.

    `cpu` in cores, `memory_gb` in GB. `secrets` are environment variables that no read of the group shows.
    `ContainerRefused` when the service says no for good (bad image, bad request, no permission).
    """
    from azure.core.exceptions import HttpResponseError
    from azure.mgmt.containerinstance import models

    config = settings()
    variables = [models.EnvironmentVariable(name=name, value=value) for name, value in environment.items()]
    variables += [models.EnvironmentVariable(name=name, secure_value=value) for name, value in secrets.items()]
    identity = config.runner_identity
    body = models.ContainerGroup(
        location=config.location,
        tags=dict(tags),
        os_type="Linux",
        restart_policy="Never",
        identity=models.ContainerGroupIdentity(
            type="UserAssigned", user_assigned_identities={identity: models.UserAssignedIdentities()}
        )
        if identity
        else None,
        image_registry_credentials=[models.ImageRegistryCredential(server=image.split("/")[0], identity=identity)]
        if identity
        else None,
        containers=[
            models.Container(
                name=CONTAINER,
                image=image,
                command=list(command) if command else None,
                environment_variables=variables,
                resources=models.ResourceRequirements(
                    requests=models.ResourceRequests(cpu=cpu, memory_in_gb=memory_gb)
                ),
            )
        ],
    )
    try:
        await _client().container_groups.begin_create_or_update(config.resource_group, group, body, polling=False)
    except HttpResponseError as error:
        # A full region, a timeout or a throttled call may pass; anything else in 4xx will be said again.
        if error.status_code in (400, 401, 403, 404) and error.error and error.error.code != "ServiceUnavailable":
            raise ContainerRefused(error.error.message or str(error)) from error
        raise


async def state(group: str) -> GroupState | None:
    """Where a group stands; None when there is none."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        found = await _client().container_groups.get(settings().resource_group, group)
    except ResourceNotFoundError:
        return None
    view = found.containers[0].instance_view if found.containers else None
    current = view.current_state if view else None
    if current and current.state == "Terminated":
        return GroupState(True, current.exit_code, current.detail_status or "")
    return GroupState(str(found.provisioning_state) == "Failed", None, str(found.provisioning_state or ""))


async def remove(group: str) -> None:
    """Stop and delete a group; one that is gone already is no error."""
    from azure.core.exceptions import ResourceNotFoundError

    with contextlib.suppress(ResourceNotFoundError):
        await _client().container_groups.begin_delete(settings().resource_group, group, polling=False)


async def groups() -> AsyncIterator[tuple[str, dict[str, str]]]:
    """Name and tags of each group in the resource group."""
    async for found in _client().container_groups.list_by_resource_group(settings().resource_group):
        yield found.name or "", dict(found.tags or {})
