"""The identity with which this app calls Azure."""

from functools import cache
from typing import TYPE_CHECKING

from shared.settings import settings

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential


@cache
def credential() -> "AsyncTokenCredential":
    """Return the app's managed identity in Azure; on a laptop, the account that is logged in to the Azure tools."""
    from azure.identity.aio import DefaultAzureCredential

    client_id = settings().client_id
    return DefaultAzureCredential(managed_identity_client_id=client_id) if client_id else DefaultAzureCredential()
