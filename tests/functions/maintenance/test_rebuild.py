"""Making a collection's indexes and counters anew, by a message."""

import base64
import json

import httpx
from azure.data.tables.aio import TableServiceClient
from azure.storage.queue.aio import QueueClient

from functions.maintenance.rebuild import REBUILD_QUEUE
from infra.local.environment import Environment
from tests.support.gateway import Gateway
from tests.support.waiting import eventually


async def total(gateway: Gateway, query: str) -> int:
    return (await gateway.http.get(f"/gateway/api/runs?{query}")).json()["total"]


async def test_lost_index_rows_and_counts_come_back(stack: Environment, gateway: Gateway):
    run = await gateway.reach((await gateway.run("exit 7"))["id"])
    mine = f"client_id={gateway.id}"
    before = await total(gateway, mine)
    storage = stack.app_settings["AzureWebJobsStorage"]
    async with TableServiceClient.from_connection_string(storage) as service:
        table = service.get_table_client("GatewayRuns")
        rows = table.query_entities("RowKey ge 'i~' and RowKey lt 'i~~~'", select=["PartitionKey", "RowKey"])
        lost = [row async for row in rows if run["id"].replace("-", "") not in row["RowKey"]]
        for row in lost:
            await table.delete_entity(row["PartitionKey"], row["RowKey"])
    assert (await gateway.http.get(f"/gateway/api/runs?{mine}")).json()["runs"] == []
    async with QueueClient.from_connection_string(storage, REBUILD_QUEUE) as queue:
        await queue.create_queue()
        await queue.send_message(base64.b64encode(json.dumps({"table": "GatewayRuns"}).encode()).decode())
    await eventually(lambda: listed(gateway, mine, run["id"]), seconds=90)
    assert await total(gateway, mine) == before


async def test_it_can_be_fired_by_hand(http: httpx.AsyncClient):
    body = {"input": json.dumps({"table": "GatewayClients"})}
    assert (await http.post("/admin/functions/maintenance_rebuild", json=body)).status_code == 202
    assert (await http.post("/admin/functions/maintenance_hour", json={})).status_code == 202


async def listed(gateway: Gateway, query: str, run_id: str) -> bool:
    return run_id in [run["id"] for run in (await gateway.http.get(f"/gateway/api/runs?{query}")).json()["runs"]]
