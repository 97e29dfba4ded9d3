"""The wire: rows as the vendor's SDK reads them, signatures, and repeated reads."""

import asyncio
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.data.tables import EdmType
from azure.data.tables.aio import TableClient

from shared import tables
from shared.tables import Collection, Storage, StorageUnavailable, connection, wire
from shared.tables.client import client
from shared.tables.wire import Unanswered, Wire, WireResponse
from tests.support.records import Run, Status


class Scripted:
    """Returns these responses in turn, and keeps the requests."""

    def __init__(self, *answers: WireResponse | Exception):
        self.answers, self.asked = list(answers), list[tuple[str, dict[str, str]]]()

    async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
        self.asked.append((url, headers))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None: ...


FOUND = WireResponse(200, {"ETag": "e"}, b'{"RowKey":"r"}')
URL = "https://name.table.core.windows.net"
KEY = Storage("name", URL, blobs=Any, key="a2V5")  # type: ignore[arg-type]


async def test_the_sdk_reads_typed_columns(runs: Collection[Run], storage: str):
    started = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    run = await runs.insert(Run(tokens=2**40, seconds=2.0, archived=True, status=Status.DONE, started_at=started))
    key = (await runs.read(run.id)).row["RowKey"]
    async with TableClient.from_connection_string(storage, runs.table) as sdk:
        entity = await sdk.get_entity("all", key)
    assert entity["tokens"].value == 2**40
    assert entity["tokens"].edm_type is EdmType.INT64
    assert (entity["seconds"], entity["archived"], entity["status"]) == (2.0, True, "done")
    assert entity["started_at"].startswith("2026-01-02T03:04:05")
    assert entity.metadata["etag"] == run.etag


async def test_what_the_sdk_changes_is_noticed(runs: Collection[Run], storage: str):
    run = await runs.insert(Run())
    key = (await runs.read(run.id)).row["RowKey"]

    async def meddle() -> None:
        async with TableClient.from_connection_string(storage, runs.table) as sdk:
            await sdk.update_entity({"PartitionKey": "all", "RowKey": key, "prompt": "meddled"})

    await meddle()
    new = await runs.update(run.id, lambda r: setattr(r, "tokens", 1))
    assert (new.prompt, new.tokens) == ("meddled", 1)


async def test_an_identity_signs_with_its_token_until_shortly_before_it_expires():
    asked: list[Any] = []

    class Identity:
        async def get_token(self, *scopes: str) -> AccessToken:
            asked.append(scopes)
            return AccessToken(f"token{len(asked)}", int(time.time()) + (200 if len(asked) == 1 else 3600))

    transport = Scripted(FOUND, FOUND, FOUND)
    table = Wire(Storage("name", URL, blobs=Any, identity=Identity()), transport)  # type: ignore[arg-type]
    for _ in range(3):
        await table.get("Table", "p", "r")
    assert asked == [("https://storage.azure.com/.default",)] * 2
    assert [headers["Authorization"] for _, headers in transport.asked] == [
        "Bearer token1",
        "Bearer token2",
        "Bearer token2",
    ]


class TestRepeats:
    @pytest.fixture
    def waits(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        # The module's own name only: a server of other tests in this event loop would sleep no more, and stop the loop.
        monkeypatch.setattr(wire, "asyncio", SimpleNamespace(sleep=sleep, timeout=asyncio.timeout))
        return waits

    async def get(self, *answers: WireResponse | Exception) -> tuple[Scripted, Any]:
        transport = Scripted(*answers)
        return transport, await Wire(KEY, transport).get("Table", "p", "r")

    async def test_a_throttled_read_waits_as_long_as_the_service_asks(self, waits: list[float]):
        transport, found = await self.get(
            WireResponse(503, {"Retry-After": "2"}, b""), WireResponse(429, {}, b""), FOUND
        )
        assert found == ({"RowKey": "r"}, "e")
        assert waits[0] == 2
        assert 0.1 <= waits[1] <= 0.3
        assert len(transport.asked) == 3

    async def test_a_read_without_a_response(self, waits: list[float]):
        with pytest.raises(StorageUnavailable):
            await self.get(*[Unanswered("lost")] * wire.ATTEMPTS)
        assert len(waits) == wire.ATTEMPTS - 1
        assert all(later > 0 for later in waits)


async def test_a_table_that_does_not_exist_yet_is_waited_for():
    missing = WireResponse(404, {}, b'{"odata.error":{"code":"TableNotFound","message":{"value":"0:no"}}}')
    transport = Scripted(missing, WireResponse(204, {}, b""), missing, WireResponse(409, {}, b""))
    with pytest.raises(Unanswered, match="does not exist yet"):
        await Wire(KEY, transport).transact("Table", [b""])
    assert [url.rpartition("/")[2] for url, _ in transport.asked] == ["$batch", "Tables", "$batch", "Tables"]


class TestStorage:
    async def test_a_client_before_a_storage_account_is_named_is_an_error(self, monkeypatch: pytest.MonkeyPatch):
        await tables.close()
        monkeypatch.setattr(connection, "_source", None)
        with pytest.raises(RuntimeError, match=r"tables\.use"):
            client()

    @pytest.mark.parametrize("given", [{}, {"key": "a2V5", "identity": Any}], ids=["neither", "both"])
    def test_an_account_has_a_key_or_an_identity(self, given: dict[str, Any]):
        with pytest.raises(ValueError, match="either"):
            Storage("name", URL, blobs=Any, **given)  # type: ignore[arg-type]
