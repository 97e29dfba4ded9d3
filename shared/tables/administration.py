"""What no request waits for, done with azure-data-tables: making tables ahead, a health check, exports."""

# pyright: reportUnknownMemberType=false

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from shared.tables.collection import Collection
from shared.tables.connection import storage
from shared.tables.keys import END
from shared.tables.stored import collections

if TYPE_CHECKING:
    from azure.data.tables.aio import TableServiceClient


async def make_tables() -> list[str]:
    """Create the tables of all declared collections, so that no request has to; returns their names.

    Harmless to repeat: a table that exists stays as it is.
    """
    names = sorted(collections)
    async with _service() as service:
        await asyncio.gather(*(service.create_table_if_not_exists(name) for name in names))
    return names


async def service_properties() -> dict[str, Any]:
    """The settings of the table service (logging, metrics, CORS): proof that it responds and accepts the credential.

    Otherwise azure-core's HttpResponseError or ServiceRequestError, after a single attempt. An identity needs the right
    to read these settings besides its right to the data.
    """
    async with _service(retry_total=0) as service:
        return dict(await service.get_service_properties())


async def export(collection: Collection[Any], tenant: str | None = None) -> AsyncIterator[dict[str, Any]]:
    """Every row of one tenant as it is stored, index and counter rows too, in the order of the keys.

    Values are plain: str, int, float, bool, bytes. Texts in blobs are named, not read.
    """
    from azure.data.tables import EntityProperty

    partition = (collection if tenant is None else collection.of(tenant)).partition
    condition = f"PartitionKey eq '{partition}'"
    if collection.spread > 1:
        condition = f"PartitionKey ge '{partition}~' and PartitionKey lt '{partition}~{END}'"
    async with _service() as service:
        table = service.get_table_client(collection.table)
        async for entity in table.query_entities(condition, results_per_page=1_000):
            values: dict[str, Any] = dict(entity)
            yield {name: value.value if isinstance(value, EntityProperty) else value for name, value in values.items()}


def _service(**options: Any) -> "TableServiceClient":
    from azure.core.credentials import AzureNamedKeyCredential
    from azure.data.tables.aio import TableServiceClient

    account = storage()
    credential: Any = AzureNamedKeyCredential(account.account, account.key) if account.key else account.identity
    return TableServiceClient(account.url, credential=credential, connection_timeout=5, read_timeout=30, **options)
