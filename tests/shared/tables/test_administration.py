"""What is done with the vendor's SDK: tables made ahead, the health check, exports."""

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.data.tables.aio import TableServiceClient

from shared import tables
from shared.tables import Collection, administration
from shared.tables.connection import storage as storage_in_use
from tests.support.records import Counting, Run, collection


async def tables_of(storage: str) -> set[str]:
    async with TableServiceClient.from_connection_string(storage) as service:
        return {table.name async for table in service.list_tables()}


async def test_tables_are_made_ahead_and_the_first_write_finds_its_own(
    storage: str, monkeypatch: pytest.MonkeyPatch, counting: Counting
):
    counted, plain = collection(), Collection("MadeAhead", Run, plain=True)
    monkeypatch.setattr(administration, "collections", {counted.table: counted, plain.table: plain})
    assert not {counted.table, plain.table} & await tables_of(storage)
    for _ in range(2):
        assert await administration.make_tables() == [plain.table, counted.table]
    assert {counted.table, plain.table} <= await tables_of(storage)
    await plain.insert(Run())
    assert dict(counting.calls) == {"write": 1}


async def test_service_properties_are_read():
    properties = await administration.service_properties()
    assert {"analytics_logging", "hour_metrics", "cors"} <= properties.keys()


async def test_service_properties_show_that_the_credential_is_refused(monkeypatch: pytest.MonkeyPatch):
    account = storage_in_use()
    wrong = tables.Storage(account.account, account.url, account.blobs, key="a2V5")
    monkeypatch.setattr(administration, "storage", lambda: wrong)
    with pytest.raises(HttpResponseError) as caught:
        await administration.service_properties()
    assert caught.value.status_code == 403


async def exported(collection: Collection[Run], tenant: str | None = None) -> list[dict[str, Any]]:
    return [row async for row in administration.export(collection, tenant)]


async def test_an_export_holds_every_row_of_one_tenant_in_plain_values():
    runs = collection()
    run = await runs.of("ann").insert(Run(tokens=2**40, seconds=0.5, archived=True))
    await runs.of("bob").insert(Run())
    rows = await exported(runs, "ann")
    (record,) = [row for row in rows if row["RowKey"].startswith("r~")]
    assert (record["tokens"], record["seconds"], record["archived"]) == (2**40, 0.5, True)
    assert record["updated_at"] == run.updated_at.isoformat(timespec="microseconds")
    assert {row["PartitionKey"] for row in rows} == {"ann"}
    assert {row["RowKey"][0] for row in rows} == set("rioch")
    assert await exported(runs) == []


async def test_an_export_of_a_spread_collection_holds_all_its_partitions():
    runs = Collection("ExportSpread", Run, plain=True, spread=4)
    made = {(await runs.insert(Run(tokens=n))).tokens for n in range(12)}
    rows = await exported(runs)
    assert {row["tokens"] for row in rows} == made
    assert len({row["PartitionKey"] for row in rows}) > 1
