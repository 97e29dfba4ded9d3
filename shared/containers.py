"""Container Instances: create, watch, start, stop and remove container groups."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

import asyncio
import contextlib
from collections.abc import AsyncIterator, Generator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from shared.container_groups import GroupSpec, GroupStatus
from shared.container_models import group_of, status_of
from shared.credential import credential
from shared.settings import settings

if TYPE_CHECKING:
    from azure.mgmt.containerinstance.aio import ContainerInstanceManagementClient

_clients: "WeakKeyDictionary[asyncio.AbstractEventLoop, ContainerInstanceManagementClient]" = WeakKeyDictionary()


class ContainerRefused(Exception):
    """The service refuses the request and would refuse a repeat too; the message is the service's own."""


def _client() -> "ContainerInstanceManagementClient":
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        from azure.core.credentials import AzureKeyCredential
        from azure.core.pipeline.policies import AzureKeyCredentialPolicy, SansIOHTTPPolicy
        from azure.mgmt.containerinstance.aio import ContainerInstanceManagementClient

        endpoint, token = settings().arm_endpoint, settings().arm_token
        options: dict[str, Any] = {"base_url": endpoint, "credential_scopes": [f"{endpoint}/.default"]}
        if token:
            key = AzureKeyCredential(token)
            options["authentication_policy"] = AzureKeyCredentialPolicy(key, "Authorization", prefix="Bearer")
        elif endpoint.startswith("http://"):  # the identity's token is never sent over plain HTTP
            options["authentication_policy"] = SansIOHTTPPolicy()
        _clients[loop] = ContainerInstanceManagementClient(
            _NoCredential() if "authentication_policy" in options else credential(),  # pyright: ignore[reportArgumentType]
            settings().subscription_id,
            **options,
        )
    return _clients[loop]


class _NoCredential:
    """The client requires a credential; with a policy of its own for authentication it never asks it for a token."""

    async def get_token(self, *scopes: str, **options: Any) -> Any:
        raise RuntimeError("the identity's token is not for this endpoint")


async def close() -> None:
    """Close this loop's connections."""
    client = _clients.pop(asyncio.get_running_loop(), None)
    if client is not None:
        await client.close()


@contextlib.contextmanager
def _refusals() -> Generator[None]:
    """Turn the service's final refusals into `ContainerRefused`."""
    from azure.core.exceptions import HttpResponseError

    try:
        yield
    except HttpResponseError as error:
        # A full region, a timeout or a throttled call may pass; a repeat changes nothing about these statuses.
        if error.status_code in (400, 401, 403, 404) and error.error and error.error.code != "ServiceUnavailable":
            raise ContainerRefused(error.error.message or str(error)) from error
        raise


async def create(spec: GroupSpec) -> None:
    """Request a group, or a change of the group with this name; return when the request is accepted.

    `ContainerRefused` when the service refuses it for good (unknown image, invalid specification, no permission).
    Anything else that the SDK raises, such as `HttpResponseError` for a full region, is raised as it is.
    """
    config = settings()
    body = group_of(spec, config.location)
    with _refusals():
        await _client().container_groups.begin_create_or_update(config.resource_group, spec.name, body, polling=False)


async def state(name: str) -> GroupStatus | None:
    """Return the state of a group and of each of its containers; None when the group does not exist."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        return status_of(await _client().container_groups.get(settings().resource_group, name))
    except ResourceNotFoundError:
        return None


async def start(name: str) -> None:
    """Request the start of a stopped group; return when the request is accepted. `ContainerRefused` as in `create`."""
    with _refusals():
        await _client().container_groups.begin_start(settings().resource_group, name, polling=False)


async def stop(name: str) -> None:
    """Stop a group's containers; the group stays and can be started again. `ContainerRefused` as in `create`."""
    with _refusals():
        await _client().container_groups.stop(settings().resource_group, name)


async def restart(name: str) -> None:
    """Request a restart of all containers of a group; return when it is accepted. `ContainerRefused` as in `create`."""
    with _refusals():
        await _client().container_groups.begin_restart(settings().resource_group, name, polling=False)


async def remove(name: str) -> None:
    """Stop and delete a group; one that does not exist is no error."""
    from azure.core.exceptions import ResourceNotFoundError

    with contextlib.suppress(ResourceNotFoundError):
        await _client().container_groups.begin_delete(settings().resource_group, name, polling=False)


async def groups() -> AsyncIterator[tuple[str, dict[str, str]]]:
    """Yield name and tags of each group in the resource group."""
    async for found in _client().container_groups.list_by_resource_group(settings().resource_group):
        yield found.name or "", dict(found.tags or {})
