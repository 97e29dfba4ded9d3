"""Container Instances: create, watch, start, stop and remove container groups."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from shared.arm import (
    ContainerRefused,
    ContainersBusy,
    ContainersUnavailable,
    absent_is_fine,
    client_arguments,
    refusals,
)
from shared.container_groups import GroupSpec, GroupStatus
from shared.container_models import group_of, status_of
from shared.settings import settings

if TYPE_CHECKING:
    from azure.mgmt.containerinstance.aio import ContainerInstanceManagementClient

__all__ = [
    "ContainerRefused",
    "ContainersBusy",
    "ContainersUnavailable",
    "close",
    "create",
    "groups",
    "remove",
    "restart",
    "start",
    "state",
    "stop",
]

_clients: "WeakKeyDictionary[asyncio.AbstractEventLoop, ContainerInstanceManagementClient]" = WeakKeyDictionary()


def _client() -> "ContainerInstanceManagementClient":
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        from azure.mgmt.containerinstance.aio import ContainerInstanceManagementClient

        _clients[loop] = ContainerInstanceManagementClient(**client_arguments())
    return _clients[loop]


async def close() -> None:
    """Close this loop's connections."""
    client = _clients.pop(asyncio.get_running_loop(), None)
    if client is not None:
        await client.close()


async def create(spec: GroupSpec) -> None:
    """Request a group, or a change of the group with this name; return when the request is accepted.

    `ContainerRefused` when the service refuses it for good (unknown image, invalid specification, a size that the
    region does not offer, no permission). `ContainersBusy` when it has no room, after a single attempt: the SDK would
    wait for minutes inside of the call.
    """
    config = settings()
    body = group_of(spec, spec.location or config.location)
    with refusals():
        await _client().container_groups.begin_create_or_update(
            config.resource_group, spec.name, body, polling=False, retry_total=0
        )


async def state(name: str) -> GroupStatus | None:
    """Return the state of a group and of each of its containers; None when the group does not exist.

    `ContainerRefused` and `ContainersBusy` as in `create`.
    """
    with refusals(), absent_is_fine():
        return status_of(await _client().container_groups.get(settings().resource_group, name))
    return None


async def start(name: str) -> None:
    """Request the start of a stopped group; return when the request is accepted. Errors as in `create`."""
    with refusals():
        await _client().container_groups.begin_start(settings().resource_group, name, polling=False, retry_total=0)


async def stop(name: str) -> None:
    """Stop a group's containers; the group stays and can be started again. Errors as in `create`."""
    with refusals():
        await _client().container_groups.stop(settings().resource_group, name, retry_total=0)


async def restart(name: str) -> None:
    """Request a restart of all containers of a group; return when it is accepted. Errors as in `create`."""
    with refusals():
        await _client().container_groups.begin_restart(settings().resource_group, name, polling=False)


async def remove(name: str) -> None:
    """Stop and delete a group; one that does not exist is no error. Errors as in `create`."""
    with refusals(), absent_is_fine():
        await _client().container_groups.begin_delete(settings().resource_group, name, polling=False)


async def groups() -> AsyncIterator[tuple[str, dict[str, str]]]:
    """Yield name and tags of each group in the resource group. Errors as in `create`."""
    with refusals():
        async for found in _client().container_groups.list_by_resource_group(settings().resource_group):
            yield found.name or "", dict(found.tags or {})
