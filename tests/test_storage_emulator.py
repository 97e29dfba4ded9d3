"""The storage emulator answers the SDKs of today, and does not load what it does not use."""

import subprocess

from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient

from infra.emulator.azurite import WITHOUT_TELEMETRY
from infra.local.environment import NODE_MODULES


async def test_a_table_and_a_container_can_be_created(storage: str):
    async with TableServiceClient.from_connection_string(storage) as tables:
        await tables.create_table("Smoke")
    async with BlobServiceClient.from_connection_string(storage) as blobs:
        await blobs.create_container("smoke")


def test_its_telemetry_is_not_loaded():
    load = "require('azurite/dist/src/common/Telemetry'); console.log(JSON.stringify(require('applicationinsights')))"
    command = ["node", "--require", str(WITHOUT_TELEMETRY), "-e", load]
    done = subprocess.run(command, cwd=NODE_MODULES, capture_output=True, text=True, check=True)
    assert done.stdout == "{}\n"
