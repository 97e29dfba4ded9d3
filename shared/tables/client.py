"""The session of an event loop: its connection to Table Storage and the writers of its partitions."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary, WeakValueDictionary

from shared.tables.commit import Committer
from shared.tables.connection import storage
from shared.tables.errors import StorageUnavailable
from shared.tables.patience import BRIEF, patience
from shared.tables.wire import Http, Wire

_PARTITIONS = 2_000

_clients: "WeakKeyDictionary[asyncio.AbstractEventLoop, TableSession]" = WeakKeyDictionary()


class TableSession:
    """The session of one event loop."""

    def __init__(self) -> None:
        account = storage()
        self.wire, self.blobs = Wire(account, Http()), account.blobs
        self._committers: OrderedDict[tuple[str, str], Committer] = OrderedDict()
        self._locks: WeakValueDictionary[tuple[str, str, str], asyncio.Lock] = WeakValueDictionary()

    def committer(self, table: str, partition: str, *, shards: int | None = None) -> Committer:
        """The writer of this partition in this event loop; `shards` as `Shard` has it."""
        committer = self._committers.get((table, partition))
        if committer is None:
            committer = self._committers[table, partition] = Committer(self.wire, table, partition, shards)
            for key in list(self._committers)[: max(len(self._committers) - _PARTITIONS, 0)]:
                if self._committers[key].idle:
                    del self._committers[key]
        self._committers.move_to_end((table, partition))
        return committer

    @asynccontextmanager
    async def lock(self, table: str, partition: str, record_id: str) -> AsyncGenerator[None]:
        """Held while one record is read, changed and written, so that writers of one process do not conflict.

        `StorageUnavailable` after a long wait when the account is silent: otherwise the waiting writers would, one
        after the other, find that out themselves.
        """
        key, began = (table, partition, record_id), time.monotonic()
        lock = self._locks.get(key)
        if lock is None:
            self._locks[key] = lock = asyncio.Lock()
        async with lock:
            if patience.silent and time.monotonic() - began > BRIEF:
                raise StorageUnavailable("the writer before this one had no answer")
            yield

    async def close(self) -> None:
        for committer in self._committers.values():
            await committer.settle()
        await self.wire.transport.close()


def client() -> TableSession:
    """The session of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _clients.get(loop)
    if found is None:
        found = _clients[loop] = TableSession()
    return found


async def close() -> None:
    """Close the running event loop's session; the next read or write opens another one."""
    found = _clients.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.close()
