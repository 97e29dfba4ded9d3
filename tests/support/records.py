"""Collections of runs in tables of their own, and a transport that counts requests."""

from collections import Counter
from datetime import datetime
from enum import StrEnum
from itertools import count
from typing import Any

import orjson

from shared.tables import Collection, Record
from shared.tables.counted import CountedCollection
from shared.tables.wire import Transport, WireResponse


class Status(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"


class Run(Record):
    status: Status = Status.PENDING
    client_id: str = "c1"
    name: str | None = None
    tokens: int = 0
    seconds: float = 0.0
    archived: bool = False
    started_at: datetime | None = None
    prompt: str = ""
    options: dict[str, Any] = {}


_numbers = count()


def collection(**declared: Any) -> CountedCollection[Run]:
    """A collection in a table that no other test uses."""
    declaration: dict[str, Any] = {
        "indexes": ["status", "client_id", ("client_id", "status")],
        "unique": ["name"],
        "counters": ["status", "client_id", ("client_id", "status")],
        "sums": ["tokens", "seconds"],
        "sums_by": ["client_id"],
        "orders": ["updated_at"],
        "view": ["status", "client_id", "name", "tokens", "seconds", "archived", "created_at", "updated_at"],
    }
    return CountedCollection(f"Runs{next(_numbers)}", Run, **(declaration | declared))


def plain(**declared: Any) -> Collection[Run]:
    """A plain collection in a table that no other test uses."""
    return Collection(f"Plain{next(_numbers)}", Run, plain=True, **declared)


class Agent(Record, numbered=True):
    owner: str = "ann"
    name: str | None = None
    prompt: str = ""


class AscendingAgent(Agent, numbered="ascending"):
    """The same with rows in the order of the numbers."""


def numbered(model: type[Agent] = Agent, **declared: Any) -> CountedCollection[Agent]:
    """A collection with whole-number ids in a table that no other test uses."""
    declaration: dict[str, Any] = {"indexes": ["owner"], "unique": ["name"], "counters": ["owner"]}
    return CountedCollection(f"Agents{next(_numbers)}", model, **(declaration | declared))


class Counting:
    """Counts requests by kind, the rows of responses and the rows written."""

    def __init__(self, inner: Transport):
        self._inner = inner
        self.calls: Counter[str] = Counter()
        self.rows = 0
        self.written = 0

    async def send(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> WireResponse:
        kind = "query" if "()?" in url else "batch" if url.endswith("$batch") else "get" if method == "GET" else "write"
        self.calls[kind] += 1
        answer = await self._inner.send(method, url, headers, body)
        if kind == "query" and answer.status == 200:
            self.rows += len(orjson.loads(answer.body)["value"])
        elif kind == "get" and answer.status == 200:
            self.rows += 1
        elif kind == "batch":
            self.written += (body or b"").count(b"Content-Transfer-Encoding")
        elif kind == "write":
            self.written += 1
        return answer

    async def close(self) -> None:
        await self._inner.close()

    def reset(self) -> None:
        self.calls.clear()
        self.rows = self.written = 0
