"""A transport that loses and delays requests, and a recount that checks what must hold afterwards."""

import asyncio
import random
import re
from base64 import b64encode
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from shared.tables import Collection
from shared.tables.cells import OLD, Cells, add, load
from shared.tables.client import client
from shared.tables.counted import CountedCollection
from shared.tables.reading import Reader
from shared.tables.wire import Row, Transport, Unanswered, WireResponse

_TOP = re.compile(r"\$top=(\d+)")
_SELECT = re.compile(r"\$select=([^&]+)")
_START = re.compile(r"PartitionKey%20eq%20%27(.*?)%27%20and%20RowKey%20ge%20%27(.*?)%27")


def _part(status: int, code: str) -> WireResponse:
    """The response of an accepted transaction which says in its part that it failed."""
    error = {"odata.error": {"code": code, "message": {"lang": "en-US", "value": code}}}
    head = f"--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {status} Error\r\n\r\n".encode()
    return WireResponse(202, {}, head + orjson.dumps(error) + b"\r\n--b--\r\n")


_PARTS = {"busy part": _part(503, "ServerBusy"), "timed out part": _part(500, "OperationTimedOut")}
"""Failures within an accepted transaction: one before anything is stored, one after all of it is stored."""


class Flaky:
    """Loses requests and responses, delivers late, throttles, and returns short pages, empty pages and nulls."""

    def __init__(self, inner: Transport, seed: int, rate: float = 0.2):
        self.inner, self.random, self.rate = inner, random.Random(seed), rate
        self.late: list[asyncio.Task[WireResponse]] = []
        self.faults: dict[str, int] = defaultdict(int)

    async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
        if self.random.random() >= self.rate:
            return _with_nulls(url, await self.inner.send(method, url, headers, body))
        if "()?" in url and self.random.random() < 0.7:
            return await self._query(method, url, headers, body)
        kind = self.random.choice(["lost request", "lost answer", "late", "throttled", "failed after", *_PARTS])
        self.faults[kind] += 1
        if kind == "lost request":
            raise Unanswered(kind)
        if kind == "throttled":
            return WireResponse(503, {"Retry-After": "0"}, b"")
        if kind == "late":
            self.late.append(asyncio.create_task(self._later(method, url, headers, body)))
            raise Unanswered(kind)
        if kind == "busy part" and url.endswith("$batch"):
            return _PARTS[kind]
        await self.inner.send(method, url, headers, body)
        if kind == "timed out part" and url.endswith("$batch"):
            return _PARTS[kind]
        if kind == "failed after":
            return WireResponse(500, {}, b"")
        raise Unanswered(kind)

    async def _later(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
        await asyncio.sleep(self.random.random() * 0.05)
        return await self.inner.send(method, url, headers, body)

    async def _query(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
        start = _START.search(url)
        if start and "NextRowKey" not in url and self.random.random() < 0.5:
            self.faults["empty page"] += 1
            keys = [b64encode(key.encode()).decode() for key in start.groups()]
            place = {
                f"x-ms-continuation-Next{name}Key": key for name, key in zip(("Partition", "Row"), keys, strict=True)
            }
            return WireResponse(200, place, orjson.dumps({"value": []}))
        self.faults["short page"] += 1
        most = self.random.randint(1, 3)
        short = _TOP.sub(lambda match: f"$top={min(int(match[1]), most)}", url)
        return _with_nulls(url, await self.inner.send(method, short, headers, body))

    async def quiet(self) -> None:
        """Wait until late requests have arrived."""
        await asyncio.gather(*self.late)

    async def close(self) -> None:
        await self.inner.close()


class Once:
    """Fails the first transaction, before it is sent or after it is stored."""

    def __init__(self, inner: Transport, *, landed: bool, then: int = 0):
        self.inner, self.landed, self.then, self.done = inner, landed, then, False

    async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
        if self.done or not url.endswith("$batch"):
            return await self.inner.send(method, url, headers, body)
        self.done = True
        if self.landed:
            await self.inner.send(method, url, headers, body)
        if self.then:
            return WireResponse(self.then, {"Retry-After": "0"}, b"")
        raise Unanswered("lost")

    async def close(self) -> None:
        await self.inner.close()


class Losing:
    """Loses the response of the first write, which has or has not reached the service; then lets `meddle` work."""

    def __init__(self, inner: Transport, *, landed: bool, meddle: Any = None):
        self.inner, self.landed, self.meddle, self.done = inner, landed, meddle, False

    async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
        if self.done or method == "GET":
            return await self.inner.send(method, url, headers, body)
        self.done = True
        if self.landed:
            await self.inner.send(method, url, headers, body)
        if self.meddle:
            await self.meddle()
        raise Unanswered("lost")

    async def close(self) -> None: ...


@asynccontextmanager
async def losing(*, landed: bool, meddle: Any = None) -> AsyncIterator[None]:
    """Lose the response of the first write in the block."""
    wire = client().wire
    inner = wire.transport
    wire.transport = Losing(inner, landed=landed, meddle=meddle)
    try:
        yield
    finally:
        wire.transport = inner


@asynccontextmanager
async def flaky(seed: int, rate: float = 0.2) -> AsyncIterator[Flaky]:
    """This process's transport as a flaky one that repeats at once."""
    wire = client().wire
    inner, pause = wire.transport, wire.pause
    wire.transport = faults = Flaky(inner, seed, rate)
    wire.pause = 0.002
    try:
        yield faults
    finally:
        await faults.quiet()
        wire.transport, wire.pause = inner, pause


def _with_nulls(url: str, answer: WireResponse) -> WireResponse:
    """The response with nulls for selected columns that a row does not have, as the service sends them."""
    selected = _SELECT.search(url)
    if not selected or answer.status != 200:
        return answer
    nulls: Row = dict.fromkeys(selected[1].split(","))
    body = orjson.loads(answer.body)
    body = {"value": [nulls | row for row in body["value"]]} if "value" in body else nulls | body
    return WireResponse(200, answer.headers, orjson.dumps(body))


async def rows_of(collection: Collection[Any]) -> dict[str, Row]:
    """Every row of a partition."""
    reader = Reader(client().wire, collection.table, collection.partition, "")
    return {row["RowKey"]: row async for rows in reader.pages("") for row in rows}


async def audit(collection: CountedCollection[Any]) -> dict[str, Any]:
    """Check that index rows, unique rows and counters are exactly those of the records; returns the records by id."""
    rows = await rows_of(collection)
    records, wanted, counted = {}, {}, defaultdict[str, Cells](dict)
    for key in rows:
        if key.startswith("r~"):
            stored = await collection.read(collection.columns.form.texts([key])[0])
            records[stored.record.id] = stored.record
            wanted |= dict.fromkeys(*collection.schema.rows(*stored.state))
            wanted |= {key: own for key, (_, own) in collection.schema.unique_rows(*stored.state).items()}
            for (_, prefix), cells in collection.schema.delta(None, stored.state).rows.items():
                add(counted[prefix], cells)
    held = {key: row for key, row in rows.items() if key[0] in "iou"}
    assert held.keys() == wanted.keys()
    for key, columns in wanted.items():
        own = {name: v for name, v in held[key].items() if name not in ("PartitionKey", "RowKey", "Timestamp")}
        assert own == columns, key
    found = defaultdict[str, Cells](dict)
    for key, row in rows.items():
        if key[0] in "ch":
            add(found[key.rpartition("~")[0] + "~"], load(row))
            add(found[key.rpartition("~")[0] + "~"], load(row, OLD))
    assert {key: cells for key, cells in found.items() if cells} == dict(counted)
    assert {key[0] for key in rows} <= set("riouchgn")
    return records
