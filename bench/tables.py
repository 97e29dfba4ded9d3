"""Records: each operation compared with the bare storage calls that it needs, its calls and rows, and concurrency."""

import asyncio
import base64
import hashlib
import hmac
import os
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from enum import StrEnum
from itertools import cycle, product
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import orjson
from yarl import URL

from infra.emulator import azurite
from infra.emulator.processes import free_ports
from infra.local.environment import NODE_MODULES
from shared import tables
from shared.settings import settings
from shared.storage import connect
from shared.tables import Collection, Record, batch
from shared.tables.batch import Operation
from shared.tables.client import client
from shared.tables.ids import new_id
from shared.tables.wire import Transport, WireResponse

Row = dict[str, Any]
Call = Callable[[], Awaitable[Any]]

ROUNDS = 21
RECORDS = 2_000
_STORAGE = "AzureWebJobsStorage"
START = datetime(2026, 5, 1, tzinfo=UTC)


class Status(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"


class Job(Record):
    status: Status = Status.PENDING
    owner: str = "c1"
    name: str = "a name of usual length"
    tokens: int = 1
    seconds: float = 1.5
    started_at: datetime | None = None


class Agent(Record, numbered=True):
    status: Status = Status.PENDING
    owner: str = "c1"
    name: str = "a name of usual length"
    tokens: int = 1
    seconds: float = 1.5
    started_at: datetime | None = None


class Note(Record):
    title: str
    body: str = "a body of a few words"


def _agents(table: str) -> Collection[Agent]:
    """The same with numbers: a row more."""
    return Collection(table, Agent, indexes=["status", "owner"], counters=["status"], sums=["tokens"])


def _jobs(table: str) -> Collection[Job]:
    """One transaction of five rows creates a job: record, two index rows, two counter rows."""
    return Collection(table, Job, indexes=["status", "owner"], counters=["status"], sums=["tokens"])


class Raw(Protocol):
    """The storage calls that an operation needs at least."""

    async def get(self, key: str) -> Any: ...

    async def page(self, prefix: str, top: int) -> Any: ...

    async def transaction(self, rows: list[Row]) -> Any: ...


class Bare:
    """The calls at the lowest cost: one aiohttp session, a signature, orjson."""

    def __init__(self, table: str) -> None:
        self.table = table
        self.account = settings().account
        self.key = base64.b64decode(self.account.key or "")
        self.http = aiohttp.ClientSession()

    async def call(self, method: str, path: str, query: str = "", body: bytes | None = None) -> bytes:
        date = formatdate(usegmt=True)
        text = f"{date}\n/{self.account.name}/{self.account.name}/{path}"
        sign = base64.b64encode(hmac.digest(self.key, text.encode(), hashlib.sha256)).decode()
        headers = {
            "x-ms-date": date,
            "Authorization": f"SharedKeyLite {self.account.name}:{sign}",
            "Accept": "application/json;odata=nometadata",
            "x-ms-version": "2019-02-02",
            "Content-Type": batch.CONTENT_TYPE,
        }
        url = URL(f"{self.account.tables}/{path}{query}", encoded=True)
        async with self.http.request(method, url, headers=headers, data=body) as answer:
            answer.raise_for_status()
            return await answer.read()

    async def get(self, key: str) -> Any:
        return orjson.loads(await self.call("GET", f"{self.table}(PartitionKey='all',RowKey='{key}')"))

    async def page(self, prefix: str, top: int) -> Any:
        where = f"PartitionKey%20eq%20'all'%20and%20RowKey%20ge%20'{prefix}'%20and%20RowKey%20lt%20'{prefix}~'"
        return orjson.loads(await self.call("GET", f"{self.table}()", f"?$filter={where}&$top={top}"))

    async def transaction(self, rows: list[Row]) -> None:
        url = f"{self.account.tables}/{self.table}"
        operations = [Operation("PUT", row["RowKey"], row) for row in rows]
        body = batch.request([operation.encode(url, "all") for operation in operations])
        if (await self.call("POST", "$batch", "", body)).count(b"HTTP/1.1 204") != len(operations):
            raise RuntimeError("a bare transaction was refused")


class Sdk:
    """The same calls with the SDK azure-data-tables."""

    def __init__(self, table: str) -> None:
        from azure.data.tables.aio import TableClient

        self.client = TableClient.from_connection_string(settings().storage, table)

    async def get(self, key: str) -> Any:
        return await self.client.get_entity("all", key)

    async def page(self, prefix: str, top: int) -> Any:
        where = f"PartitionKey eq 'all' and RowKey ge '{prefix}' and RowKey lt '{prefix}~'"
        pages = self.client.query_entities(where, results_per_page=top).by_page()
        return [entity async for entity in await anext(pages)]

    async def transaction(self, rows: list[Row]) -> None:
        plain = [{name: value for name, value in row.items() if "@" not in name} for row in rows]
        await self.client.submit_transaction([("upsert", {"PartitionKey": "all", **row}) for row in plain])


class Counting:
    """A transport that counts calls, rows read and rows written."""

    def __init__(self, inner: Transport):
        self.inner, self.counts = inner, Counter[str]()

    async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
        answer = await self.inner.send(method, url, headers, body)
        self.counts["calls"] += 1
        if body is not None:
            self.counts["rows written"] += body.count(b"Content-Transfer-Encoding")
            self.counts["refused"] += b"HTTP/1.1 4" in answer.body
        elif "()?" in url:
            self.counts["rows read"] += len(orjson.loads(answer.body)["value"])
        else:
            self.counts["rows read"] += answer.status == 200
        return answer

    async def close(self) -> None:
        await self.inner.close()


async def run() -> list[Row]:
    """Measure everything on a new emulator in memory; return rows of name, value and unit."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        blob, queue, table = free_ports(3)
        child = await azurite.start(
            (blob, queue, table), node_modules=NODE_MODULES, folder=None, log=Path(folder) / "azurite.log"
        )
        stack.push_async_callback(child.stop)
        before = os.environ.get(_STORAGE)
        os.environ[_STORAGE] = azurite.connection_string(blob, queue, table)
        settings.cache_clear()
        connect()
        try:
            return [*await _client_cost(), *await _numbers_and_ranges(), *await _writers(), *await _growth()]
        finally:
            await tables.close()
            if before is None:
                del os.environ[_STORAGE]
            else:
                os.environ[_STORAGE] = before
            settings.cache_clear()


async def _fill(jobs: Collection[Job], count: int) -> list[str]:
    """Insert records that spread over two days, a third in each state; return their ids, the newest last."""
    ids: list[str] = []
    for first in range(0, count, 500):
        moments = [START + timedelta(days=2) * n / count for n in range(first, min(first + 500, count))]
        made = [Job(id=new_id(at), created_at=at, status=list(Status)[n % 3]) for n, at in enumerate(moments, first)]
        ids += [job.id for job in await asyncio.gather(*map(jobs.insert, made))]
    return ids


async def _compare(name: str, repeat: int, **calls: Call) -> list[Row]:
    """Measure CPU and wall time of one call as ratios to the bare call, the median over all rounds."""
    cpu: dict[str, list[float]] = {kind: [] for kind in calls}
    wall: dict[str, list[float]] = {kind: [] for kind in calls}
    for _ in range(ROUNDS):
        for kind, call in calls.items():
            start, used = time.perf_counter(), time.process_time()
            for _ in range(repeat):
                await call()
            cpu[kind].append((time.process_time() - used) / repeat)
            wall[kind].append((time.perf_counter() - start) / repeat)
    rows = [_row(f"{name}: client CPU of the bare calls", statistics.median(cpu["bare"]) * 1e6, "us")]
    for kind in calls:
        if kind != "bare":
            for what, taken in (("client CPU", cpu), ("wall time", wall)):
                ratio = statistics.median(own / bare for own, bare in zip(taken[kind], taken["bare"], strict=True))
                rows.append(_row(f"{name}: {what}, {kind} against bare", ratio, "x"))
    return rows


async def _client_cost() -> list[Row]:
    """Compare each operation with the storage calls that it needs, made bare and with the SDK."""
    jobs = _jobs("BenchCost")
    ids = await _fill(jobs, RECORDS)
    columns = jobs.columns.typed((await jobs.read(ids[0])).row)
    key = columns["RowKey"]
    states = cycle(Status)

    async def transaction(raw: Raw, size: int) -> None:
        await raw.transaction([{**columns, "RowKey": f"x~{new_id()}"} for _ in range(size)])

    async def update(raw: Raw) -> None:
        await raw.get(key)
        await transaction(raw, 6)

    async def page(raw: Raw, prefix: str, size: int) -> None:
        await asyncio.gather(raw.page(prefix, size), raw.page("c~", 1000))

    async def deep(raw: Raw) -> None:
        await asyncio.gather(raw.page("h~", 1000), raw.page("c~", 1000))
        await raw.page("r~", 60)

    operations: list[tuple[str, int, Callable[[Raw], Awaitable[Any]], Call]] = [
        ("get", 60, lambda raw: raw.get(key), lambda: jobs.get(ids[0])),
        ("create, a transaction of 5", 30, lambda raw: transaction(raw, 5), lambda: jobs.insert(Job())),
        (
            "update, a get and a transaction of 6",
            20,
            update,
            lambda: jobs.update(ids[1], lambda job: setattr(job, "status", next(states))),
        ),
        ("page of 50 and its total", 20, lambda raw: page(raw, "r~", 50), lambda: jobs.page(limit=50)),
        ("page of 500 and its total", 4, lambda raw: page(raw, "r~", 500), lambda: jobs.page(limit=500)),
        ("page of 1000 and its total", 2, lambda raw: page(raw, "r~", 1_000), lambda: jobs.page(limit=1_000)),
        (
            "filtered page of 50 and its total",
            20,
            lambda raw: page(raw, "i~status~done~", 50),
            lambda: jobs.page({"status": "done"}),
        ),
        ("page of 50 at half and its total", 20, deep, lambda: jobs.page(offset=RECORDS // 2)),
        ("totals", 30, lambda raw: raw.page("c~", 1000), jobs.totals),
        (
            "history of two days",
            20,
            lambda raw: raw.page("h~", 1000),
            lambda: jobs.history(START, START + timedelta(days=2)),
        ),
    ]
    rows: list[Row] = []
    bare, sdk = Bare("BenchCost"), Sdk("BenchCost")
    async with bare.http, sdk.client:
        for name, repeat, raw, ours in operations:
            rows += await _compare(
                name, repeat, bare=lambda raw=raw: raw(bare), ours=ours, SDK=lambda raw=raw: raw(sdk)
            )  # fmt: skip
    return rows


async def _numbers_and_ranges() -> list[Row]:
    """Numbered creates and pages of a range against the plain ones, and a search of 10,000 records."""
    jobs, agents = _jobs("BenchUnnumbered"), _agents("BenchNumbered")
    notes = Collection("BenchSearch", Note, plain=True)
    await _fill(jobs, RECORDS)
    await agents.insert(Agent())
    noon = START + timedelta(days=1)
    rows = [
        *await _compare(
            "create, as bare, and numbered",
            30,
            bare=lambda: jobs.insert(Job()),
            numbered=lambda: agents.insert(Agent()),
        ),
        *await _compare(
            "page of 50, as bare, and of a range",
            20,
            bare=jobs.page,
            range=lambda: jobs.page(between=(START, noon)),
            untotalled=lambda: jobs.page(between=(START, noon), total=False),
        ),
    ]
    for size in (100, 10_000):
        have = await notes.count()
        for first in range(have, size, 100):
            await asyncio.gather(*(notes.insert(Note(title=f"Note {n}")) for n in range(first, first + 100)))
        counting = Counting(client().wire.transport)
        client().wire.transport = counting
        start = time.perf_counter()
        await notes.search("note 7", ["title", "body"])
        rows.append(_row(f"search of {size} records", 1_000 * (time.perf_counter() - start), "ms"))
        rows.append(_row(f"search of {size} records", counting.counts["calls"], "calls"))
        client().wire.transport = counting.inner
    return rows


async def _writers() -> list[Row]:
    """Measure concurrent creates with group commit and, limited to one write a transaction, without it, in turns."""
    rows: list[Row] = []
    rates: dict[tuple[int, bool], list[float]] = defaultdict(list)
    counting = Counting(client().wire.transport)
    client().wire.transport = counting
    limit = batch.MAX_OPERATIONS
    for turn in range(7):
        for writers, joined in product((1, 4, 16), (True, False)):
            batch.MAX_OPERATIONS = limit if joined else 6
            jobs = _jobs(f"BenchWriters{turn}x{writers}{joined}")
            await jobs.insert(Job())
            counting.counts.clear()
            seconds = await _creates(jobs, writers, 768 if joined else 192)
            rates[writers, joined].append(768 / seconds if joined else 192 / seconds)
            if joined and turn == 0:
                rows.append(_row(f"{writers} writers: transactions a create", counting.counts["calls"] / 768, "calls"))
                rows.append(_row(f"{writers} writers: retries", counting.counts["refused"], "calls"))
    batch.MAX_OPERATIONS = limit
    client().wire.transport = counting.inner
    for writers in (1, 4, 16):
        joined, alone = rates[writers, True], rates[writers, False]
        gain = statistics.median(one / other for one, other in zip(joined, alone, strict=True))
        rows.append(_row(f"{writers} writers: creates", statistics.median(joined), "1/s"))
        rows.append(_row(f"{writers} writers: creates against no group commit", gain, "x"))
    return rows


async def _creates(jobs: Collection[Job], writers: int, count: int) -> float:
    """Return the seconds that `writers` concurrent writers need for `count` creates."""

    async def write() -> None:
        for _ in range(count // writers):
            await jobs.insert(Job())

    start = time.perf_counter()
    await asyncio.gather(*(write() for _ in range(writers)))
    return time.perf_counter() - start


async def _growth() -> list[Row]:
    """Count storage calls and rows of each operation as the collection grows."""
    rows: list[Row] = []
    counting = Counting(client().wire.transport)
    client().wire.transport = counting
    for size in (100, 1_000, 10_000):
        jobs = _jobs(f"BenchGrowth{size}")
        ids = await _fill(jobs, size)
        await jobs.insert(Job())
        await jobs.get(ids[0])
        await jobs.update((await jobs.insert(Job())).id, lambda job: setattr(job, "tokens", 2))
        operations: dict[str, Call] = {
            "create": lambda jobs=jobs: jobs.insert(Job()),
            "get": lambda jobs=jobs, ids=ids: jobs.get(ids[0]),
            "update": lambda jobs=jobs, ids=ids: jobs.update(ids[-1], lambda job: setattr(job, "tokens", 3)),
            "first page": lambda jobs=jobs: jobs.page(),
            "filtered page": lambda jobs=jobs: jobs.page({"status": "done"}),
            "page at half": lambda jobs=jobs, size=size: jobs.page(offset=size // 2),
            "totals": lambda jobs=jobs: jobs.totals(),
            "history": lambda jobs=jobs: jobs.history(START, START + timedelta(days=2)),
        }
        for name, operation in operations.items():
            counting.counts.clear()
            await operation()
            for what in ("calls", "rows read", "rows written"):
                if counting.counts[what]:
                    rows.append(_row(f"{name} at {size} records", counting.counts[what], what))
    client().wire.transport = counting.inner
    return rows


def _row(name: str, value: float, unit: str) -> Row:
    return {"name": name, "value": round(value, 2), "unit": unit}


if __name__ == "__main__":
    for row in asyncio.run(run()):
        print(f"{row['name']:60} {row['value']:10} {row['unit']}")
