"""Azure file shares of one storage account, over the management API."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from shared.arm import ContainerRefused, absent_is_fine, client_arguments, refusals
from shared.settings import settings

if TYPE_CHECKING:
    from azure.mgmt.storage.aio import StorageManagementClient

_clients: "WeakKeyDictionary[asyncio.AbstractEventLoop, StorageManagementClient]" = WeakKeyDictionary()

_asked: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Task[str]]]" = WeakKeyDictionary()
"""The calls for keys that are under way, by account."""


def _client() -> "StorageManagementClient":
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        from azure.mgmt.storage.aio import StorageManagementClient

        _clients[loop] = StorageManagementClient(**client_arguments())
    return _clients[loop]


async def close() -> None:
    """Close this loop's connections."""
    client = _clients.pop(asyncio.get_running_loop(), None)
    if client is not None:
        await client.close()


async def create(account: str, name: str, quota_gb: int, metadata: Mapping[str, str]) -> None:
    """Create a share of at most `quota_gb` GB; a repeat changes nothing.

    `name` has 3 to 63 lower-case letters, digits and single hyphens. The names of `metadata` are made of letters and
    digits. Errors as in `shared.containers.create`.
    """
    from azure.mgmt.storage.models import FileShare, FileShareProperties

    properties = FileShareProperties(share_quota=quota_gb, metadata=dict(metadata))
    body = FileShare(file_share_properties=properties)
    with refusals():
        await _client().file_shares.create(settings().resource_group, account, name, body)


async def delete(account: str, name: str) -> None:
    """Delete a share with all its files; one that does not exist is no error. Errors as in `create`."""
    with refusals(), absent_is_fine():
        await _client().file_shares.delete(settings().resource_group, account, name)


async def metadata(account: str, name: str) -> dict[str, str] | None:
    """Return the metadata of a share, None when it does not exist. Errors as in `create`."""
    with refusals(), absent_is_fine():
        share = await _client().file_shares.get(settings().resource_group, account, name)
        properties = share.file_share_properties
        return dict(properties.metadata or {}) if properties else {}
    return None


async def names(account: str) -> AsyncIterator[str]:
    """Yield the name of each share. Errors as in `create`."""
    with refusals():
        async for share in _client().file_shares.list(settings().resource_group, account):
            yield share.name or ""


async def key(account: str) -> str:
    """Return an access key of the account. It opens every share: it must not be stored. Errors as in `create`.

    Those who ask while a call is under way share its answer.
    """
    asked = _asked.setdefault(asyncio.get_running_loop(), {})
    if account not in asked:
        asked[account] = asyncio.create_task(_key(account))
        asked[account].add_done_callback(lambda _: asked.pop(account))
    return await asyncio.shield(asked[account])


async def _key(account: str) -> str:
    with refusals():
        found = await _client().storage_accounts.list_keys(settings().resource_group, account)
    for each in found.keys_property or ():
        if each.value:
            return each.value
    raise ContainerRefused(f"The storage account {account} has no access key")
