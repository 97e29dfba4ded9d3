"""The storage emulator answers the SDKs of today."""

from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient


async def test_a_table_and_a_container_can_be_created(storage: str):
    async with TableServiceClient.from_connection_string(storage) as tables:
        await tables.create_table("Smoke")
    async with BlobServiceClient.from_connection_string(storage) as blobs:
        await blobs.create_container("smoke")
