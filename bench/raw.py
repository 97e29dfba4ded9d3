"""Storage calls without this app's library: bare signed requests, and the SDK; what operations are compared with."""

import asyncio
import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import aiohttp
import orjson
from yarl import URL

from shared.settings import settings
from shared.tables import batch
from shared.tables.wire import Row, Transport, WireResponse

_PREFER = {
    "Content-Type": batch.CONTENT_TYPE,
    "x-ms-version": "2019-02-02",
    "Accept": "application/json;odata=nometadata",
}


@dataclass
class Recording:
    """A transport that keeps the path of each read, and the parts of each transaction that it passes on."""

    inner: Transport
    reads: list[str] = field(default_factory=list[str])
    transactions: list[bytes] = field(default_factory=list[bytes])

    async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
        if body is None:
            self.reads.append(url.removeprefix(settings().account.tables + "/"))
        else:
            self.transactions.append(body)
        return await self.inner.send(method, url, headers, body)

    async def close(self) -> None:
        await self.inner.close()


class Bare:
    """The calls at the lowest cost: one aiohttp session, a signature, orjson."""

    def __init__(self) -> None:
        self.account = settings().account
        self.key = base64.b64decode(self.account.key or "")
        self.http = aiohttp.ClientSession()

    async def call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """One signed request for a path with its query."""
        date = formatdate(usegmt=True)
        text = f"{date}\n/{self.account.name}/{self.account.name}/{path.partition('?')[0]}"
        sign = base64.b64encode(hmac.digest(self.key, text.encode(), hashlib.sha256)).decode()
        headers = {**_PREFER, "x-ms-date": date, "Authorization": f"SharedKeyLite {self.account.name}:{sign}"}
        url = URL(f"{self.account.tables}/{path}", encoded=True)
        async with self.http.request(method, url, headers=headers, data=body) as answer:
            answer.raise_for_status()
            return await answer.read()

    async def read(self, paths: list[str]) -> list[Any]:
        """The rows of these reads, made at the same time."""
        return [orjson.loads(found) for found in await asyncio.gather(*(self.call("GET", path) for path in paths))]

    async def transaction(self, table: str, partition: str, rows: list[Row]) -> None:
        """Write these rows in one transaction, whether they are stored already or not."""
        url = f"{self.account.tables}/{table}"
        operations = [batch.Operation("PUT", row["RowKey"], row) for row in rows]
        body = batch.request(batch.encode(operations, url, partition))
        if (await self.call("POST", "$batch", body)).count(b"HTTP/1.1 204") != len(operations):
            raise RuntimeError("a bare transaction was refused")


class Sdk:
    """The same calls with the SDK azure-data-tables."""

    def __init__(self, table: str, partition: str) -> None:
        from azure.data.tables.aio import TableClient

        self.partition = partition
        self.client = TableClient.from_connection_string(settings().storage, table)

    async def get(self, key: str) -> Any:
        """One row."""
        return await self.client.get_entity(self.partition, key)

    async def page(self, prefix: str, top: int) -> Any:
        """The first rows whose keys begin with the prefix."""
        where = f"PartitionKey eq '{self.partition}' and RowKey ge '{prefix}' and RowKey lt '{prefix}~'"
        pages = self.client.query_entities(where, results_per_page=top).by_page()
        return [entity async for entity in await anext(pages)]

    async def transaction(self, rows: list[Row]) -> None:
        """Write these rows in one transaction."""
        plain = [{name: value for name, value in row.items() if "@" not in name} for row in rows]
        await self.client.submit_transaction([("upsert", {"PartitionKey": self.partition, **row}) for row in plain])
