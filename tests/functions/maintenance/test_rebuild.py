"""Making a collection's indexes and counters anew, by a message."""

import base64
import json

import azure.functions as func
import httpx
import pytest
from azure.data.tables.aio import TableServiceClient
from azure.functions.decorators.function_app import FunctionBuilder
from azure.storage.queue.aio import QueueClient

from functions.maintenance import rebuild
from functions.maintenance.rebuild import REBUILD_QUEUE
from infra.local.environment import Environment
from shared import queues, tables
from tests.support.gateway import Gateway
from tests.support.waiting import eventually


class Tenanted(tables.Record):
    word: str


async def total(gateway: Gateway, query: str) -> int:
    return (await gateway.http.get(f"/gateway/api/runs?{query}")).json()["total"]


async def test_lost_index_rows_and_counts_are_restored(stack: Environment, gateway: Gateway):
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


async def test_each_tenant_of_a_table_is_rebuilt_by_a_message_of_its_own(
    account: None, monkeypatch: pytest.MonkeyPatch
):
    sent: list[bytes] = []

    async def send(queue: str, text: str) -> None:
        assert queue == REBUILD_QUEUE
        sent.append(base64.b64decode(text))

    monkeypatch.setattr(queues, "send", send)
    old = tables.Collection("RebuiltTenants", Tenanted)
    for name in ("ann", "bob@example.org"):
        await old.of(name).insert(Tenanted(word=name))
    new = tables.Collection("RebuiltTenants", Tenanted, indexes=["word"])
    builder = rebuild.maintenance_rebuild
    assert isinstance(builder, FunctionBuilder)
    handle = builder._function.get_user_function()
    await handle(func.QueueMessage(body=json.dumps({"table": "RebuiltTenants"}).encode()))
    assert len(sent) == 2
    for body in sent:
        await handle(func.QueueMessage(body=body))
    for name in ("ann", "bob@example.org"):
        assert [each.word for each in (await new.of(name).page({"word": name})).items] == [name]


async def test_the_functions_of_maintenance_can_be_started_by_hand(http: httpx.AsyncClient):
    body = {"input": json.dumps({"table": "GatewayClients"})}
    assert (await http.post("/admin/functions/maintenance_rebuild", json=body)).status_code == 202
    assert (await http.post("/admin/functions/maintenance_hour", json={})).status_code == 202


async def listed(gateway: Gateway, query: str, run_id: str) -> bool:
    return run_id in [run["id"] for run in (await gateway.http.get(f"/gateway/api/runs?{query}")).json()["runs"]]
