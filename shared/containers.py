"""Container Instances: create, watch, start, stop and remove container groups."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

import asyncio
import contextlib
from collections.abc import AsyncIterator, Generator, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from shared.container_groups import GroupSpec, GroupStatus
from shared.container_models import group_of, status_of
from shared.credential import credential
from shared.settings import settings

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError
    from azure.mgmt.containerinstance.aio import ContainerInstanceManagementClient

_clients: "WeakKeyDictionary[asyncio.AbstractEventLoop, ContainerInstanceManagementClient]" = WeakKeyDictionary()


class ContainerRefused(Exception):
    """The service refuses the request and would refuse a repeat too; the message is the service's own."""


class ContainersBusy(Exception):
    """The service cannot do it now, but a repeat may succeed: no room, too many requests, or no answer.

    The message is the service's own. `retry_after` is how many seconds it asks to wait, 0 when it names none.
    """

    def __init__(self, message: str, retry_after: float = 0.0):
        super().__init__(message)
        self.retry_after = retry_after


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
    """Turn what the service refuses into `ContainerRefused` when it is for good, else into `ContainersBusy`."""
    from azure.core.exceptions import AzureError, HttpResponseError

    try:
        yield
    except HttpResponseError as error:
        message = (error.error and error.error.message) or error.message
        # A quota (409), too many requests (429) and a fault of the service may pass, and so does a region that is full.
        final = error.status_code is not None and 400 <= error.status_code < 500
        if final and error.status_code not in (408, 409, 429) and not _is_full(error):
            raise ContainerRefused(message) from error
        raise ContainersBusy(message, _retry_after(error)) from error
    except AzureError as error:  # no connection, or no token at this moment
        raise ContainersBusy(f"The container service does not answer: {type(error).__name__}") from error


def _is_full(error: "HttpResponseError") -> bool:
    return error.error is not None and error.error.code == "ServiceUnavailable"


def _retry_after(error: "HttpResponseError") -> float:
    """Return the seconds of the response's Retry-After header, 0 without one."""
    headers: Mapping[str, str] = getattr(error.response, "headers", {})  # there is no response when none came
    given = headers.get("Retry-After", "")
    return float(given) if given.isdecimal() else 0.0


async def create(spec: GroupSpec) -> None:
    """Request a group, or a change of the group with this name; return when the request is accepted.

    `ContainerRefused` when the service refuses it for good (unknown image, invalid specification, a size that the
    region does not offer, no permission). `ContainersBusy` when it has no room, after a single attempt: the SDK would
    wait for minutes inside of the call.
    """
    config = settings()
    body = group_of(spec, config.location)
    with _refusals():
        await _client().container_groups.begin_create_or_update(
            config.resource_group, spec.name, body, polling=False, retry_total=0
        )


async def state(name: str) -> GroupStatus | None:
    """Return the state of a group and of each of its containers; None when the group does not exist.

    `ContainerRefused` and `ContainersBusy` as in `create`.
    """
    from azure.core.exceptions import ResourceNotFoundError

    with _refusals():
        try:
            return status_of(await _client().container_groups.get(settings().resource_group, name))
        except ResourceNotFoundError:
            return None


async def start(name: str) -> None:
    """Request the start of a stopped group; return when the request is accepted. Errors as in `create`."""
    with _refusals():
        await _client().container_groups.begin_start(settings().resource_group, name, polling=False)


async def stop(name: str) -> None:
    """Stop a group's containers; the group stays and can be started again. Errors as in `create`."""
    with _refusals():
        await _client().container_groups.stop(settings().resource_group, name)


async def restart(name: str) -> None:
    """Request a restart of all containers of a group; return when it is accepted. Errors as in `create`."""
    with _refusals():
        await _client().container_groups.begin_restart(settings().resource_group, name, polling=False)


async def remove(name: str) -> None:
    """Stop and delete a group; one that does not exist is no error. Errors as in `create`."""
    from azure.core.exceptions import ResourceNotFoundError

    with _refusals(), contextlib.suppress(ResourceNotFoundError):
        await _client().container_groups.begin_delete(settings().resource_group, name, polling=False)


async def groups() -> AsyncIterator[tuple[str, dict[str, str]]]:
    """Yield name and tags of each group in the resource group."""
    async for found in _client().container_groups.list_by_resource_group(settings().resource_group):
        yield found.name or "", dict(found.tags or {})
